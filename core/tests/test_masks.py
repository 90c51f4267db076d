"""Masks: the share they hide, what they leave, and the shape of a box."""
import pytest
import torch

from ssl_core.contracts import Layout
from ssl_core.masks import BoxMask, RandomMask, rank_in_item

MASKS = [RandomMask, BoxMask]
RATIOS = [0.01, 0.25, 0.5, 0.75, 0.99]


def grid(items, *sides):
    """`items` items of one grid each; a token lies at the centre of its cell."""
    centres = [(torch.arange(side) + 0.5) / side for side in sides]
    position = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, -2)
    return Layout(torch.arange(items).repeat_interleave(len(position)), position.repeat(items, 1).contiguous())


def ragged(*lengths, axes=1):
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    position = torch.cat([((torch.arange(n) + 0.5) / n)[:, None].expand(n, axes) for n in lengths])
    return Layout(owner, position)


LAYOUTS = {"spans": grid(3, 20), "patches": grid(4, 6, 6), "blocks": grid(2, 4, 4, 4), "ragged": ragged(2, 50, 3, 1, 17),
           "pairs": ragged(2, 2, 2), "one": ragged(9), "ragged in 2-D": ragged(5, 8, 30, axes=2)}


def count(rows, layout):
    return torch.bincount(layout.owner, weights=rows.double(), minlength=int(layout.owner[-1]) + 1).long()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_hides_its_share_of_every_item(mask, ratio, name):
    layout, torch_seed = LAYOUTS[name], torch.manual_seed(3)
    tokens = count(torch.ones(len(layout.owner)), layout)
    for _ in range(10):
        hidden = mask(ratio)(layout)
        assert hidden.dtype is torch.bool and hidden.shape == layout.owner.shape
        found = count(hidden, layout)
        assert (tokens - found >= 1).all()
        assert (found[tokens > 1] >= 1).all() and (found[tokens == 1] == 0).all()
        wanted = (tokens * ratio).round().clamp(min=1)
        assert torch.equal(found, torch.minimum(wanted.long(), tokens - 1)), torch_seed


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", [0, 1, -0.5, 1.5])
def test_refuses_a_ratio_that_hides_all_or_nothing(mask, ratio):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mask(ratio)


@pytest.mark.parametrize("mask", MASKS)
def test_items_are_masked_apart_and_anew(mask):
    layout = grid(8, 30)
    torch.manual_seed(0)
    first, second = mask(0.4)(layout).view(8, -1), mask(0.4)(layout).view(8, -1)
    assert len({tuple(row.tolist()) for row in first}) > 4  # not one mask for all items
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(mask(0.4)(layout).view(8, -1), first)


@pytest.mark.parametrize("mask", MASKS)
def test_every_token_is_hidden_at_times_and_seen_at_times(mask):
    torch.manual_seed(0)
    layout = grid(2000, 10)
    share = mask(0.5)(layout).view(2000, 10).double().mean(dim=0)
    assert (share > 0.02).all() and (share < 0.99).all()
    if mask is RandomMask:
        assert ((share - 0.5).abs() < 0.05).all()


def test_a_box_of_one_axis_is_a_span():
    torch.manual_seed(0)
    for ratio in RATIOS:
        for row in BoxMask(ratio)(grid(50, 24)).view(50, 24):
            places = row.nonzero()[:, 0]
            assert len(places) == places.max() - places.min() + 1


@pytest.mark.parametrize("sides", [(9, 9), (5, 12), (5, 5, 5)])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.6])
def test_a_box_is_full_up_to_its_outer_shell(sides, ratio):
    """The outermost cells share one distance, so that the last of them are cut off to keep the share exact."""
    torch.manual_seed(1)
    for row in BoxMask(ratio)(grid(40, *sides)).view(40, *sides):
        places = row.nonzero()
        low, high = places.amin(dim=0), places.amax(dim=0)
        inside = row[tuple(slice(a, b + 1) for a, b in zip((low + 1).tolist(), (high - 1).tolist(), strict=True))]
        assert inside.all()
        assert (high - low + 1).prod() < 2.9 * row.sum() + 8  # and hardly larger than what it hides


def test_a_box_keeps_to_its_item_whatever_its_neighbours_are():
    """The mask of one item does not change with the tokens of the others: positions are compared inside an item only."""
    torch.manual_seed(5)
    hidden = BoxMask(0.5)(ragged(40, 4, 40))
    for item in (hidden[:40], hidden[44:]):
        places = item.nonzero()[:, 0]
        assert len(places) == 20 == places.max() - places.min() + 1


@pytest.mark.parametrize("seed", range(20))
def test_ranks_equal_a_plain_loop(seed):
    torch.manual_seed(seed)
    lengths = torch.randint(1, 9, (6,))
    owner = torch.arange(6).repeat_interleave(lengths)
    score = torch.rand(len(owner))
    rank, counted = rank_in_item(score, owner)
    for item in range(6):
        mine = owner == item
        assert torch.equal(score[mine].argsort().argsort(), rank[mine])
        assert (counted[mine] == lengths[item]).all()


def test_ranks_hold_for_many_items():
    """A million items: the item number and the score share one float, and must not run into each other."""
    owner = torch.arange(10**6).repeat_interleave(2)
    score = torch.tensor([1 - 2**-24, 0.0]).repeat(10**6)
    rank, _ = rank_in_item(score, owner)
    assert torch.equal(rank.view(-1, 2), torch.tensor([[1, 0]]).expand(10**6, 2))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.9])
def test_several_boxes_may_overlap_and_leave_a_token(name, ratio):
    torch.manual_seed(2)
    layout = LAYOUTS[name]
    tokens, mask, one = count(torch.ones(len(layout.owner)), layout), BoxMask(ratio, boxes=4), BoxMask(ratio)
    for _ in range(10):
        found, alone = count(mask(layout), layout), count(one(layout), layout)
        assert (tokens - found >= 1).all() and (found[tokens > 1] >= 1).all()
        assert (found <= 4 * alone).all()


def test_four_boxes_are_drawn_apart_and_anew_for_every_item():
    torch.manual_seed(0)
    hidden = BoxMask(0.15, boxes=4)(grid(200, 14, 14)).view(200, 196).sum(dim=1)
    assert (hidden >= 29).all() and (hidden <= 4 * 29).all()  # 29 of 196 each
    assert hidden.unique().numel() > 20  # they overlap as it happens
    with pytest.raises(ValueError, match="boxes should be 1 or more"):
        BoxMask(0.15, boxes=0)
