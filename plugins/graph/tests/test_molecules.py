"""ProFSA's pairs and S-MolSearch's plan, each against plain formulas."""
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from ssl_core.objectives.infonce import InfoNCE
from ssl_graph.methods.molecules import FragmentAndPocket, ProFSA, SMolSearch, Transport, plan
from ssl_graph.points import ELEMENTS, Jitter, Points, chains


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return next(iter(chains(items=24, atoms=16, batch_size=8, labelled=1.0).items))


def test_a_fragment_is_connected_and_its_pocket_is_near(batch):
    views = FragmentAndPocket(5)
    fragment = views.fragment(batch)
    assert torch.equal(torch.bincount(batch.batch[fragment]), torch.full((8,), 5))
    for i in range(8):
        mine = (fragment & (batch.batch == i)).nonzero()[:, 0]
        assert (mine.diff() == 1).all(), "a chain's nearest by bonds are a piece of it"
    torch.manual_seed(3)
    pocket, piece = views(batch)
    torch.manual_seed(3)
    fragment = views.fragment(batch)
    assert torch.equal(piece.pos, batch.pos[fragment])
    apart = torch.cdist(batch.pos, batch.pos).masked_fill(batch.batch[:, None] != batch.batch, torch.inf)
    near = (apart[:, fragment] < 4).any(dim=1) & ~fragment
    assert torch.equal(pocket.pos, batch.pos[near]) and pocket.num_graphs == piece.num_graphs == 8


def test_an_item_is_never_empty(batch):
    for points in (1, 3, 1000):
        for view in FragmentAndPocket(points)(batch):
            assert torch.bincount(view.batch, minlength=8).min() > 0
    lonely = batch.clone()
    lonely.edge_index, lonely.edge_type = batch.edge_index[:, :0], batch.edge_type[:0]
    pocket, fragment = FragmentAndPocket(4)(lonely)
    assert pocket.num_nodes + fragment.num_nodes == batch.num_nodes


@pytest.mark.parametrize("frozen", [True, False])
def test_profsa_contrasts_both_ways(batch, frozen):
    method = ProFSA(Points(len(ELEMENTS), 8, depth=1), FragmentAndPocket(5), InfoNCE(0.2), (6,), frozen=frozen)
    views = method.augmentation(batch)
    method.augmentation = lambda _: views
    loss = method.step(batch)["loss"]
    a, b = method.heads[0](method.encoder(views[0]).pooled), method.heads[1](method.fragments(views[1]).pooled)
    logits, truth = F.normalize(a) @ F.normalize(b).T / 0.2, torch.arange(8)
    torch.testing.assert_close(loss, (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2)
    loss.backward()
    assert all((p.grad is None) == frozen for p in method.fragments.parameters())
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_a_plan_moves_as_much_from_each_row_as_to_each_column():
    torch.manual_seed(0)
    scores = 3 * torch.randn(9, 9).double()
    found = plan(scores, 500)
    torch.testing.assert_close(found.sum(dim=0), torch.full((9,), 1 / 9).double())
    torch.testing.assert_close(found.sum(dim=1), torch.full((9,), 1 / 9).double())
    ratio = found.log() - scores  # up to a factor for each row and column
    centred = ratio - ratio.mean(dim=0) - ratio.mean(dim=1, keepdim=True) + ratio.mean()
    assert centred.abs().max() < 1e-9
    worth = [(p * scores).sum() - (p * p.log()).sum() for p in (found, 0.99 * found + 0.01 / 81)]  # the same margins
    assert worth[0] > worth[1]


def test_transport_equals_the_plain_formula_and_one_hot_plans_are_contrast():
    torch.manual_seed(0)
    a, b, c, d = torch.randn(4, 7, 5).double().unbind()
    a.requires_grad_(True)
    logits = F.normalize(a) @ F.normalize(b).T / 0.3
    labels = plan(F.normalize(c) @ F.normalize(d).T / 0.5, 10)
    plain = sum(-labels[i, j] * (logits[i, j] - logits[i].logsumexp(0) + logits[i, j] - logits[:, j].logsumexp(0)) / 2
                for i in range(7) for j in range(7))
    ours = Transport(0.3, 0.5)(a, b, targets=(c, d))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(*(torch.autograd.grad(out, a)[0] for out in (ours, plain)))
    sharp = Transport(0.3, 0.001)(a, b, targets=(c, c))
    torch.testing.assert_close(sharp, InfoNCE(0.3)(a, b))


def test_targets_take_no_gradient():
    a, b = torch.randn(2, 6, 4).unbind()
    targets = [torch.randn(6, 4, requires_grad=True) for _ in range(2)]
    Transport()(a.requires_grad_(), b, targets=targets).backward()
    assert all(t.grad is None for t in targets) and a.grad.any()


def test_the_encoder_learns_from_the_guide_and_the_guide_from_labels(batch):
    torch.manual_seed(0)
    method = SMolSearch(Points(len(ELEMENTS), 8, depth=1), Jitter(), Transport(), (6,))
    method.target = lambda graph: graph.known
    found = method.step(batch)
    of_guide = torch.autograd.grad(found["soft"], [*method.guide.parameters()], retain_graph=True, allow_unused=True)
    of_encoder = torch.autograd.grad(found["supervised"], [*method.encoder.parameters()], retain_graph=True, allow_unused=True)
    assert all(g is None for g in (*of_guide, *of_encoder))
    torch.testing.assert_close(found["loss"], found["soft"] + found["supervised"])
    before, other = found["supervised"].item(), deepcopy(method)
    other.target = lambda graph: torch.full_like(graph.known, -1)
    assert other.step(batch)["supervised"].item() != before


def test_options_are_checked():
    for make in (lambda: FragmentAndPocket(0), lambda: Transport(0), lambda: Transport(rounds=0)):
        with pytest.raises(ValueError, match="should be"):
            make()
