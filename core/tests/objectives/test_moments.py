"""Objectives of moments and distributions against plain forms in float64, their analytic values, and what collapse costs."""
from math import sqrt

import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, Progress
from ssl_core.objectives.barlow_twins import BarlowTwins
from ssl_core.objectives.directpred import DirectPred
from ssl_core.objectives.lejepa import LeJEPA, _PowerSums, non_normality, spread
from ssl_core.objectives.mmcr import MMCR
from ssl_core.objectives.moments import nuclear_norm, off_diagonal, squares
from ssl_core.objectives.vicreg import VICReg
from ssl_core.objectives.visreg import VISReg


def rows(views, n=9, d=4, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(n, d, dtype=torch.float64, requires_grad=True) for _ in range(views)]


def assert_same(ours, theirs, inputs, tolerance=1e-8):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for x, y in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs)):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def barlow(a, b, redundancy=5e-3, eps=1e-5):
    n, d = a.shape
    a, b = ((v - v.mean(0)) / (v.var(0, correction=0) + eps * (v.detach()**2).mean()).sqrt() for v in (a, b))
    c = [[(a[:, i] * b[:, j]).sum() / n for j in range(d)] for i in range(d)]
    apart = sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j)
    return sum((1 - c[i][i]) ** 2 for i in range(d)) + redundancy * apart


def vicreg(a, b):
    n, d = a.shape
    loss = 25 * ((a - b) ** 2).mean()
    for z in (a, b):
        loss = loss + 25 * 0.5 * torch.stack([torch.relu(1 - (z[:, i].var() + 1e-4).sqrt()) for i in range(d)]).mean()
        covariance = (z - z.mean(0)).T @ (z - z.mean(0)) / (n - 1)
        loss = loss + sum(covariance[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return loss


@pytest.mark.parametrize("n, d", [(9, 4), (5, 16)])  # the two sides of the Gram identity
@pytest.mark.parametrize("objective, plain", [(BarlowTwins(), barlow), (VICReg(), vicreg)])
def test_equals_plain_form(objective, plain, n, d):
    views = rows(2, n, d)
    assert_same(objective(*views), plain(*views), views)


@pytest.mark.parametrize("n, d", [(9, 4), (5, 16), (12, 16), (14, 16)])  # both sides of both identities
def test_off_diagonal(n, d):
    a, b = rows(2, n, d)
    c = a.T @ b / n
    assert_same(off_diagonal(a, b), c.square().sum() - c.diagonal().square().sum(), [a, b])
    assert_same(3 * squares(a), 3 * (a.T @ a).square().sum(), [a])


def test_barlow_of_identical_whitened_views_is_zero():
    z = torch.linalg.qr(torch.randn(64, 8, dtype=torch.float64) - 0.0)[0]
    z = torch.linalg.qr(z - z.mean(0))[0] * 8
    assert BarlowTwins()(z, z).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e3])
def test_barlow_does_not_see_the_scale_of_rows(scale):
    """Columns of row-normalised bags of words have variances far below any fixed epsilon."""
    views = rows(2)
    whole, scaled = BarlowTwins()(*views), BarlowTwins()(*(scale * view for view in views))
    torch.testing.assert_close(scaled, whole, rtol=1e-10, atol=0)
    for x, y in zip(torch.autograd.grad(whole, views), torch.autograd.grad(scaled, views)):
        torch.testing.assert_close(x, y, rtol=1e-7, atol=1e-12)


def test_barlow_of_rows_that_are_zero():
    views = [torch.zeros(6, 3, requires_grad=True) for _ in range(2)]
    loss = BarlowTwins()(*views)
    loss.backward()
    assert loss.item() == 3 and all(view.grad.isfinite().all() for view in views)


def test_variance_hinge_is_zero_from_deviation_one():
    z = F.normalize(torch.randn(50, 6), dim=0) * 50
    assert VICReg().terms(z)[0].item() == 0


# ---- MMCR

@pytest.mark.parametrize("n, d", [(9, 4), (4, 9), (6, 6)])
def test_nuclear_norm(n, d):
    (a,) = rows(1, n, d)
    assert_same(nuclear_norm(a), torch.linalg.svdvals(a).sum(), [a], 1e-7)


def test_nuclear_norm_keeps_small_singular_values_in_single_precision():
    """The dominant direction of a near collapse must not drown the others: squaring in float32 would lose them."""
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, 8, dtype=torch.float64))[0] for n in (64, 8))
    a = (u * torch.tensor([1e3, *[1e-2] * 7]) @ v.T).float().requires_grad_()
    torch.testing.assert_close(nuclear_norm(a).item(), 1e3 + 7e-2, rtol=1e-5, atol=0)
    polar = torch.autograd.grad(nuclear_norm(a), a)[0]
    assert torch.linalg.svdvals(polar).min() > 0.9


@pytest.mark.parametrize("views, within", [(2, 0.0), (3, 0.1)])
def test_mmcr_equals_plain_form(views, within):
    given = rows(views)
    z = F.normalize(torch.stack(given, 1), dim=2)
    plain = -torch.linalg.svdvals(z.mean(1)).sum() + within * torch.linalg.svdvals(z).sum(1).mean()
    assert_same(MMCR(within)(*given), plain, given, 1e-7)


def test_mmcr_bound():
    z = torch.eye(6, dtype=torch.float64)
    assert MMCR()(z, z).item() == pytest.approx(-sqrt(6 * 6))
    wide = torch.randn(6, 20, dtype=torch.float64)
    assert MMCR()(wide, wide).item() >= -sqrt(6 * 6)
    tall = torch.randn(40, 5, dtype=torch.float64)
    assert MMCR()(tall, tall).item() >= -sqrt(40 * 5)


def test_mmcr_normalises_and_counts_the_teacher():
    a, b = rows(2)
    torch.testing.assert_close(MMCR()(5 * a, b), MMCR()(a, b))
    torch.testing.assert_close(MMCR()(a, targets=[b]), MMCR()(a, b))


# ---- SIGReg

def dense_statistic(x, knots=17):
    t = torch.linspace(0, 3, knots, dtype=x.dtype)
    weights = torch.full_like(t, 2 * t[1].item())
    weights[0] = weights[-1] = t[1].item()
    phi = torch.exp(-t**2 / 2)
    angles = x[..., None] * t  # (N, S, K)
    gap = (angles.cos().mean(0) - phi) ** 2 + angles.sin().mean(0) ** 2
    return len(x) * (gap * weights * phi).sum(1).mean()


@pytest.mark.parametrize("knots", [2, 3, 17])
def test_recurrence_equals_dense(knots):
    (x,) = rows(1, 11, 6)
    assert_same(non_normality(x, knots), dense_statistic(x, knots), [x])


def test_recurrence_holds_no_table_of_knots():
    x, kept = torch.randn(40, 30, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        _PowerSums.apply(x, 0.1875, 17)
    assert sum(kept) == x.numel()


def test_statistic_of_a_normal_sample():
    torch.manual_seed(0)
    for n in (200, 2000):
        assert non_normality(torch.randn(n, 512)).item() == pytest.approx(1.0525, abs=0.1)


def test_collapse_costs_much_more_than_normality():
    torch.manual_seed(0)
    spread_out, collapsed = torch.randn(256, 16), torch.ones(256, 16)
    assert LeJEPA(weight=1.0)(collapsed, collapsed) > 20 * LeJEPA(weight=1.0)(spread_out, spread_out)
    assert VISReg(weight=1.0)(collapsed, collapsed) > 20 * VISReg(weight=1.0)(spread_out, spread_out)


def test_lejepa_equals_plain_form():
    views = rows(3)
    torch.manual_seed(5)
    ours = LeJEPA(0.1, slices=8, target_views=2)(*views)
    torch.manual_seed(5)
    directions = F.normalize(torch.randn(4, 8), dim=0).double()
    centre = (views[0] + views[1]) / 2
    invariance = sum(((v - centre) ** 2).mean() for v in views) / 3
    assert_same(ours, 0.9 * invariance + 0.1 * sum(dense_statistic(v @ directions) for v in views) / 3, views)


def test_spread_is_half_the_mean_over_all_pairs():
    views = rows(4)
    pairs = sum(((a - b) ** 2).mean() for a in views for b in views) / 32
    torch.testing.assert_close(spread(tuple(views)), pairs)


def test_pooled_statistic_sees_all_views_as_one_sample():
    views = rows(2)
    torch.manual_seed(5)
    ours = LeJEPA(1.0, slices=8, pool="all")(*views)
    torch.manual_seed(5)
    torch.testing.assert_close(ours, dense_statistic(torch.cat(views) @ F.normalize(torch.randn(4, 8), dim=0).double()))


# ---- VISReg

def test_visreg_equals_plain_form():
    views = rows(2)
    torch.manual_seed(5)
    ours = VISReg(0.6, shape=2.0, slices=8)(*views)
    torch.manual_seed(5)
    regular = 0
    for z in views:
        directions = F.normalize(torch.randn(4, 8, dtype=torch.float64), dim=0)
        deviation = z.var(0, correction=0).sqrt()
        x = ((z - z.mean(0)) / (deviation.detach() + 1e-4) @ directions).sort(0).values
        quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.arange(1, 10, dtype=torch.float64) / 10)
        regular = regular + (z.mean(0) ** 2).mean() + ((1 - deviation) ** 2).mean() + 2 * ((x - quantiles[:, None]) ** 2).mean()
    assert_same(ours, 0.4 * ((views[0] - views[1]) ** 2).mean() / 4 + 0.6 * regular / 2, views)


def test_visreg_pulls_on_a_collapse_however_deep_and_sigreg_less_and_less():
    def pull(objective, size):
        torch.manual_seed(0)
        z = (size * torch.randn(64, 8)).requires_grad_()
        outward = (z - z.mean(0)).detach()
        return -(torch.autograd.grad(objective(z, z), z)[0] * outward).sum().item() / outward.norm().item()

    scale, test = VISReg(1.0, shape=0.0, slices=64), LeJEPA(1.0, slices=64)
    assert pull(scale, 1e-4) == pytest.approx(pull(scale, 1e-2), rel=0.05)
    assert pull(test, 1e-4) < 0.02 * pull(test, 1e-2)


# ---- DirectPred

def directpred(**more):
    objective = DirectPred(**more)
    objective.allocate(4)
    return objective.double()


def test_directpred_predictor_is_the_root_of_the_correlation():
    objective, (a, b) = directpred(momentum=0.0, epsilon=0.0), rows(2)
    torch.testing.assert_close(objective(a, b), 2 - 2 * F.cosine_similarity(a, b).mean())  # starts as the identity
    objective.after_step()
    correlation = a.detach().T @ a.detach() / len(a)
    torch.testing.assert_close(objective.correlation, correlation)
    squared = objective.predictor @ objective.predictor
    torch.testing.assert_close(squared, correlation / torch.linalg.eigvalsh(correlation)[-1])


def test_directpred_forms():
    objective, (a, b) = directpred(form="copy", momentum=0.3, epsilon=0.1), rows(2)
    for _ in range(2):
        objective(a, b)
        objective.after_step()
    correlation = (1 - 0.3**2) * a.detach().T @ a.detach() / len(a)
    torch.testing.assert_close(objective.correlation, correlation)
    torch.testing.assert_close(objective.predictor, correlation / correlation.norm() + 0.1 * torch.eye(4, dtype=torch.float64))


def test_directpred_predictor_is_no_parameter_and_its_target_is_still():
    objective, (a, b) = directpred(), rows(2)
    assert not list(objective.parameters()) and "predictor" in objective.state_dict()
    assert torch.autograd.grad(objective(a, b), [a, b], allow_unused=True)[1] is None


def test_directpred_refreshes_every_so_often():
    objective, (a, b) = directpred(every=5), rows(2)
    objective.progress = Progress(3, 10)
    objective(a, b)
    objective.after_step()
    assert torch.equal(objective.predictor, torch.eye(4, dtype=torch.float64)) and objective.correlation.any()


@pytest.mark.parametrize("objective", [BarlowTwins(), VICReg(), VISReg()])
def test_one_item_is_refused_in_words(objective):
    with pytest.raises(DataError, match="2 or more"):
        objective(*rows(2, n=1))
