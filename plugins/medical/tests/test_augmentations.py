"""Views and corruptions: what they keep, what they change, and that each volume gets its own."""
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from ssl_medical import warp
from ssl_medical.augmentations import HideBlocks, Pairs, Views, blurred, hide
from ssl_medical.corruptions import Genesis, TurnAndCut, bezier, boxes, shuffled, turned
from ssl_medical.methods.volume_contrast import Regions, shared as share_of
from ssl_medical.volumes import Volumes

STILL = {"flip": (0.0, 0.0, 0.0), "angle": 0.0, "scale": (1.0, 1.0), "shift": 0.0, "gamma": (1.0, 1.0), "contrast": 0.0,
         "noise": 0.0, "blur": 0.0}


def cubes(count=4, side=12, channels=1):
    torch.manual_seed(0)
    return Volumes(torch.rand(count, channels, side, side, side), torch.arange(count))


@pytest.mark.parametrize("make", [Views(bend=0.1, cut=0.5), Pairs(), HideBlocks((0.5,), 4), Genesis(), TurnAndCut(), Regions()],
                         ids=lambda made: type(made).__name__)
def test_views_keep_items_and_leave_the_batch_as_it_was(make):
    batch = cubes()
    before = batch.voxels.clone()
    views = make(batch)
    assert torch.equal(batch.voxels, before)
    for view in views:
        assert len(view.voxels) == 4 and view.voxels.isfinite().all() and 0 <= view.voxels.min() <= view.voxels.max() <= 1
    again = make(batch)
    assert not all(torch.equal(a.voxels, b.voxels) for a, b in zip(views, again, strict=True))


def test_each_volume_has_its_own_view():
    batch = cubes()
    same = Volumes(batch.voxels[:1].expand(8, -1, -1, -1, -1).clone())
    (view,) = Views(1)(same)
    assert all(not torch.allclose(view.voxels[i], view.voxels[j], atol=1e-3) for i in range(8) for j in range(i))


def test_a_view_without_changes_is_the_volume():
    batch = cubes()
    (view,) = Views(1, **STILL)(batch)
    torch.testing.assert_close(view.voxels, batch.voxels, atol=1e-4, rtol=0)


def test_a_certain_flip_mirrors_the_axis():
    batch = cubes()
    (view,) = Views(1, **STILL | {"flip": (0.0, 1.0, 0.0)})(batch)
    torch.testing.assert_close(view.voxels, batch.voxels.flip(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("axis, plane", [(0, (3, 4)), (1, (4, 2)), (2, (2, 3))])
def test_a_quarter_turn_is_one(axis, plane):
    x = cubes(2).voxels.double()
    angles = torch.zeros(2, 3, dtype=torch.double)
    angles[:, axis] = torch.pi / 2
    matrix, shift, shape = warp.rotations(angles.float()).double(), torch.zeros(2, 3, dtype=torch.double), (12, 12, 12)
    places = warp.grid(matrix, shift, shape, shape)
    seen = warp.look(x, places)
    turns = [torch.rot90(x, k, plane) for k in (1, 3)]
    assert any(torch.allclose(seen, turn, atol=1e-5) for turn in turns)


def test_rotations_are_rotations():
    turn = warp.rotations(torch.rand(5, 3) * 6)
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(5), atol=1e-5, rtol=0)


def test_a_turn_keeps_its_shape_where_sides_differ():
    """A cube inside a long volume stays a cube when it is turned by a quarter."""
    x = torch.zeros(1, 1, 12, 24, 12)
    x[:, :, 4:8, 10:14, 4:8] = 1
    angles = torch.tensor([[0.0, 0.0, torch.pi / 2]])
    seen = warp.look(x, warp.grid(warp.rotations(angles), torch.zeros(1, 3), (12, 24, 12), (12, 24, 12)))
    torch.testing.assert_close(seen, x, atol=1e-4, rtol=0)


def test_blur_is_the_gaussian_of_scipy():
    x = cubes(3).voxels.double()
    sigma = torch.tensor([0.5, 0.8, 1.0], dtype=torch.double)
    for i, deviation in enumerate(sigma.tolist()):
        wanted = x[i, 0].numpy()
        for axis in range(3):
            wanted = gaussian_filter1d(wanted, deviation, axis, mode="nearest", radius=2)
        np.testing.assert_allclose(blurred(x, sigma)[i, 0].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("side, patch, ratio", [(12, 4, 0.75), (12, 5, 0.5), (16, 8, 0.6)])
def test_as_many_blocks_are_hidden_as_asked(side, patch, ratio):
    hidden = hide(6, (side,) * 3, patch, ratio, torch.device("cpu"))
    coarse = hidden[:, 0, ::patch, ::patch, ::patch].flatten(1)
    assert (coarse.sum(dim=1) == round(ratio * coarse.shape[1])).all()
    assert len({tuple(row.tolist()) for row in coarse}) > 1
    again = coarse.view(6, 1, *hidden[:, 0, ::patch, ::patch, ::patch].shape[1:]).repeat_interleave(patch, 2)
    again = again.repeat_interleave(patch, 3).repeat_interleave(patch, 4)[..., :side, :side, :side]
    assert torch.equal(hidden, again)


def test_hidden_blocks_are_blank_and_the_rest_is_there():
    (view,) = HideBlocks((0.3,), 4, 0.5)(cubes())
    assert (view.voxels[view.mark] == 0.3).all()
    assert torch.equal(view.voxels[~view.mark], view.clean[~view.mark])


def test_pairs_show_the_neighbour():
    still = {name: STILL[name] for name in ("flip", "angle", "scale", "shift", "gamma", "contrast", "noise", "blur")}
    own, other = Pairs(**still)(cubes(5))
    torch.testing.assert_close(other.voxels[[0, 1, 2, 3]], own.voxels[[1, 0, 3, 2]])
    torch.testing.assert_close(other.voxels[4], own.voxels[4])


def test_shuffling_moves_voxels_within_small_blocks_only():
    place = torch.arange(12.0)
    x = torch.stack(torch.meshgrid(place, place, place, indexing="ij"))[None]
    moved = shuffled(x, 3)
    assert not torch.equal(moved, x)
    assert (moved - x).abs().max() < 3
    assert torch.equal(moved.flatten(2).sum(dim=2), x.flatten(2).sum(dim=2))
    assert len({tuple(v) for v in moved[0].flatten(1).T.tolist()}) == 12**3


def test_bezier_maps_rise_or_fall_and_reach_both_ends():
    ramp = torch.linspace(0, 1, 4096).view(1, 1, 16, 16, 16).expand(64, -1, -1, -1, -1)
    torch.manual_seed(0)
    curve = bezier(ramp).flatten(1)
    step = curve.diff(dim=1)
    rising, falling = (step >= -1e-6).all(dim=1), (step <= 1e-6).all(dim=1)
    assert (rising | falling).all() and 10 < rising.sum() < 54
    ends = curve[:, [0, -1]].sort(dim=1).values
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]).expand(64, 2), atol=1e-3, rtol=0)


def test_boxes_keep_away_from_the_border():
    found = boxes(50, (24, 24, 24), (1 / 6, 1 / 3), 3, torch.device("cpu"))
    assert not found[..., :3, :, :].any() and not found[..., -3:].any()
    assert found.flatten(1).any(dim=1).all()


def test_genesis_keeps_what_was_there():
    batch = cubes()
    (view,) = Genesis(flip=(0.0, 0.0, 0.0), shuffle=0.0, bend=0.0, paint=0.0)(batch)
    assert torch.equal(view.voxels, batch.voxels) and torch.equal(view.clean, batch.voxels)
    (view,) = Genesis(flip=(0.0, 0.0, 0.0), paint=1.0)(batch)
    assert torch.equal(view.clean, batch.voxels) and not torch.equal(view.voxels, batch.voxels)


def test_turns_are_marked():
    batch = cubes()
    for view in TurnAndCut(most=0.0)(batch):
        for i, quarters in enumerate(view.mark.tolist()):
            assert torch.equal(view.clean[i], torch.rot90(batch.voxels[i], quarters, (1, 2)))
        assert torch.equal(view.voxels, view.clean)
    assert torch.equal(turned(batch.voxels, torch.zeros(4, dtype=torch.long)), batch.voxels)


def test_cuts_take_no_more_than_the_largest_share():
    made = TurnAndCut(most=0.3)
    found = made.cuts(40, (20, 20, 20), torch.device("cpu"))
    share = found.flatten(1).float().mean(dim=1)
    assert share.max() <= 0.3 and share.mean() > 0.05


def test_turning_needs_equal_sides():
    with pytest.raises(ValueError, match="equal sides"):
        TurnAndCut()(Volumes(torch.rand(2, 1, 8, 10, 8)))


def test_cubes_are_cut_where_they_start():
    x = cubes(3, 9, 2).voxels
    start = torch.tensor([[0, 1, 2], [4, 4, 4], [3, 0, 1]])
    found = warp.cubes(x, start, (5, 4, 3))
    for i, (a, b, c) in enumerate(start.tolist()):
        assert torch.equal(found[i], x[i, :, a:a + 5, b:b + 4, c:c + 3])


def test_shares_of_regions_add_up():
    """Regions cover the volume without overlap, so a crop's shares sum to one; a crop that is a region has all of it."""
    corners = torch.cartesian_prod(*[torch.tensor([0, 6])] * 3)
    start = torch.randint(0, 7, (20, 3))
    shares = share_of(start, corners, (6, 6, 6))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(20))
    assert torch.equal(share_of(corners, corners, (6, 6, 6)), torch.eye(8))
    views = Regions((2, 2, 2), 1)(cubes())
    assert len(views) == 9 and views[0].mark.shape == (4, 8) and all(view.mark is None for view in views[1:])


@pytest.mark.parametrize("make, word", [
    (lambda: Views(0), "views"), (lambda: Views(blur=2.0), "blur"), (lambda: Views(scale=(2.0, 1.0)), "scale"),
    (lambda: Views(flip=(0.5, 2.0, 0.5)), "flip"), (lambda: HideBlocks((0.5,), 0), "patch"),
    (lambda: HideBlocks((0.5,), 4, 1.0), "ratio"), (lambda: Genesis(block=1), "block"),
    (lambda: Genesis(paint=-0.1), "paint"), (lambda: TurnAndCut(most=1.5), "most"),
    (lambda: Regions((1, 1, 1)), "grid")])
def test_wrong_options_are_named(make, word):
    with pytest.raises(ValueError, match=word):
        make()
