"""Probes against scikit-learn, and what they say of embeddings that are perfect, collapsed or random."""
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from ssl_core import ContractError, Data, DataError
from ssl_core.contracts import Fold
from ssl_core.evaluation import folds, score
from ssl_core.metrics import rankme
from ssl_core.probes import clustering as clusters, knn as neighbours, linear as lines
from ssl_core.probes.clustering import clustering
from ssl_core.probes.knn import knn
from ssl_core.probes.linear import linear


def fold(rows, classes=3, width=6, noise=1.0, seed=0, labels=None):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % classes if labels is None else labels
    centres = 2 * torch.eye(width, dtype=torch.float64)[torch.arange(classes)]
    return Fold(centres[y] + noise * torch.randn(rows, width, generator=g, dtype=torch.float64), y)


def quantity(rows, seed=0):
    x = fold(rows, seed=seed).features
    return Fold(x, x @ torch.arange(1.0, 7, dtype=torch.float64) + 4 + 0.1 * torch.sin(9 * x[:, 0]))


@pytest.mark.parametrize("k", [1, 2, 4, 5, 10, 30])  # even ones give tied votes
def test_votes_equal_those_of_sklearn(k):
    train, test = fold(30), fold(200, seed=1)
    theirs = KNeighborsClassifier(k, metric="cosine").fit(train.features, train.labels).predict(test.features)
    assert neighbours.predict(train, test.features, k).tolist() == theirs.tolist()


def test_a_tied_vote_goes_to_the_smaller_class():
    train = Fold(torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]), torch.tensor([2, 1, 0]))
    assert neighbours.predict(train, torch.tensor([[1.0, 0.05]]), 2).tolist() == [1]
    assert neighbours.predict(train, torch.tensor([[1.0, 0.05]]), 3).tolist() == [0]


@pytest.mark.parametrize("k", [1, 5, 30])
def test_means_of_neighbours_equal_those_of_sklearn(k):
    train, test = quantity(30), quantity(50, seed=1)
    theirs = KNeighborsRegressor(k, metric="cosine").fit(train.features, train.labels).predict(test.features)
    np.testing.assert_allclose(neighbours.predict(train, test.features, k), theirs)


def test_knn_in_blocks_is_knn_at_once(monkeypatch):
    train, test = fold(30), fold(50, seed=1)
    whole = neighbours.predict(train, test.features, 5)
    monkeypatch.setattr(neighbours, "BLOCK", 100)
    assert torch.equal(neighbours.predict(train, test.features, 5), whole)


def test_k_is_chosen_on_validation_and_never_on_test(monkeypatch):
    """Labels of the test fold decide nothing: turning them round gives the opposite score at the same k."""
    asked = []
    plain = neighbours.predict
    monkeypatch.setattr(neighbours, "predict", lambda train, x, k: asked.append((len(x), k)) or plain(train, x, k))
    train, validation, test = fold(60, noise=2.0), fold(61, noise=2.0, seed=1), fold(62, noise=2.0, seed=2)
    knn(train, validation, test)
    once = [k for rows, k in asked if rows == 62]
    assert len(once) == 1 and sorted(k for rows, k in asked if rows == 61) == [1, 5, 10, 20, 50]
    asked.clear()
    knn(train, validation, Fold(test.features, (test.labels + 1) % 3))
    assert [k for rows, k in asked if rows == 62] == once


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-3])
def test_logistic_weights_equal_those_of_sklearn(strength):
    train = fold(90)
    start = torch.zeros(7, 3, dtype=torch.float64)
    ours = lines.fit(train.features, train.labels, start, strength)
    theirs = LogisticRegression(C=1 / (strength * 90), tol=1e-10, max_iter=5000).fit(train.features, train.labels)
    np.testing.assert_allclose(ours[:-1].T, theirs.coef_, atol=1e-3)
    bias = ours[-1] - ours[-1].mean()  # a shift of all biases changes nothing
    np.testing.assert_allclose(bias, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-3)


def test_a_warm_start_ends_where_a_cold_one_does():
    train = fold(90)
    cold = lines.fit(train.features, train.labels, torch.zeros(7, 3, dtype=torch.float64), 1e-2)
    strong = lines.fit(train.features, train.labels, torch.zeros(7, 3, dtype=torch.float64), 1.0)
    torch.testing.assert_close(lines.fit(train.features, train.labels, strong, 1e-2)[:-1], cold[:-1], atol=1e-3, rtol=0)


def test_ridge_equals_sklearn_at_the_strength_that_is_best_on_validation():
    train, validation, test = quantity(80), quantity(40, seed=1), quantity(50, seed=2)
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0)
    x, v, t = ((f.features - mean) / deviation for f in (train, validation, test))

    def error(strength, features, labels):
        guess = Ridge(alpha=strength * 80).fit(x, train.labels).predict(features)
        return float(np.sqrt(np.mean((guess - labels.numpy()) ** 2)))

    best = min(lines.STRENGTHS, key=lambda s: error(s, v, validation.labels))
    assert linear(train, validation, test)["rmse"] == pytest.approx(error(best, t, test.labels), rel=1e-6)


@pytest.mark.parametrize("probe, key", [(linear, "linear"), (knn, "knn")])
def test_scale_and_order_of_the_items_do_not_matter(probe, key):
    train, validation, test = fold(60), fold(40, seed=1), fold(50, seed=2)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = Fold(train.features[order] * 7, train.labels[order])
    scaled = [Fold(f.features * 7, f.labels) for f in (validation, test)]
    assert probe(shuffled, *scaled)[key] == probe(train, validation, test)[key]


@pytest.mark.parametrize("probe, key", [(linear, "linear"), (knn, "knn"), (clustering, "nmi"), (clustering, "ari"),
                                        (clustering, "acc")])
def test_perfect_embeddings_score_one(probe, key):
    assert probe(fold(60, noise=0.01), fold(30, noise=0.01, seed=1), fold(33, noise=0.01, seed=2))[key] == 1.0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_collapsed_embeddings_score_chance_without_a_warning(value):
    folds = [Fold(torch.full((30, 4), value), torch.arange(30) % 3) for _ in range(3)]
    assert clustering(*folds) == {"nmi": 0.0, "ari": 0.0, "acc": pytest.approx(1 / 3)}
    assert linear(*folds)["linear"] == pytest.approx(1 / 3)
    assert knn(*folds)["knn"] == pytest.approx(1 / 3)


def test_clusters_are_matched_to_classes_whatever_their_numbers():
    test = fold(60, noise=0.01)
    renamed = Fold(test.features, torch.tensor([7, 2, 5])[test.labels])
    assert clustering(test, test, renamed) == clustering(test, test, test)
    assert clusters.clustering(*[quantity(30)] * 3) == {}


def test_labels_that_the_training_fold_lacks_are_wrong_and_no_error():
    train, other = fold(30, classes=2), fold(30, classes=3, seed=1)
    assert 0 < linear(train, other, other)["linear"] < 1 and 0 < knn(train, other, other)["knn"] < 1


def test_rankme_equals_its_formula():
    """arXiv:2210.02885, equation 1, with an SVD of numpy in float64."""
    x = np.random.default_rng(0).normal(size=(50, 8)) * 2.0 ** -np.arange(8)
    values = np.linalg.svd(x, compute_uv=False)
    share = values / values.sum() + 1e-7
    assert rankme(torch.from_numpy(x)) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-9)
    assert rankme(torch.from_numpy(x).float()) == pytest.approx(rankme(torch.from_numpy(x)), rel=1e-5)


@pytest.mark.parametrize("features, low, high", [
    (torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)), 15.9, 16.01),  # isotropic: all of the width
    (torch.ones(50, 16), 0.99, 1.01), (torch.zeros(50, 16), 0.99, 1.01),  # collapsed
    (torch.eye(16)[torch.arange(48) % 4], 3.99, 4.01)])  # four directions
def test_rankme_counts_dimensions(features, low, high):
    assert low < rankme(features) < high


def test_rankme_of_many_rows_is_that_of_some():
    x = torch.randn(50_001, 4, generator=torch.Generator().manual_seed(0))
    assert rankme(x) == pytest.approx(rankme(x, limit=10**9), rel=1e-3)


def data(labels, **names):
    return Data(train=[0], size=1, labels=labels, folds={k: torch.tensor(v) for k, v in names.items()})


ORDER = {"train": [0, 1, 2], "validation": [3], "test": [4, 5]}


def test_items_without_a_label_are_left_out_of_every_fold():
    found = folds(torch.arange(6.0)[:, None], data(torch.tensor([0, -1, 1, 0, -1, 1]), **ORDER))
    assert [f.features[:, 0].tolist() for f in found] == [[0, 2], [3], [5]]
    found = folds(torch.arange(6.0)[:, None], data(torch.tensor([0.5, np.nan, 1, 2, np.nan, 3]), **ORDER))
    assert [f.labels.tolist() for f in found] == [[0.5, 1], [2], [3]]


WRONG = [  # labels, folds, error, words
    ([0, 1, 0, 1, 0], ORDER, ContractError, "5 labels for 6 embedded items"),
    ([0, 1, 0, 1, 0, 1], {"train": [0, 1], "test": [2]}, ContractError, "no fold 'validation'"),
    ([0, 1, 0, -1, 0, 1], ORDER, DataError, "no labelled item in the fold 'validation'"),
    ([1, 1, 1, 0, 0, 1], ORDER, DataError, "one class only"),
    ([0, 1, 0, 1, 0, 1], ORDER | {"test": [4, 6]}, ContractError, "fold 'test'.*0 to 5"),
    ([0, 1, 0, 1, 0, 1], ORDER | {"test": [-1]}, ContractError, "fold 'test'.*0 to 5"),
]


@pytest.mark.parametrize("labels, positions, error, words", WRONG)
def test_broken_folds_are_named(labels, positions, error, words):
    with pytest.raises(error, match=words):
        score(torch.randn(6, 2), data(torch.tensor(labels), **positions), {"knn": knn})


def test_features_that_are_not_finite_have_no_score():
    assert score(torch.full((6, 2), torch.nan), data(torch.tensor([0, 1, 0, 1, 0, 1]), **ORDER), {"knn": knn}) == {}
