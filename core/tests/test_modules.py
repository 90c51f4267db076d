"""Heads, the teacher, ragged rows against loops, and the predictors of hidden tokens."""
from math import cos, pi

import pytest
import torch
from torch import nn

from ssl_core.contracts import Layout, Progress, Representation
from ssl_core.modules import PREDICTORS, Teacher, coded, mean, mlp, pad, scatter_mean


@pytest.mark.parametrize("widths, norm, last_norm, linear, norms", [
    ((4,), "batch", False, 0, 0), ((4, 2), "batch", False, 1, 0), ((4, 8, 2), "batch", False, 2, 1),
    ((4, 8, 8, 2), "layer", True, 3, 3), ((4, 8, 2), "none", True, 2, 0)])
def test_mlp_has_the_layers_it_should(widths, norm, last_norm, linear, norms):
    net = mlp(*widths, norm=norm, last_norm=last_norm)
    assert sum(isinstance(m, nn.Linear) for m in net.modules()) == linear
    assert sum(isinstance(m, (nn.BatchNorm1d, nn.LayerNorm)) for m in net.modules()) == norms
    assert net(torch.randn(5, 4)).shape == (5, widths[-1])


def test_the_last_norm_has_no_scale_and_no_shift():
    torch.manual_seed(0)
    rows = mlp(4, 8, 6, last_norm=True)(torch.randn(64, 4))
    torch.testing.assert_close(rows.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.var(dim=0, correction=0), torch.ones(6), atol=1e-2, rtol=0)  # up to its eps


def student():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("momentum, step, pull", [
    (0.9, 0, 0.1), (0.9, 50, 0.1 * (1 + cos(pi / 2)) / 2), (0.9, 100, 0.0), (0.0, 0, 1.0), (1.0, 0, 0.0)])
def test_the_teacher_moves_by_its_momentum(momentum, step, pull):
    torch.manual_seed(0)
    net = student()
    teacher = Teacher(net, momentum)
    before = [p.clone() for p in teacher.parameters()]
    for p in net.parameters():
        p.data.add_(torch.randn_like(p))
    teacher.follow(net, Progress(step, 100))
    for old, new, fast in zip(before, teacher.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(new, old + pull * (fast - old))


def test_the_teacher_takes_over_buffers_and_gives_no_gradient():
    net = student()
    teacher = Teacher(net, 0.99)
    net(torch.randn(32, 3) + 5)
    assert not torch.equal(teacher.copy[1].running_mean, net[1].running_mean)
    teacher.follow(net, Progress(0, 10))
    for mine, theirs in zip(teacher.copy.buffers(), net.buffers(), strict=True):
        assert torch.equal(mine, theirs) and mine is not theirs
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher(torch.randn(4, 3, requires_grad=True)).requires_grad
    assert all(p.requires_grad for p in net.parameters())


LENGTHS = [(3, 1, 4), (2, 2, 2), (1,), (0, 3, 0), (5, 0)]


def ragged(lengths, width=3):
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return torch.randn(len(owner), width, dtype=torch.float64), owner


@pytest.mark.parametrize("lengths", LENGTHS)
def test_pad_equals_a_loop(lengths):
    rows, owner = ragged(lengths)
    padded, valid = pad(rows, owner, len(lengths))
    assert padded.shape == (len(lengths), max(lengths), 3) and valid.shape == padded.shape[:2]
    for item, length in enumerate(lengths):
        assert torch.equal(padded[item, :length], rows[owner == item])
        assert (padded[item, length:] == 0).all()
        assert valid[item].tolist() == [True] * length + [False] * (max(lengths) - length)
    assert torch.equal(padded[valid], rows)  # and back


def test_pad_of_equal_lengths_copies_nothing():
    rows, owner = ragged((4, 4))
    assert pad(rows, owner, 2)[0].data_ptr() == rows.data_ptr()


@pytest.mark.parametrize("lengths", LENGTHS)
def test_scatter_mean_equals_a_loop(lengths):
    rows, owner = ragged(lengths)
    found = scatter_mean(rows, owner, len(lengths))
    for item, length in enumerate(lengths):
        torch.testing.assert_close(found[item], rows[owner == item].mean(dim=0) if length else torch.zeros(3).double())


def test_scatter_mean_takes_owners_in_any_order_and_has_a_gradient():
    rows = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    owner = torch.tensor([2, 0, 2, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda r: scatter_mean(r, owner, 3), rows)


def shown(lengths=(5, 3, 4), width=8, axes=2, seed=0):
    """What a masked encoder gives to a predictor: tokens of the visible places only."""
    torch.manual_seed(seed)
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    layout = Layout(owner, torch.rand(len(owner), axes))
    hidden = torch.zeros(len(owner), dtype=torch.bool)
    hidden[[0, 2, 6, 9, 10]] = True
    tokens = torch.randn(int((~hidden).sum()), width)
    return Representation(scatter_mean(tokens, owner[~hidden], len(lengths)), tokens), layout, hidden


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("inner", [0, 12])
@pytest.mark.parametrize("lengths", [(5, 3, 4), (6, 6)])
def test_predictors_give_one_row_per_hidden_token(name, inner, lengths):
    context, layout, hidden = shown(lengths)
    predictor = PREDICTORS[name](8, 2, 5, inner)
    guess = predictor(context, layout, hidden)
    assert guess.shape == (5, 5) and guess.isfinite().all()
    guess.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in predictor.parameters())


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_prediction_depends_on_its_own_item_and_place_only(name):
    context, layout, hidden = shown()
    predictor = PREDICTORS[name](8, 2, 5).eval()
    guess, owners = predictor(context, layout, hidden), layout.owner[hidden]
    tokens = context.tokens.clone()
    tokens[layout.owner[~hidden] == 1] += 1.0
    other = predictor(Representation(context.pooled, tokens), layout, hidden)
    torch.testing.assert_close(other[owners != 1], guess[owners != 1])
    assert not torch.allclose(other[owners == 1], guess[owners == 1])
    moved = Layout(layout.owner, layout.position.clone())
    moved.position[0] += 0.5  # of the first hidden token
    assert not torch.allclose(predictor(context, moved, hidden)[0], guess[0])


@pytest.mark.parametrize("name", PREDICTORS)
def test_positions_may_be_told_in_waves(name):
    context, layout, hidden = shown()
    predictor = PREDICTORS[name](8, 2, 5, waves=3).eval()
    guess = predictor(context, layout, hidden)
    moved = Layout(layout.owner, layout.position.clone())
    moved.position[0] += 0.25
    assert guess.shape == (5, 5) and not torch.allclose(predictor(context, moved, hidden)[0], guess[0])
    predictor(context, layout, hidden).sum().backward()
    assert all(p.grad is not None for p in predictor.parameters())


def test_waves_are_octaves_of_sines_and_cosines():
    position = torch.rand(6, 2)
    found = coded(position, 3).view(6, 2, 6)
    for j in range(3):
        assert torch.allclose(found[:, :, j], (position * torch.pi * 2**j).sin(), atol=1e-6)
        assert torch.allclose(found[:, :, 3 + j], (position * torch.pi * 2**j).cos(), atol=1e-6)
    assert coded(position, 0) is position


def test_mean_of_losses():
    assert mean(torch.tensor(v) for v in (1.0, 2.0, 6.0)) == 3
