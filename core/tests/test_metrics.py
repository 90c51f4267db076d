"""Metrics of features against plain versions of their formulas in numpy, and what they say where the answer is known."""
import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score

from ssl_core import metrics

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 8)) * 2.0 ** -np.arange(8) + 0.3
LABELS = DRAW.integers(0, 3, 60)
CLASSED = DRAW.normal(size=(60, 5)) + 3 * np.eye(5)[LABELS]


def t(x):
    return torch.from_numpy(np.asarray(x))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def entropy_rank(values):
    share = values / values.sum() + 1e-7
    return np.exp(-sum(p * np.log(p) for p in share))


def test_rankme_equals_its_formula():
    assert metrics.rankme(t(X)) == pytest.approx(entropy_rank(np.linalg.svd(X, compute_uv=False)), rel=1e-9)
    assert metrics.rankme(t(X[:5])) == pytest.approx(entropy_rank(np.linalg.svd(X[:5], compute_uv=False)), rel=1e-9)
    flat = X[:, :2] @ DRAW.normal(size=(2, 8))  # two directions, where a Gram matrix is least exact
    assert metrics.rankme(t(flat)) == pytest.approx(entropy_rank(np.linalg.svd(flat, compute_uv=False)), rel=1e-5)


def test_alpha_req_is_the_slope_of_the_spectrum():
    values = np.sort(np.linalg.eigvalsh(np.cov(X.T)))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 9)), np.log(values), 1)[0]
    assert metrics.alpha_req(t(X)) == pytest.approx(-slope, rel=1e-9)
    basis, _ = np.linalg.qr(DRAW.normal(size=(200, 64)) - 0)
    basis, _ = np.linalg.qr(basis - basis.mean(axis=0))
    law = basis * np.arange(1, 65) ** (-1.5 / 2)  # eigenvalues i^-1.5
    assert metrics.alpha_req(t(law)) == pytest.approx(1.5, rel=1e-6)
    assert metrics.alpha_req(torch.ones(9, 4)) == 0.0


def test_lidar_equals_its_definition():
    views = X[:40, None] + 0.05 * DRAW.normal(size=(40, 3, 8))
    means = views.mean(axis=1)
    between = np.cov(means.T)
    within = sum(np.outer(v - m, v - m) for item, m in zip(views, means) for v in item) / (40 * 2) + 1e-4 * np.eye(8)
    values, vectors = np.linalg.eigh(within)
    half = vectors @ np.diag(values**-0.5) @ vectors.T
    assert metrics.lidar(t(views)) == pytest.approx(entropy_rank(np.linalg.eigvalsh(half @ between @ half)), rel=1e-6)


def test_lidar_counts_what_augmentation_leaves_alone():
    """Two directions tell items apart, six are made up anew in every view."""
    views = np.concatenate([np.repeat(DRAW.normal(size=(500, 1, 2)), 4, 1), DRAW.normal(size=(500, 4, 6))], axis=2)
    assert 1.9 < metrics.lidar(t(views)) < 2.3 and metrics.rankme(t(views.reshape(-1, 8))) > 7.9


def test_deviation_uniformity_alignment_and_agreement_equal_their_formulas():
    u, v = unit(X), unit(X[::-1])
    np.testing.assert_allclose(metrics.deviations(t(X)), u.std(axis=0) * np.sqrt(8))
    pairs = [np.exp(-2 * np.sum((u[i] - u[j]) ** 2)) for i in range(60) for j in range(i)]
    assert metrics.uniformity(t(X)) == pytest.approx(np.log(np.mean(pairs)), rel=1e-9)
    assert metrics.alignment(t(X), t(X[::-1].copy())) == pytest.approx(np.mean(np.sum((u - v) ** 2, axis=1)), rel=1e-9)
    assert metrics.agreement(t(X), t(X[::-1].copy())) == pytest.approx(np.mean(np.sum(u * v, axis=1)), rel=1e-9)
    assert metrics.perplexity(t([3.0, 3.0, 0.0, 0.0])) == pytest.approx(2.0)


COLLAPSED, EVEN = torch.ones(64, 16), torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))


def test_what_collapse_and_an_even_spread_look_like():
    assert metrics.uniformity(COLLAPSED) == pytest.approx(0.0, abs=1e-6) and metrics.uniformity(EVEN) < -3
    assert metrics.deviations(COLLAPSED).max() < 1e-6 and metrics.deviations(EVEN).mean() == pytest.approx(1.0, abs=0.01)
    assert metrics.rankme(COLLAPSED) < 1.01 and metrics.rankme(EVEN) > 15.9
    assert metrics.alignment(EVEN, EVEN) == 0.0 and metrics.alignment(EVEN, EVEN.flip(0)) == pytest.approx(2.0, abs=0.05)


def test_linear_cka_equals_its_formula_and_ignores_rotation_and_scale():
    y = X @ DRAW.normal(size=(8, 5)) + DRAW.normal(size=(60, 5))
    k, n = ((m - m.mean(axis=0)) @ (m - m.mean(axis=0)).T for m in (X, y))  # the form with N x N kernels
    wanted = np.sum(k * n) / np.sqrt(np.sum(k * k) * np.sum(n * n))
    assert metrics.linear_cka(t(X), t(y)) == pytest.approx(wanted, rel=1e-9)
    turn, _ = np.linalg.qr(DRAW.normal(size=(8, 8)))
    assert metrics.linear_cka(t(X), t(7 * X @ turn + 2)) == pytest.approx(1.0, rel=1e-9)
    assert metrics.linear_cka(COLLAPSED.double(), EVEN[:64]) == 0.0


def evidence(x, y, alpha, beta):
    """log N(y; 0, I / beta + x x' / alpha) / N, as it stands in a textbook."""
    spread = np.eye(len(y)) / beta + x @ x.T / alpha
    _, size = np.linalg.slogdet(spread)
    return -0.5 * (size + y @ np.linalg.solve(spread, y) + len(y) * np.log(2 * np.pi)) / len(y)


@pytest.mark.parametrize("x", [CLASSED, np.concatenate([CLASSED] + [DRAW.normal(size=(60, 20)) for _ in range(4)], axis=1)])
def test_logme_is_the_largest_log_evidence(x):
    """The wide one has more columns than rows."""
    best = []
    for c in range(3):
        y = (LABELS == c).astype(float)
        found = [minimize(lambda p, y=y: -evidence(x, y, *np.exp(p)), start, method="Nelder-Mead",
                          options={"xatol": 1e-8, "fatol": 1e-12}).fun for start in ([0.0, 0.0], [3.0, 3.0])]
        best.append(-min(found))
    assert metrics.logme(t(x), t(LABELS)) == pytest.approx(np.mean(best), abs=2e-4)


def test_logme_of_a_quantity_prefers_features_that_hold_it():
    y = t(X @ np.arange(8.0) + 0.01 * DRAW.normal(size=60))
    assert metrics.logme(t(X), y) > metrics.logme(t(DRAW.normal(size=(60, 8))), y) + 1


def test_h_score_equals_its_definition():
    x = CLASSED - CLASSED.mean(axis=0)
    mean_of = np.stack([x[LABELS == y].mean(axis=0) for y in LABELS])
    wanted = np.trace(np.linalg.inv(np.cov(x.T, bias=True)) @ np.cov(mean_of.T, bias=True))
    assert metrics.h_score(t(CLASSED), t(LABELS)) == pytest.approx(wanted, rel=1e-9)
    doubled = np.concatenate([CLASSED, CLASSED], axis=1)  # a covariance without inverse
    assert metrics.h_score(t(doubled), t(LABELS)) == pytest.approx(wanted, rel=1e-6)
    assert 0 <= wanted <= 2


def plain_ped(x, y, radius, time, steps):
    x = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    first = 0.0
    for step in range(steps):
        mean = [x[y == c].mean(axis=0) for c in range(3)]
        ball = [np.sqrt(np.sum(x[y == c].var(axis=0))) for c in range(3)]
        moves = []
        for i in range(3):
            move = np.zeros(x.shape[1])
            for j in range(3):
                gap = np.linalg.norm(mean[i] - mean[j])
                if j != i and (force := max(0.0, radius * (ball[i] + ball[j]) - gap)):
                    move += min(time**2 / 2 * force, force) * (mean[i] - mean[j]) / gap
            moves.append(move)
        x = x + np.stack(moves)[y]
        size = sum(map(np.linalg.norm, moves))
        first = first or size
        if step and size <= first / 2:
            break
    return x


@pytest.mark.parametrize("time, steps", [(0.1, 6), (1.0, 6)])
def test_ped_moves_classes_apart_as_its_rule_says(time, steps):
    x = DRAW.normal(size=(60, 5)) + 0.5 * np.eye(5)[LABELS]
    wanted = metrics.logme(t(plain_ped(x, LABELS, 0.9, time, steps)), t(LABELS))
    assert metrics.ped(t(x), t(LABELS), radius=0.9, time=time, steps=steps) == pytest.approx(wanted, rel=1e-9)
    assert metrics.ped(t(x), t(LABELS), radius=0.9, time=1.0) > metrics.logme(t(x), t(LABELS))


def test_ped_leaves_classes_that_are_apart_where_they_are():
    x = DRAW.normal(size=(60, 5)) + 50 * np.eye(5)[LABELS]
    standard = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    assert metrics.ped(t(x), t(LABELS)) == pytest.approx(metrics.logme(t(standard), t(LABELS)), rel=1e-9)


def test_average_precision_and_recall_equal_those_of_sklearn():
    x = unit(CLASSED + 2 * DRAW.normal(size=CLASSED.shape))
    labels = np.append(LABELS[:-1], 7)  # the last item has nobody of its class: it is left out
    found = metrics.average_precision(t(x), t(labels))
    assert all(len(part) == 59 for part in found.values())
    for i in range(59):
        others = np.arange(60) != i
        near, right = (x @ x[i])[others], labels[others] == labels[i]
        assert found["map"][i].item() == pytest.approx(average_precision_score(right, near))
        for k in (1, 5, 10):
            assert found[f"recall@{k}"][i] == right[np.argsort(-near)[:k]].any()
