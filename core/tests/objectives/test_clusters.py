"""Prototypes, clusters, sorting and joint labels against plain forms in float64, and what they promise."""
from itertools import permutations
from math import atan, log, pi

import pytest
import torch
import torch.nn.functional as F

from ssl_core import Progress
from ssl_core.objectives.depict import DEPICT, frequency_balanced
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.groco import GroCo, ascend
from ssl_core.objectives.rows import cross_entropy
from ssl_core.objectives.sla import SLA, aggregate
from ssl_core.objectives.swav import SwAV, sinkhorn

N, D, K = 6, 5, 7


def rows(views, n=N):
    torch.manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, requires_grad=True) for _ in range(views)]


def made(objective, fraction=1.0):
    torch.manual_seed(1)
    objective.allocate(D)
    objective.progress = Progress(round(100 * fraction), 100)
    return objective.double()


def assert_same(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    slopes = [torch.autograd.grad(loss, inputs, **options) for loss in (ours, theirs)]
    for x, y in zip(*slopes):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-9)


def over_pairs(logits, targets):
    losses = [-(p * s.log_softmax(1)).sum(1).mean() for t, p in enumerate(targets) for v, s in enumerate(logits) if v != t]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("views, targets", [(2, 2), (4, 2), (3, 1)])
def test_aggregated_cross_entropy_is_that_over_pairs(views, targets):
    torch.manual_seed(0)
    logits = [torch.randn(N, K, dtype=torch.float64, requires_grad=True) for _ in range(views)]
    given = [torch.randn(N, K, dtype=torch.float64).softmax(1) for _ in range(targets)]
    assert_same(3 * cross_entropy(torch.stack(logits), torch.stack(given)), 3 * over_pairs(logits, given), logits)


# ---- SwAV

def plain_sinkhorn(scores, epsilon, iterations):
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def test_sinkhorn_equals_plain_form():
    torch.manual_seed(0)
    scores = F.normalize(torch.randn(20, K, dtype=torch.float64), dim=1)
    torch.testing.assert_close(sinkhorn(scores, 0.05, 3), plain_sinkhorn(scores, 0.05, 3))


@pytest.mark.parametrize("epsilon", [0.04, 0.5])
def test_sinkhorn_of_bounded_scores_is_that_of_any_scores(epsilon):
    torch.manual_seed(0)
    scores = 2 * torch.rand(N, K, dtype=torch.float64) - 1
    for given in (scores, scores.float()):
        torch.testing.assert_close(sinkhorn(given, epsilon, bound=1.0), sinkhorn(given, epsilon), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(sinkhorn(scores, epsilon, bound=1.0), plain_sinkhorn(scores, epsilon, 3))


def test_sinkhorn_balances():
    torch.manual_seed(0)
    codes = sinkhorn(F.normalize(torch.randn(64, 8), dim=1), 0.25, 3)
    torch.testing.assert_close(codes.sum(1), torch.ones(64))
    torch.testing.assert_close(codes.sum(0) / 64, torch.full((8,), 1 / 8), atol=1e-3, rtol=0)


def test_sinkhorn_of_a_tiny_epsilon_does_not_overflow():
    codes = sinkhorn(F.normalize(torch.randn(64, 8), dim=1), 1e-3, 3)
    assert codes.isfinite().all() and torch.allclose(codes.sum(1), torch.ones(64))


def swav_plain(objective, views, targets, past=()):
    c = F.normalize(objective.prototypes.directions, dim=1)
    scores = [F.normalize(v, dim=1) @ c.T for v in views]
    codes = [plain_sinkhorn(torch.cat([s.detach(), *(p @ c.T.detach() for p in past)]), 0.05, 3)[:N] for s in scores[:targets]]
    return over_pairs([s / 0.1 for s in scores], codes)


@pytest.mark.parametrize("views", [2, 4])
def test_swav_equals_plain_form(views):
    objective, given = made(SwAV(K)), rows(views)
    inputs = [*given, objective.prototypes.directions]
    assert_same(objective(*given), swav_plain(objective, given, 2), inputs)


def test_opposite_rows_have_opposite_scores():
    """Prototypes are directions on the sphere and nothing else: no bias, which some linear layers bring along."""
    objective = SwAV(prototypes=K)
    objective.allocate(D)
    assert [name for name, _ in objective.named_parameters()] == ["prototypes.directions"]
    row = torch.randn(3, D)
    torch.testing.assert_close(objective.prototypes(-row), -objective.prototypes(row))


def test_swav_queue_balances_a_small_batch():
    objective, given = made(SwAV(K, queue=10, queue_from=0.5), 0.4), rows(2)
    torch.testing.assert_close(objective(*given), swav_plain(objective, given, 2))
    objective.after_step()
    objective.progress = Progress(60, 100)
    torch.testing.assert_close(objective(*given), swav_plain(objective, given, 2, [objective.queue.rows]))
    past = F.normalize(torch.cat(given), dim=1)[-10:]  # the last rows of both views
    torch.testing.assert_close(objective.queue.rows, past)


def test_collapsed_rows_have_the_loss_of_chance():
    for objective in (SwAV(K), DINO(K, frozen=0.0)):
        same = torch.ones(64, D, dtype=torch.float64)
        objective = made(objective)
        with torch.no_grad():
            objective.prototypes.directions.copy_(torch.ones(K, D))
        if isinstance(objective, DINO):
            objective.slow.copy.load_state_dict(objective.prototypes.state_dict())
        assert objective(same, same).item() == pytest.approx(log(K))


def test_prototypes_are_frozen_at_first():
    for objective in (SwAV(K, frozen=0.5), DINO(K, frozen=0.5)):
        for fraction, moves in ((0.4, False), (0.6, True)):
            objective = made(objective, fraction)
            given = rows(2)
            objective(*given).backward()
            assert bool(objective.prototypes.directions.grad.any()) is moves and given[0].grad.any()


# ---- DINO

def test_dino_equals_plain_form():
    objective, given, teacher = made(DINO(K)), rows(4), [r.detach().flip(1) for r in rows(2)]
    objective.middle.copy_(torch.randn(K))
    c = F.normalize(objective.prototypes.directions, dim=1)
    targets = [((F.normalize(t, dim=1) @ c.T.detach() - objective.middle) / 0.04).softmax(1) for t in teacher]
    plain = over_pairs([F.normalize(v, dim=1) @ c.T / 0.1 for v in given], targets)
    assert_same(objective(*given, targets=teacher), plain, [*given, objective.prototypes.directions])


def test_dino_centre_follows_the_teacher_after_the_step():
    objective, given = made(DINO(K, centre=0.9)), rows(2)
    objective(*given)
    assert not objective.middle.any()
    seen = torch.cat([objective.slow(v.detach()) for v in given]).mean(0)
    objective.after_step()
    torch.testing.assert_close(objective.middle, 0.1 * seen)


def test_dino_slow_prototypes_follow():
    objective = made(DINO(K, momentum=0.9), 0.0)
    before = objective.slow.copy.directions.clone()
    with torch.no_grad():
        objective.prototypes.directions += 1
    objective.after_step()
    torch.testing.assert_close(objective.slow.copy.directions, before + 0.1)
    assert not objective.slow.copy.directions.requires_grad


def test_dino_temperature_moves_in_a_line():
    objective = DINO(teacher_temperature=0.04, final_temperature=0.07, warmup=0.5)
    for fraction, expected in ((0.0, 0.04), (0.25, 0.055), (0.5, 0.07), (1.0, 0.07)):
        objective.progress = Progress(round(fraction * 100), 100)
        assert objective.sharpness == pytest.approx(expected)


# ---- DEPICT

def test_depict_equals_plain_form():
    objective, given = made(DEPICT(clusters=3)), rows(2)
    p = [objective.layer(v).softmax(1) for v in given]
    targets = []
    for q in p:
        scaled = [[q[i, k] / q[:, k].sum().sqrt() for k in range(3)] for i in range(N)]
        targets.append(torch.stack([torch.stack(r) / sum(r) for r in scaled]).detach())
    assert_same(objective(*given), over_pairs([q.log() for q in p], targets), [*given, objective.layer.weight])


def test_balanced_targets_prefer_rare_clusters():
    shares = torch.tensor([[0.5, 0.5]] + [[0.9, 0.1]] * 9)
    balanced = frequency_balanced(shares)
    assert balanced[0, 1] > 0.5
    torch.testing.assert_close(balanced.sum(1), torch.ones(10))


# ---- GroCo

def soft_permutation(scores, steepness):
    """The whole matrix, element by element: X[i, r] is the share of element i on rank r."""
    x, n = list(scores), len(scores)
    matrix = torch.eye(n, dtype=torch.float64)
    for layer in range(n):
        for i in range(layer % 2, n - 1, 2):
            a, b = x[i], x[i + 1]
            keep = 0.5 + torch.atan(steepness * (b - a)) / pi
            x[i], x[i + 1] = keep * a + (1 - keep) * b, (1 - keep) * a + keep * b
            left, right = matrix[:, i], matrix[:, i + 1]
            columns = list(matrix.T)
            columns[i], columns[i + 1] = keep * left + (1 - keep) * right, (1 - keep) * left + keep * right
            matrix = torch.stack(columns).T
    return matrix


@pytest.mark.parametrize("below, above", [(3, 1), (4, 1), (5, 3)])
def test_sweep_equals_the_whole_soft_permutation(below, above):
    torch.manual_seed(0)
    scores = torch.randn(2, below + above, dtype=torch.float64, requires_grad=True)
    group = torch.zeros_like(scores)
    group[:, below:] = 1
    whole = torch.stack([soft_permutation(s, 1.0) for s in scores])
    torch.testing.assert_close(whole.sum(2), torch.ones_like(scores))
    torch.testing.assert_close(whole.sum(1), torch.ones_like(scores))
    assert_same(ascend(scores, group, 1.0).square().sum(), (whole * group[:, None]).sum(2).square().sum(), [scores])


def test_two_scores_by_hand():
    found = ascend(torch.tensor([[0.2, 0.5]]), torch.tensor([[0.0, 1.0]]), 2.0)
    keep = 0.5 + atan(2 * 0.3) / pi
    torch.testing.assert_close(found, torch.tensor([[1 - keep, keep]]))  # the second layer of two holds no pair


def test_steep_sort_is_a_sort():
    for order in permutations([0.1, 0.4, 0.6, 0.9]):
        scores = torch.tensor([order], dtype=torch.float64)
        share = ascend(scores, torch.tensor([[0.0, 0, 1, 1]], dtype=torch.float64), 1e6)
        torch.testing.assert_close(share, (scores > 0.5).double(), atol=1e-4, rtol=0)


def test_groco_equals_plain_form():
    objective, given = GroCo(negatives=2), rows(3)
    unit = [F.normalize(v, dim=1) for v in given]
    losses = []
    for v, anchors in enumerate(unit):
        for i in range(N):
            near = (anchors[i] @ anchors.detach().T).masked_fill(torch.arange(N) == i, -9).topk(2).values
            alike = torch.stack([anchors[i] @ other[i].detach() for u, other in enumerate(unit) if u != v])
            x = torch.cat([near.sort().values, alike.sort().values])
            upper = soft_permutation(x, 1.0)[:, 2:].sum(1)
            losses.append(F.binary_cross_entropy(upper, torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)))
    assert_same(objective(*given), sum(losses) / len(losses), given)


def test_groco_moves_anchors_only():
    """A small crop takes a gradient as an anchor, and gives none to the large crop that it is compared with."""
    large, small = rows(2)
    loss = GroCo(target_views=1)(large.detach(), small)
    torch.testing.assert_close(torch.autograd.grad(GroCo(target_views=1)(large, small), small)[0],
                               torch.autograd.grad(loss, small)[0])


# ---- SLA

def test_sla_equals_plain_form():
    objective, given, labels = made(SLA(classes=3, transformations=2, distil=0.5)), rows(2), torch.tensor([0, 1, 2, 0, -1, 1])
    known = labels >= 0
    z = [objective.joint(v) for v in given]  # column c * M + j is (class c, transformation j)
    joint = sum(F.cross_entropy(z[j][known], labels[known] * 2 + j) for j in range(2)) / 2
    agreed = ((z[0][:, 0::2] + z[1][:, 1::2]) / 2).softmax(1).detach()
    guess = objective.alone(given[0])
    taught = (agreed * (agreed.log() - guess.log_softmax(1))).sum(1).mean()
    plain = joint + taught + 0.5 * F.cross_entropy(guess[known], labels[known])
    assert_same(objective(*given, labels=labels), plain, [*given, objective.joint.weight])


def test_sla_sums_where_asked_and_aggregates():
    given, labels = rows(2), torch.tensor([0, 1, 2, 0, 2, 1])
    one, both = (made(SLA(3, 2, total=t))(*given, labels=labels) for t in (False, True))
    torch.testing.assert_close(2 * one, both)
    logits = torch.arange(2 * 1 * 3 * 2.0).view(2, 1, 3, 2)
    torch.testing.assert_close(aggregate(logits), (logits[0, :, :, 0] + logits[1, :, :, 1]) / 2)
    with pytest.raises(ValueError, match="3 views for 2"):
        made(SLA(3, 2))(*rows(3), labels=labels)
