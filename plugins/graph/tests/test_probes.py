"""Further scores: what is known to be easy scores high, what is noise scores as chance."""
import pytest
import torch

from ssl_core import Fold
from ssl_graph.graphs import checked
from ssl_graph.probes import hide_links, predict_links, similar, svm


def folds(separated, n=240):
    torch.manual_seed(0)
    labels = torch.arange(n) % 3
    rows = torch.randn(n, 6) + (4 * torch.nn.functional.one_hot(labels, 6) if separated else 0)
    return [Fold(rows[part], labels[part]) for part in torch.randperm(n).split(n // 3)]


@pytest.mark.parametrize(("probe", "name"), [(svm, "svm"), (similar, "sim@5")])
def test_scores_tell_signal_from_noise(probe, name):
    assert probe(*folds(True))[name] > 0.95
    assert abs(probe(*folds(False))[name] - 1 / 3) < 0.12


def test_quantities_have_no_such_scores():
    given = [Fold(fold.features, fold.labels.double()) for fold in folds(True)]
    assert svm(*given) == similar(*given) == {}


def test_similar_is_a_share_of_neighbours():
    _, _, test = folds(False)
    unit = torch.nn.functional.normalize(test.features)
    right = 0
    for i in range(len(unit)):
        alike = sorted(((float(unit[i] @ unit[j]), j) for j in range(len(unit)) if j != i), reverse=True)[:5]
        right += sum(int(test.labels[j] == test.labels[i]) for _, j in alike)
    assert similar(test, test, test)["sim@5"] == pytest.approx(right / 5 / len(unit))


@pytest.fixture
def blocks():
    """Two blocks of 50 nodes, edges inside only."""
    torch.manual_seed(0)
    edges = torch.cat([torch.randint(50, (2, 300)), torch.randint(50, 100, (2, 300))], dim=1)
    return checked(torch.rand(100, 3), edges, where="test")


def test_links_are_hidden_and_strangers_are_strangers(blocks):
    links = hide_links(blocks, seed=1)
    whole = {tuple(e) for e in blocks.edge_index.T.tolist()}
    left = {tuple(e) for e in links.graph.edge_index.T.tolist()}
    asked = []
    for name, (pairs, labels) in links.folds.items():
        for (i, j), label in zip(pairs.T.tolist(), labels.tolist(), strict=True):
            asked.append((i, j))
            assert ((i, j) in whole) == bool(label) and i < j
            assert ((i, j) in left) == (bool(label) and name == "train")
        assert labels.double().mean() == 0.5
    assert len(set(asked)) == len(asked)
    assert len(left) == round(len(whole) / 2 * 0.85) * 2


def test_links_are_predicted_from_blocks_and_not_from_noise(blocks):
    links = hide_links(blocks)
    block = torch.cat([torch.tensor([1.0, -1.0]).repeat_interleave(50)[:, None], torch.randn(100, 3)], dim=1)
    assert predict_links(block, links)["link_auc"] > 0.65
    assert abs(predict_links(torch.randn(100, 4), links)["link_auc"] - 0.5) < 0.2
