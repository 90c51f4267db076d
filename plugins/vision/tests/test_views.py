"""Views that say how they were drawn, frames of made-up films, generated views, fractals, and tokens on a grid."""
from math import pi

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_core import ConfigError, DataError, Representation
from ssl_vision import colour, fractals, views, warp
from ssl_vision.augmentations import Jigsaw, rearranged
from ssl_vision.encoders import Conv, Timm
from ssl_vision.frames import Drift
from ssl_vision.generated import Generated
from ssl_vision.images import FromFiles, Images, InMemory
from ssl_vision.scattering import ScatterNet
from ssl_vision.views import Traced, View, between, common, joined, maps, sampled

STILL = dict(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0)


def ramps(count=6, side=16):
    """Images whose two channels say where a pixel lies: x and y from 0 to 1."""
    at = (torch.arange(side) + 0.5) / side
    return torch.stack([at.repeat(side, 1), at[:, None].repeat(1, side)]).expand(count, 2, side, side)


@pytest.mark.parametrize("angle", [0.0, 40.0])
def test_a_traced_view_says_where_its_pixels_come_from(angle):
    torch.manual_seed(0)
    x = ramps(24)
    for view in Traced(3, scale=(0.1, 0.4), angle=angle, jitter=0.0)(Images(x)):
        middle = view.pixels.mean(dim=(2, 3))  # of a linear function: its value in the middle of what is shown
        inside = (view.theta[:, :, :2].abs().sum(dim=2) + view.theta[:, :, 2].abs() < 0.9).all(dim=1)
        assert inside.any() and torch.allclose(middle[inside], (view.theta[inside, :, 2] + 1) / 2, atol=1e-3)
        assert torch.equal(view.colours, torch.zeros(24, 4))


def test_a_traced_view_says_its_colours():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 8, 8) * 0.2 + 0.4
    view = Traced(2, **STILL | {"jitter": 1.0}, strengths=(0.2, 0.2, 0.2, 0.05))(Images(x))[0]
    factors = colour.Factors(*view.colours[:, :3].exp().unbind(1), view.colours[:, 3], torch.zeros(4, dtype=torch.bool))
    assert torch.allclose(view.pixels, colour.apply(x, factors), atol=1e-5)


def test_boxed_without_a_turn_is_crop():
    torch.manual_seed(0)
    box, flip = warp.boxes(8, 12, 20, (0.2, 0.8), (0.5, 2.0), torch.device("cpu")), torch.arange(8) % 2 == 0
    assert torch.allclose(views.boxed(box, 12, 20, flip, torch.zeros(8)), warp.crop(box, 12, 20, flip), atol=1e-6)
    square = torch.tensor([[4.0, 4.0, 8.0, 8.0]])
    turned = views.boxed(square, 16, 16, torch.tensor([False]), torch.tensor([pi / 2]))
    assert torch.allclose(turned, torch.tensor([[[0.0, -0.5, 0.0], [0.5, 0.0, 0.0]]]), atol=1e-6)


def test_the_action_between_views_leads_from_one_to_the_other():
    torch.manual_seed(0)
    a, b, c = Traced(3, angle=30.0)(Images(torch.rand(5, 3, 16, 16)))
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(5, -1, -1)
    assert torch.allclose(joined(a.theta, a.theta), same, atol=1e-5)
    assert torch.allclose(between(a, a), torch.cat([same.flatten(1), torch.zeros(5, 4)], dim=1), atol=1e-5)

    def whole(theta):
        return torch.cat([theta, torch.tensor([[[0.0, 0, 1]]]).expand(len(theta), -1, -1)], dim=1)
    assert torch.allclose(whole(a.theta) @ whole(joined(a.theta, b.theta)), whole(b.theta), atol=1e-4)
    chain = whole(joined(a.theta, b.theta)) @ whole(joined(b.theta, c.theta))
    assert torch.allclose(chain, whole(joined(a.theta, c.theta)), atol=1e-3)
    assert torch.allclose(between(a, b)[:, 6:], b.colours - a.colours)


def test_common_places_undo_crop_and_flip():
    torch.manual_seed(1)
    x = ramps(64, 32)
    a, b = Traced(2, scale=(0.3, 0.9), flip=0.5, jitter=0.0)(Images(x))
    at = common(a.theta, b.theta, 5)
    assert at.shared.float().mean() > 0.5 and at.a[at.shared].abs().max() <= 1 + 1e-4
    one, other = sampled(a.pixels, at.a)[at.shared], sampled(b.pixels, at.b)[at.shared]  # (n, 25, 2), where the place lies
    assert torch.allclose(one, other, atol=0.02)
    assert one.flatten(0, 1).std(dim=0).min() > 0.05


def test_views_without_a_common_part_are_told():
    left = torch.tensor([[[0.4, 0.0, -0.5], [0.0, 0.4, 0.0]]])
    right = torch.tensor([[[0.4, 0.0, 0.5], [0.0, 0.4, 0.0]]])
    assert not common(left, right, 3).shared and common(left, left, 3).shared


@pytest.mark.parametrize("build", [
    lambda: Conv(3, (0.5,) * 3, (0.2,) * 3, 16), lambda: ScatterNet(3, (0.5,) * 3, (0.2,) * 3, 16, 1, 2, 4),
    lambda: Timm(3, (16, 24), (0.5,) * 3, (0.2,) * 3, "resnet18")], ids=["conv", "scatter", "resnet18"])
def test_convolutions_give_their_places_as_tokens(build):
    encoder, x = build().eval(), torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        found = encoder(Images(x))
    grid = maps(found, x)
    assert grid.shape[1] == encoder.width and grid.shape[3] * 2 == grid.shape[2] * 3
    assert torch.allclose(grid.mean(dim=(2, 3)), found.pooled, atol=1e-5)
    with pytest.raises(ConfigError, match="no tokens"):
        maps(Representation(found.pooled), x)


def test_tiles_are_rearranged_image_by_image_as_jigsaw_does_all_of_them():
    x, puzzle = torch.rand(3, 2, 6, 6), Jigsaw(2, 4)
    order = torch.tensor([puzzle.orders[i] for i in (2, 0, 3)])
    found = rearranged(x, order, 2)
    for i, which in enumerate((2, 0, 3)):
        assert torch.equal(found[i], puzzle(Images(x))[which].pixels[i])


def test_batches_say_which_items_they_hold(tmp_path):
    x, rows = torch.rand(10, 1, 4, 4), torch.tensor([7, 2, 5])
    kept = next(iter(InMemory(x, None, rows, 3)))
    read = next(iter(FromFiles(lambda i: x[i], None, rows, 3, False, 0)))
    assert kept.ids.tolist() == read.ids.tolist() == [7, 2, 5] and torch.equal(kept.pixels, read.pixels)


def test_images_can_be_asked_for_by_place():
    x, rows, places = torch.rand(6, 3, 4, 4), torch.tensor([5, 3, 1, 0]), torch.tensor([2, 0])
    labels = torch.arange(6) * 10
    for source in (InMemory(x, labels, rows, 2), FromFiles(lambda i: x[i], labels, rows, 2, False, 0)):
        found = source.items_at(places)
        assert source.count == 4 and found.ids.tolist() == [1, 5] and found.labels.tolist() == [10, 50]
        assert torch.equal(found.pixels, x[[1, 5]])



def test_a_film_closes_in_on_the_image_and_never_backs_away():
    torch.manual_seed(0)
    x, drift = ramps(32, 24), Drift(zoom=(0.7, 0.8))
    frames = drift.film(x)
    spread = [frame.amax(dim=(2, 3)) - frame.amin(dim=(2, 3)) for frame in frames]  # how much of the image is shown
    assert (spread[0] > spread[1]).all() and (spread[1] > spread[2]).all()
    assert all(torch.allclose(late / early, torch.full_like(late, 0.75), atol=0.07)
               for early, late in zip(spread, spread[1:], strict=False))
    middles = [frame.mean(dim=(2, 3)) for frame in frames]
    assert torch.allclose(middles[1], (middles[0] + middles[2]) / 2, atol=0.02)  # at an even pace, in a straight line
    assert len(drift(Images(x[:, :1]))) == 5


@pytest.mark.parametrize("kind", ["npy", "folder"])
def test_generated_views_are_found_by_the_number_of_the_item(kind, tmp_path):
    made = (np.arange(6)[:, None, None, None] * np.full((1, 1, 4, 4), 40)).astype(np.uint8)
    where = tmp_path / ("made.npy" if kind == "npy" else "made")
    if kind == "npy":
        np.save(where, made)
    else:
        where.mkdir()
        for i in range(6):
            Image.fromarray(made[i, 0]).save(where / f"{i}.png")
    source = Generated(where)
    batch = Images(torch.zeros(3, 1, 8, 8), None, torch.tensor([5, 0, 2]))
    found = source.made(batch)
    assert found.shape[:2] == (3, 1) and torch.allclose(found[:, 0, 2, 2] * 255, torch.tensor([200.0, 0, 80]), atol=1)
    with pytest.raises(DataError, match="holds 6 generated images; item 9"):
        source.made(batch._replace(ids=torch.tensor([9, 0, 1])))
    with pytest.raises(ConfigError, match="number of the item"):
        source.made(batch._replace(ids=None))


class Bright(Generated):
    def made(self, batch):
        return batch.pixels[: None if self.low else 1, :, ::2, ::2] * 0 + 0.75  # half as large; only one where `low` is 0


def test_a_plugin_may_make_views_on_the_spot():
    still = dict(scale=(1.0, 1.0), jitter=0.0, gray=0.0, blur=0.0)
    found = Bright(**still)(Images(torch.zeros(2, 3, 8, 8)))
    assert found[0].pixels.max() == 0 and torch.allclose(found[1].pixels, torch.tensor(0.75))
    with pytest.raises(DataError, match="as many"):
        Bright(low=0.0, **still)(Images(torch.zeros(2, 3, 8, 8)))


def test_fractals_are_the_rules_applied():
    assert fractals.rewritten("F", {"F": "F[+F]F"}, 1) == "F[+F]F"
    assert fractals.rewritten("X", {"X": "FX", "F": "FF"}, 3) == "FFFFFFFX"
    lines = fractals.segments("F+F", 90.0)  # one up, one to the left
    assert torch.allclose(lines.mul(1 / 1.9), torch.tensor([[[0.5, -0.5], [0.5, 0.5]], [[0.5, 0.5], [-0.5, 0.5]]]), atol=1e-5)
    picture = fractals.drawn(torch.tensor([[[-0.8, 0.0], [0.8, 0.0]]]), 20, 0.2)
    assert picture[9:11].mean() > 0.75 and picture[:6].max() == 0 and picture[14:].max() == 0
    trees = fractals.bank(4, 24, 3, (0.03, 0.08), torch.Generator().manual_seed(0))
    assert trees.shape == (4, 1, 24, 24) and 0 <= trees.min() and trees.max() <= 1
    assert all(0.02 < float(tree.mean()) < 0.9 for tree in trees) and not torch.equal(trees[0], trees[1])


@pytest.mark.parametrize("make, match", [
    (lambda: Traced(1), "views should be 2"), (lambda: Traced(strengths=(1.0, 0.4, 0.4, 0.1)), "below 1"),
    (lambda: Drift(zoom=(0.8, 1.0)), "zoom below 1"),
])
def test_impossible_views_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_views_hold_what_encoders_read():
    view = View(torch.rand(2, 3, 8, 8), None, torch.zeros(2, 2, 3), torch.zeros(2, 4))
    assert Conv(3, (0.5,) * 3, (0.2,) * 3, 16)(view).pooled.shape == (2, 16)
