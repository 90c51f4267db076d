"""Contrastive objectives against plain forms that loop over anchors, in float64: value and gradient; and their invariants."""
from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_core import DataError, Progress
from ssl_core.objectives.cmim import CMIM
from ssl_core.objectives.dcl import DCL
from ssl_core.objectives.halp import HaLP
from ssl_core.objectives.hydra import Hydra
from ssl_core.objectives.infonce import InfoNCE, NTXent
from ssl_core.objectives.interclr import InterCLR
from ssl_core.objectives.moco import MoCHi, MoCo
from ssl_core.objectives.multiview import MVDHEL, MVInfoNCE
from ssl_core.objectives.nnclr import NNCLR
from ssl_core.objectives.supcon import SupCon
from ssl_core.objectives.supremix import SupReMix
from ssl_core.objectives.unicon import UniCon

N, D, T = 6, 5, 0.3
CLASSES = torch.tensor([0, 1, 0, 2, 1, -1])
AGES = torch.tensor([1.0, 2.0, 1.0, 4.0, 7.0, float("nan")], dtype=torch.float64)


def rows(views, n=N, d=D):
    torch.manual_seed(0)
    return [torch.randn(n, d, dtype=torch.float64, requires_grad=True) for _ in range(views)]


def made(objective):
    torch.manual_seed(1)
    if hasattr(objective, "allocate"):
        objective.allocate(D)
    return objective.double()


def logits(views):
    """Every row of every view against every other, and (view, item) of each row."""
    z = F.normalize(torch.cat(views), dim=1)
    return z @ z.T / T, [(v, i) for v in range(len(views)) for i in range(len(views[0]))]


def lse(terms):
    return torch.stack(list(terms)).exp().sum().log()


def total(terms):
    terms = list(terms)
    return torch.stack(terms).mean()


def info_nce(a, b):
    s = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / T
    return total(lse(s[i]) - s[i, i] for i in range(N))


def nt_xent(*views):
    s, who = logits(views)
    return total(lse(s[p, q] for q in range(len(who)) if q != p) - s[p, who.index((1 - v, i))] for p, (v, i) in enumerate(who))


def dcl(*views):
    s, who = logits(views)
    return total(lse(s[p, q] for q, (_, j) in enumerate(who) if j != i) - s[p, who.index((1 - v, i))]
                 for p, (v, i) in enumerate(who))


def dclw(*views):
    s, who = logits(views)
    alike = torch.stack([s[i, i + N] * T for i in range(N)]).detach()
    weight = 2 - (alike / 0.5).exp() / (alike / 0.5).exp().mean()
    return total(lse(s[p, q] for q, (_, j) in enumerate(who) if j != i) - weight[i] * s[p, who.index((1 - v, i))]
                 for p, (v, i) in enumerate(who))


def sup_con(*views):
    s, who = logits(views)
    losses = []
    for p, (_, i) in enumerate(who):
        same = [q for q, (_, j) in enumerate(who) if q != p and (j == i or CLASSES[i] >= 0 and CLASSES[i] == CLASSES[j])]
        losses.append(lse(s[p, q] for q in range(len(who)) if q != p) - total(s[p, q] for q in same))
    return total(losses)


def mv_info_nce(*views, same_view=True):
    s, who = logits(views)
    losses = []
    for i in range(N):
        mine = [p for p, (_, j) in enumerate(who) if j == i]
        pairs = [s[p, q] for p in mine for q in range(len(who)) if p != q and (same_view or who[p][0] != who[q][0])]
        losses.append(lse(pairs) - lse(s[p, q] for p in mine for q in mine if p != q))
    return total(losses)


def mv_dhel(*views):
    s, who = logits(views)
    losses = []
    for i in range(N):
        mine = [p for p, (_, j) in enumerate(who) if j == i]
        apart = sum(lse(s[p, q] for q, (v, j) in enumerate(who) if v == who[p][0] and j != i) for p in mine)
        losses.append(apart - lse(s[p, q] for p in mine for q in mine if p < q))
    return total(losses)


def cmim(a, b):
    s = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / T
    return total(-torch.log(s[i, i].exp() / (s[i, i].exp() + total(s[i, j].exp() for j in range(N) if j != i)))
                 for i in range(N))


def unicon(*views):
    """Two transformations, two views each; all inliers count the same."""
    s, who = logits(views)
    losses = []
    for p, (v, i) in enumerate(who):
        same = [q for q, (u, j) in enumerate(who) if q != p and (v < 2 and u < 2 or v >= 2 and u >= 2 and i == j)]
        losses.append(lse(s[p, q] for q in range(len(who)) if q != p) - total(s[p, q] for q in same))
    return total(losses)


def sup_re_mix(*views):
    """Without mixtures: positives share the label, negatives weigh by the distance of theirs."""
    s, who = logits(views)
    known = AGES[:5]
    spread = (known - known.mean()).square().mean().sqrt()
    losses = []
    for p, (_, i) in enumerate(who):
        if AGES[i].isnan():
            continue
        gap = {q: (AGES[i] - AGES[j]).abs() / spread for q, (_, j) in enumerate(who) if not AGES[j].isnan()}
        against = sum(gap[q] * s[p, q].exp() for q in gap if gap[q] > 0)
        losses.append(total(-torch.log(s[p, q].exp() / (s[p, q].exp() + against)) for q in gap if q != p and gap[q] == 0))
    return total(losses)


CASES = {
    "infonce": (InfoNCE(T, symmetric=False), info_nce, 2, {}),
    "infonce-both": (InfoNCE(T), lambda a, b: (info_nce(a, b) + info_nce(b, a)) / 2, 2, {}),
    "nt-xent": (NTXent(T), nt_xent, 2, {}),
    "dcl": (DCL(T), dcl, 2, {}),
    "dclw": (DCL(T, sigma=0.5), dclw, 2, {}),
    "supcon": (SupCon(T), sup_con, 2, {"labels": CLASSES}),
    "supcon-3": (SupCon(T), sup_con, 3, {"labels": CLASSES}),
    "mv-infonce": (MVInfoNCE(T), mv_info_nce, 3, {}),
    "mv-infonce-formula": (MVInfoNCE(T, same_view=False), lambda *v: mv_info_nce(*v, same_view=False), 3, {}),
    "mv-dhel": (MVDHEL(T), mv_dhel, 3, {}),
    "cmim": (CMIM(T), cmim, 2, {}),
    "unicon": (UniCon(T, transformations=2, soft=False), unicon, 4, {}),
    "supremix": (SupReMix(T, mixtures=0), sup_re_mix, 2, {"labels": AGES}),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_plain_form(name):
    objective, plain, count, more = CASES[name]
    views = rows(count)
    ours, theirs = objective(*views, **more), plain(*views)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for x, y in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views)):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_turning_all_rows_changes_nothing(name):
    objective, _, count, more = CASES[name]
    turn = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64))[0]
    torch.testing.assert_close(objective(*(v @ turn for v in rows(count)), **more), objective(*rows(count), **more))


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("infonce", "cmim", "unicon")])
def test_order_of_views_changes_nothing(name):
    objective, _, count, more = CASES[name]
    torch.testing.assert_close(objective(*reversed(rows(count)), **more), objective(*rows(count), **more))


def test_of_independent_rows():
    """ln(2N - 1) + 1 / (2 D tau^2), as derived for random directions."""
    torch.manual_seed(0)
    n, d, temperature = 256, 128, 0.5
    expected = log(2 * n - 1) + 1 / (2 * d * temperature**2)
    assert abs(NTXent(temperature)(torch.randn(n, d), torch.randn(n, d)).item() - expected) < 0.05


def test_chance_level_of_cmim_ignores_the_batch():
    for n in (2, 8, 64):
        same = torch.ones(n, 3)
        assert CMIM(0.1)(same, same).item() == pytest.approx(log(2), abs=1e-6)


def test_dhel_is_the_case_of_two_views():
    a, b = (F.normalize(v, dim=1) for v in rows(2))
    own = [torch.log((((v @ v.T) / T).exp() * (1 - torch.eye(N))).sum(1)) for v in (a, b)]
    torch.testing.assert_close(MVDHEL(T)(a, b), (own[0] + own[1] - (a * b).sum(1) / T).mean())


def test_supcon_with_one_item_per_class_is_nt_xent():
    torch.testing.assert_close(SupCon(T)(*rows(2), labels=torch.arange(N)), NTXent(T)(*rows(2)))


def test_supcon_refuses_quantities():
    with pytest.raises(DataError, match="classes"):
        SupCon()(*rows(2), labels=AGES)


# ---- errors of others

@pytest.mark.parametrize("name", [n for n in CASES if n not in ("dcl", "dclw", "mv-dhel", "mv-infonce-formula")])
def test_loss_is_minus_log_of_a_share(name):
    """The sign: never negative, and less when views agree more."""
    objective, _, count, more = CASES[name]
    views = rows(count)
    near = [views[0] + 0.1 * v for v in views]
    assert 0 < objective(*near, **more) < objective(*views, **more) or name == "unicon"
    assert objective(*views, **more) > 0


def test_no_row_is_its_own_negative():
    """With one item there is nothing to tell apart; a row among its own candidates would leave a loss of ln 2 or more."""
    a = torch.randn(1, 8, dtype=torch.float64)
    assert NTXent(T)(a, a).item() == pytest.approx(0, abs=1e-12)
    assert InfoNCE(T)(a, a).item() == pytest.approx(0, abs=1e-12)


def test_no_row_is_its_own_negative_in_any_block():
    """Orthogonal rows, each equal to its twin: the positive has weight e^(1/t) against 2N - 2 of weight 1, never twice that."""
    eye = torch.eye(4, dtype=torch.float64)
    assert NTXent(0.5)(eye, eye).item() == pytest.approx(log(torch.tensor(2.0).exp().item() + 6) - 2, abs=1e-6)


def test_both_directions_count():
    """f(a, b) = f(b, a); a similarity reused without its transpose would break this."""
    for objective in (InfoNCE(T), NTXent(T), DCL(T)):
        a, b = rows(2)
        torch.testing.assert_close(objective(a, b), objective(b, a))


@pytest.mark.parametrize("objective", [DCL(), MVDHEL(), CMIM()])
def test_one_item_is_refused_in_words(objective):
    with pytest.raises(DataError, match="2 or more"):
        objective(*rows(2, n=1))


# ---- with a memory

def test_moco_is_cross_entropy_with_the_key_first():
    moco, (a, b) = made(MoCo(T, queue=7)), rows(2)
    q, k = F.normalize(a, dim=1), F.normalize(b, dim=1).detach()
    scores = torch.cat([(q * k).sum(1, keepdim=True), q @ moco.queue.rows.T], 1) / T
    plain = F.cross_entropy(scores, torch.zeros(N, dtype=torch.long))
    ours = moco.train()(torch.randn_like(a), a, targets=[b])  # the view of the target is no query
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, a)[0], torch.autograd.grad(plain, a)[0])
    before = moco.queue.rows.clone()
    assert torch.equal(before, moco.queue.rows)
    moco.after_step()
    torch.testing.assert_close(moco.queue.rows[:N], k)


def test_moco_lets_each_target_in_once():
    moco, views = made(MoCo(T, queue=40)), rows(3)
    moco(*views, targets=[v.detach() for v in views])
    moco.after_step()
    assert moco.queue.place.item() == 3 * N


def test_mochi_adds_constants_to_moco():
    views = rows(2)
    mochi, moco = made(MoCHi(T, queue=9, hardest=4, mixed=3, with_query=2, warmup=0.5)), made(MoCo(T, queue=9))
    torch.testing.assert_close(mochi(*views), moco(*views))
    mochi.progress = Progress(6, 10)
    assert mochi(*views) > moco(*views)
    query = F.normalize(views[0], dim=1)
    made_up = mochi.mixtures(query)
    assert made_up.shape == (N, 5, D) and not made_up.requires_grad
    torch.testing.assert_close(made_up.norm(dim=2), torch.ones(N, 5, dtype=torch.float64))


def test_mochi_mixes_the_hardest_only():
    mochi = made(MoCHi(T, queue=9, hardest=1, mixed=3, with_query=2, warmup=0.0))
    query = F.normalize(rows(1)[0], dim=1)
    hardest = mochi.queue.rows[(query @ mochi.queue.rows.T).argmax(1)]
    made_up = mochi.mixtures(query)
    torch.testing.assert_close(made_up[:, :3], hardest[:, None].expand(-1, 3, -1))
    ahead = torch.einsum("nsd,nd->ns", made_up[:, 3:], hardest) - torch.einsum("nsd,nd->ns", made_up[:, 3:], query)
    assert (ahead >= -1e-12).all()  # the query weighs less than half


def test_nnclr_contrasts_the_neighbour():
    nnclr, (a, b) = made(NNCLR(T, queue=8)), rows(2)
    p = F.normalize(a, dim=1)
    near = nnclr.queue.rows[(F.normalize(b, dim=1) @ nnclr.queue.rows.T).argmax(1)]
    plain = F.cross_entropy(near @ p.T / T, torch.arange(N))
    ours = nnclr(torch.randn_like(a), a, targets=[b])
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, a)[0], torch.autograd.grad(plain, a)[0])


def halp(**more):
    objective = made(HaLP(T, queue=32, prototypes=6, recent=24, points=50, start=0.5, **more))
    objective.progress = Progress(9, 10)
    return objective


def test_halp_points_stay_with_their_own_prototype():
    objective, key = halp(reach=1.0), F.normalize(rows(1)[0], dim=1)
    from_key, from_target, target, kept = objective.combinations(key)
    points = from_key[..., None] * key[:, None] + from_target[..., None] * objective.centres[target]
    torch.testing.assert_close(points.norm(dim=2), torch.ones(N, 50, dtype=torch.float64), atol=1e-6, rtol=0)
    own = (key @ objective.centres.T).argmax(1, keepdim=True)
    inside = (points @ objective.centres.T).argmax(2) == own
    assert torch.equal(inside, kept.bool()) and kept.mean() > 0.5
    against_target = (points * objective.centres[own]).sum(2) - (points * objective.centres[target]).sum(2)
    assert (against_target > -1e-6).all()  # even before filtering, never past the border with the prototype it moves to


def test_halp_equals_the_mean_over_formed_points():
    objective, (a, b) = halp(), rows(2)
    query, key = F.normalize(a, dim=1), F.normalize(b, dim=1).detach()
    torch.manual_seed(3)
    ours = objective.agreement(query, key)
    torch.manual_seed(3)
    from_key, from_target, target, kept = objective.combinations(key)
    points = from_key[..., None] * key[:, None] + from_target[..., None] * objective.centres[target]
    plain = total(query[i] @ points[i, j] for i in range(N) for j in range(50) if kept[i, j])
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, a, retain_graph=True)[0], torch.autograd.grad(plain, a)[0])


def test_halp_is_moco_until_it_starts():
    views, objective = rows(2), halp()
    objective.progress = Progress(1, 10)
    torch.testing.assert_close(objective(*views), made(MoCo(T, queue=32))(*views))


def test_interclr_positives_share_the_cluster():
    """With two far clusters, the positive is drawn from the key's and the negatives from the other."""
    objective = made(InterCLR(T, queue=20, weight=1.0, clusters=2, margin=0.0, pool=0.5, negatives=8))
    along = torch.eye(D, dtype=torch.float64)[:2]
    objective.queue.rows.copy_(along.repeat_interleave(10, 0))
    objective.centres.copy_(along)
    objective.member.copy_(objective.nearest(objective.queue.rows))
    query = along[:1]
    expected = torch.log(torch.tensor(1 / T, dtype=torch.float64).exp() + 8) - 1 / T
    torch.testing.assert_close(objective.contrast(query, query), expected)


def test_interclr_keeps_clusters_of_what_it_holds():
    objective = made(InterCLR(T, queue=20, clusters=3, negatives=8, every=1))
    objective(*rows(2))
    objective.after_step()
    assert torch.equal(objective.member, objective.nearest(objective.queue.rows))


# ---- mixtures for quantities

def test_supremix_positives_have_the_label_of_the_anchor():
    objective = SupReMix(T, mixtures=20, window=2.0)
    z, y = F.normalize(torch.randn(8, 40, dtype=torch.float64), dim=1), torch.arange(8.0, dtype=torch.float64)
    seen = []
    objective.alike = lambda anchors, mixed: seen.append(mixed) or torch.zeros(mixed.shape[:2])
    _, exists = objective.hard_positives(z, z, y - y[:, None])
    share = torch.linalg.lstsq(z.T, seen[0].flatten(0, 1).T).solution.T.unflatten(0, (8, 20))  # rows as mixtures of rows
    torch.testing.assert_close((share @ y)[exists], y[:, None].expand(8, 20)[exists])
    assert exists[1:-1].all() and not exists[0].any() and not exists[-1].any()
    assert ((share.abs() > 1e-6).sum(2)[exists] == 2).all() and (share.diagonal(dim1=0, dim2=2).abs() < 1e-6)[:, 1:-1].all()


def test_supremix_negatives_weigh_by_their_own_label():
    objective = SupReMix(T, mixtures=30)
    z, y = F.normalize(torch.randn(5, 40, dtype=torch.float64), dim=1), torch.tensor([0.0, 0, 1, 5, 9], dtype=torch.float64)
    seen = []
    objective.alike = lambda anchors, mixed: seen.append(mixed) or torch.zeros(mixed.shape[:2])
    _, weights = objective.hard_negatives(z, z, y - y[:, None])
    share = torch.linalg.lstsq(z.T, seen[0].flatten(0, 1).T).solution.T.unflatten(0, (5, 30))
    torch.testing.assert_close(weights, (share @ y - y[:, None]).abs())


def test_supremix_trains_with_mixtures():
    views = rows(2)
    loss = SupReMix(T)(*views, labels=AGES)
    assert loss > 0 and all(g.isfinite().all() for g in torch.autograd.grad(loss, views))


def test_unicon_weighs_inliers_by_how_central_they_are():
    views = rows(4)
    soft, hard = UniCon(T, transformations=2), UniCon(T, transformations=2, soft=False)
    z = F.normalize(torch.cat(views[:2]), dim=1)
    w = (z @ F.normalize(z.mean(0), dim=0)).detach().clamp(min=1e-6)
    plain = total(sum(w[q] * (z[p] @ z[q]) for q in range(12) if q != p) / sum(w[q] for q in range(12) if q != p)
                  for p in range(12))
    torch.testing.assert_close(soft.together(z), plain)
    assert not torch.isclose(soft(*views), hard(*views))
    with pytest.raises(ValueError, match="2 or more views of each"):
        UniCon(T, transformations=2)(*rows(3))


def hydra(views, labels, objective, pairs):
    """One anchor and one pair of classes at a time."""
    losses, who = [], [(v, i) for v in range(len(views)) for i in range(len(labels))]
    for pair in pairs:
        gate = objective.gate(objective.places.weight[pair].mean(dim=0))
        row = {key: F.normalize(gate * views[key[0]][key[1]], dim=0) for key in who}
        inside = [key for key in who if labels[key[1]] in pair]
        apart = [key for key in who if labels[key[1]] not in pair and labels[key[1]] >= 0]
        for anchor in inside:
            against = sum((row[anchor] @ row[key] / T).exp() for key in apart)
            alike = [(row[anchor] @ row[key] / T).exp() for key in inside if key != anchor]
            losses.append(-torch.stack([(s / (s + against)).log() for s in alike]).mean())
    return torch.stack(losses).mean()


def hydra_of(width):
    torch.manual_seed(0)
    objective = Hydra(4, T, pairs=3)
    objective.allocate(width)
    return objective.double()


def test_hydra_equals_plain_form(monkeypatch):
    objective, views, labels = hydra_of(D), rows(2), [0, 1, 2, 0, -1, 3]
    pairs = [[0, 1], [2, 2], [3, 1]]
    monkeypatch.setattr(objective, "drawn", lambda _: torch.tensor(pairs))
    ours, theirs = objective(*views, labels=torch.tensor(labels)), hydra(views, labels, objective, pairs)
    inputs = [*views, *objective.parameters()]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for x, y in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs)):
        torch.testing.assert_close(x, y, rtol=1e-7, atol=1e-9)


def test_hydra_draws_classes_that_are_there():
    pairs = hydra_of(D).drawn(torch.tensor([3, 1, 1, -1]).repeat(2))
    assert pairs.shape == (3, 2) and set(pairs.flatten().tolist()) <= {1, 3}


def test_hydra_brings_two_classes_together_in_a_subspace_only():
    """Two classes that agree in one column: a gate for it makes them alike, though their rows are orthogonal otherwise."""
    rows_, labels = torch.tensor([[1.0, 9, 0, 0], [1, 0, 9, 0], [0, 0, 0, 9.0], [0, 0, 0, 9.0]]), torch.tensor([0, 1, 2, 3])
    objective = Hydra(4, 0.1, pairs=1)
    objective.drawn = lambda _: torch.tensor([[0, 1]])
    found = {}
    for kind, gate in (("open", torch.ones(1, 4)), ("subspace", torch.tensor([[1.0, 0.01, 0.01, 0.01]]))):
        objective.places, objective.gate = nn.Embedding(4, 4), lambda _, gate=gate: gate
        found[kind] = objective(rows_, rows_, labels=labels).item()
    assert found["subspace"] < 0.1 * found["open"]


def test_hydra_with_one_class_only_has_nothing_to_tell_apart():
    objective, views = hydra_of(D), rows(2)
    loss = objective(*views, labels=torch.ones(len(views[0]), dtype=torch.long))
    loss.backward()
    assert loss.item() == 0 and all(view.grad.isfinite().all() for view in views)


def test_interclr_remembers_every_item_where_they_have_numbers():
    objective = made(InterCLR(T, queue=16, clusters=3, negatives=4, places=20))
    views, ids = rows(2), torch.tensor([3, 19, 0, 7, 8, 11])
    before = objective.bank.rows.clone()
    objective(*views, ids=ids).backward()
    objective.after_step()
    torch.testing.assert_close(objective.bank.rows[ids], F.normalize(views[0].detach(), dim=1))
    others = [i for i in range(20) if i not in ids.tolist()]
    assert torch.equal(objective.bank.rows[others], before[others])
    assert torch.equal(objective.member, (objective.bank.rows @ objective.centres.T).argmax(dim=1))
    with pytest.raises(ValueError, match="was not told which ones these are; objective.places=0"):
        objective(*views)
