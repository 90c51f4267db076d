"""Views against plain per-image versions, and the statistics of what is drawn."""
import colorsys
from math import log, radians

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import RandomResizedCrop, functional as plain

from ssl_vision import augmentations, colour, warp
from ssl_vision.augmentations import BYOL, BatchStyle, Jigsaw, Mild, MultiCrop, Rotations, SimCLR, far_apart, restyled
from ssl_vision.images import Images

ALL = {"simclr": SimCLR(3, solarise=0.3), "byol": BYOL(), "multi-crop": MultiCrop((16, 16)), "mild": Mild(),
       "batch-style": BatchStyle(), "rotations": Rotations(), "jigsaw": Jigsaw()}


def photos(count=8, channels=3, height=16, width=16, seed=0, low=0.0, high=1.0):
    """Smooth random images."""
    noise = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * torch.nn.functional.avg_pool2d(noise, 3, 1, 1, count_include_pad=False)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", ALL)
def test_views_keep_items_and_leave_the_batch_alone(name, kind, channels):
    x = photos(channels=channels)
    x = (x * 255).to(torch.uint8) if kind is torch.uint8 else x
    batch, before = Images(x, torch.arange(8)), x.clone()
    torch.manual_seed(1)
    views = ALL[name](batch)
    assert torch.equal(batch.pixels, before)
    for view in views:
        assert view.pixels.shape[:2] == (8, channels) and torch.equal(view.labels, batch.labels)
        scaled = view.pixels.float() / (255 if view.pixels.dtype is torch.uint8 else 1)
        assert scaled.min() >= 0 and scaled.max() <= 1 + 1e-5
    torch.manual_seed(1)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(views, ALL[name](batch), strict=True))


@pytest.mark.parametrize("name", ["simclr", "byol", "multi-crop", "mild"])
def test_each_image_is_drawn_by_itself(name):
    same = photos(1).expand(6, -1, -1, -1)
    first = ALL[name](Images(same))[0].pixels
    assert all(not torch.equal(first[i], first[j]) for i in range(6) for j in range(i))


@pytest.mark.parametrize("scale, ratio, shape", [
    ((0.08, 1.0), (3 / 4, 4 / 3), (224, 224)), ((0.2, 0.6), (0.5, 2.0), (100, 300)), ((0.9, 1.0), (3.0, 4.0), (200, 200))])
def test_boxes_are_distributed_as_torchvision_has_them(scale, ratio, shape):
    torch.manual_seed(0)
    n, (height, width) = 4000, shape
    ours = warp.boxes(n, height, width, scale, ratio, torch.device("cpu"))
    image = torch.empty(1, height, width)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(n)]).float()
    assert (ours[:, :2] >= 0).all() and (ours[:, 0] + ours[:, 2] <= height + 1e-3).all()
    assert (ours[:, 1] + ours[:, 3] <= width + 1e-3).all()
    for value in (lambda b: b[:, 2] * b[:, 3] / (height * width), lambda b: (b[:, 3] / b[:, 2]).log(),
                  lambda b: b[:, 0] / height, lambda b: b[:, 1] / width):
        at = torch.linspace(0.05, 0.95, 19)
        assert torch.allclose(value(ours).quantile(at), value(theirs).quantile(at), atol=0.035)


def test_boxes_respect_area_and_ratio():
    box = warp.boxes(2000, 100, 100, (0.2, 0.5), (0.75, 4 / 3), torch.device("cpu"))
    area, shape = box[:, 2] * box[:, 3] / 1e4, (box[:, 3] / box[:, 2]).log()
    assert 0.2 - 1e-4 <= area.min() and area.max() <= 0.5 + 1e-4
    assert shape.abs().max() <= log(4 / 3) + 1e-4


def test_crop_is_cut_and_resize():
    x = photos(4, height=24, width=32).double()
    box = torch.tensor([[2, 3, 12, 16], [0, 0, 24, 32], [8, 16, 6, 8], [4, 0, 20, 32]]).double()
    flip = torch.tensor([False, True, False, True])
    found = warp.warp(x, warp.crop(box, 24, 32, flip), (12, 16))
    for i, (top, left, h, w) in enumerate(box.int().tolist()):
        expected = plain.resized_crop(x[i], top, left, h, w, [12, 16], antialias=False)
        expected = expected.flip(2) if flip[i] else expected
        # plain resizing repeats the border of the cut; ours sees what lies beyond it
        assert torch.allclose(found[i, :, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-9)


def test_whole_crop_is_the_image_and_its_mirror():
    x = photos(2, height=10, width=14)
    box = torch.tensor([[0.0, 0, 10, 14]]).expand(2, -1)
    seen = warp.warp(x, warp.crop(box, 10, 14, torch.tensor([False, True])), (10, 14))
    assert torch.allclose(seen[0], x[0], atol=1e-5) and torch.allclose(seen[1], x[1].flip(2), atol=1e-5)


@pytest.mark.parametrize("angle, scale, shift", [(90, 1.0, (0.0, 0.0)), (20, 1.2, (0.1, -0.05)), (0, 1.0, (0.25, 0.0))])
def test_turned_is_an_affine_transform(angle, scale, shift):
    x = photos(1, height=16, width=24).double()
    theta = warp.turned(torch.tensor([radians(angle)]), torch.tensor([scale]), torch.tensor([shift]), 16, 24)
    found = warp.warp(x, theta, (16, 24), "zeros")
    across, down = shift[0] * 24, shift[1] * 16
    expected = plain.affine(x, angle, [0, 0], scale, [0.0, 0.0], plain.InterpolationMode.BILINEAR)
    if across or down:  # torchvision shifts by whole pixels
        at = torch.tensor([[1, 0, -across * 2 / 24], [0, 1, -down * 2 / 16]]).double()[None]
        expected = warp.warp(expected, at, (16, 24), "zeros")
        assert torch.allclose(found[..., 5:11, 9:15], expected[..., 5:11, 9:15], atol=0.05)  # it interpolates twice
    else:
        assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5)


def jitter_one(x, order, brightness, contrast, saturation, hue):
    """One image, one operation after another, pixel by pixel: (3, H, W)."""
    luma = np.array([0.299, 0.587, 0.114])
    for operation in order:
        gray = np.tensordot(luma, x, 1)
        if operation == "brightness":
            x = x * brightness
        if operation == "contrast":
            x = contrast * x + (1 - contrast) * gray.mean()
        if operation == "saturation":
            x = saturation * x + (1 - saturation) * gray
        if operation == "hue":
            turned = np.empty_like(x)
            for at in np.ndindex(x.shape[1:]):
                y, i, q = np.array(colour.YIQ) @ x[(slice(None), *at)]
                z = (i + 1j * q) * np.exp(2j * np.pi * hue)
                turned[(slice(None), *at)] = np.linalg.inv(colour.YIQ) @ (y, z.real, z.imag)
            x = turned
    return x


def test_jitter_is_the_plain_operations_in_any_order():
    rng, x = np.random.default_rng(0), photos(6, height=5, width=4, low=0.35, high=0.65).double()  # nothing is clipped
    factors = [torch.from_numpy(rng.uniform(*span, 6)) for span in ((0.8, 1.2), (0.6, 1.4), (0.4, 1.6), (-0.1, 0.1))]
    found = colour.apply(x, colour.Factors(*factors, torch.zeros(6, dtype=torch.bool)))
    for i in range(6):
        order = rng.permutation(["brightness", "contrast", "saturation", "hue"])
        expected = jitter_one(x[i].numpy(), order, *(float(f[i]) for f in factors))
        assert 0 < expected.min() and expected.max() < 1
        assert np.allclose(found[i], expected, atol=1e-5)


@pytest.mark.parametrize("name, at", [("brightness", 0), ("contrast", 1), ("saturation", 2)])
def test_jitter_agrees_with_torchvision(name, at):
    x = photos(3, low=0.3, high=0.7)
    factors = [torch.ones(3), torch.ones(3), torch.ones(3), torch.zeros(3), torch.zeros(3, dtype=torch.bool)]
    factors[at] = torch.tensor([0.7, 1.0, 1.3])
    found = colour.apply(x, colour.Factors(*factors))
    for i in range(3):  # torchvision's weights of gray have four digits
        assert torch.allclose(found[i], getattr(plain, f"adjust_{name}")(x[i], float(factors[at][i])), atol=1e-3)


def test_hue_keeps_luma_and_gray_pixels_and_yiq_is_that_of_python():
    x = photos(2, low=0.4, high=0.6)
    one, no = torch.ones(2), torch.zeros(2, dtype=torch.bool)
    found = colour.apply(x, colour.Factors(one, one, one, torch.tensor([0.1, -0.2]), no))
    luma = torch.tensor(colour.LUMA)[:, None, None]
    assert torch.allclose((found * luma).sum(1), (x * luma).sum(1), atol=1e-5) and not torch.allclose(found, x, atol=1e-3)
    gray = x[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(colour.apply(gray, colour.Factors(one, one, one, torch.tensor([0.3, 0.5]), no)), gray, atol=1e-5)
    assert np.allclose(np.array(colour.YIQ) @ [0.2, 0.5, 0.8], colorsys.rgb_to_yiq(0.2, 0.5, 0.8), atol=0.02)


def test_gray_takes_all_colour_and_gray_images_have_none_to_lose():
    x, one = photos(2), torch.ones(2)
    gray = colour.apply(x, colour.Factors(one, one, one, torch.full((2,), 0.1), torch.tensor([True, False])))
    assert torch.allclose(gray[0], plain.rgb_to_grayscale(x[0], 3), atol=1e-3) and gray[1].std(dim=0).max() > 0.01
    single = photos(2, channels=1)
    same = colour.apply(single, colour.Factors(one, one, 0.3 * one, torch.full((2,), 0.1), torch.tensor([True, True])))
    assert torch.allclose(same, single, atol=1e-6)


def test_probabilities_are_those_asked_for():
    torch.manual_seed(0)
    drawn = colour.draw(4000, (0.4, 0.4, 0.4, 0.1), jitter=0.8, gray=0.2, device=torch.device("cpu"))
    assert abs(float((drawn.brightness != 1).double().mean()) - 0.8) < 0.025
    assert abs(float(drawn.gray.double().mean()) - 0.2) < 0.025
    assert torch.equal(drawn.brightness != 1, drawn.hue != 0)  # an image is jittered in all or in none
    assert 0.6 <= drawn.contrast.min() and drawn.contrast.max() <= 1.4 and drawn.hue.abs().max() <= 0.1
    counts = [len(colour.share(10, 0.25, torch.device("cpu"))) for _ in range(400)]
    assert set(counts) == {2, 3} and abs(sum(counts) / 400 - 2.5) < 0.1


def test_flip_and_solarise_come_as_often_as_asked_for():
    torch.manual_seed(0)
    ramp = torch.linspace(0.05, 0.45, 8).repeat(8, 1)[None, None].expand(3000, 1, 8, 8)  # darker than the threshold
    whole = dict(scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0, gray=0.0, blur=0.0)
    seen = SimCLR(flip=0.3, **whole)(Images(ramp))[0].pixels
    assert abs(float((seen[:, 0, 0, 0] > seen[:, 0, 0, -1]).double().mean()) - 0.3) < 0.03
    seen = SimCLR(flip=0.0, solarise=0.2, **whole)(Images(1 - ramp))[0].pixels
    assert abs(float((seen.amax(dim=(1, 2, 3)) < 0.5).double().mean()) - 0.2) < 0.03


@pytest.mark.parametrize("side", [16, 40, 64])
def test_blur_is_scipys(side):
    x, sigma = photos(3, height=side, width=side + 6).double(), torch.tensor([0.4, 1.1, 2.0]).double()
    found, reach = colour.blurred(x, sigma), max(1, int(0.1 * side) // 2)
    for i in range(3):
        for c in range(3):
            expected = ndimage.gaussian_filter(x[i, c].numpy(), float(sigma[i]), mode="mirror", radius=reach)
            assert np.allclose(found[i, c], expected, atol=1e-9)


def test_only_the_share_that_drew_it_is_blurred():
    x = photos(40)
    look = augmentations.Look((1.0, 1.0), (1.0, 1.0), 0.0, 0.0, (0.0,) * 4, 0.0, 0.25, (1.0, 2.0), 0.0)
    changed = (look(x) - x).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert changed.sum() == 10


def test_multi_crop_gives_large_views_first():
    views = MultiCrop((32, 48), large=2, small=3, small_size=12)(Images(photos(2, height=32, width=48)))
    assert [tuple(v.pixels.shape[2:]) for v in views] == [(32, 48)] * 2 + [(12, 12)] * 3
    assert [MultiCrop((side, side)).sizes[-1] for side in (8, 32, 96, 224)] == [4, 12, 40, 96]


def test_views_can_be_smaller_than_the_images():
    images = Images(photos(2, height=32, width=48))
    for augmentation in (SimCLR(size=24), BYOL(size=24), MultiCrop((32, 48), small=2, size=24)):
        assert [v.pixels.shape[2:] for v in augmentation(images)][:2] == [(24, 24)] * 2
    with pytest.raises(ValueError, match="number of pixels, or 0 for that of the images, got -1"):
        SimCLR(size=-1)


def test_rotations_and_jigsaw_move_every_pixel_and_lose_none():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    turned = Rotations()(Images(x))
    assert [float(v.pixels[0, 0, 0, 0]) for v in turned] == [0.0, 5.0, 35.0, 30.0]
    for side in (2, 3):
        puzzle = Jigsaw(side, 5)
        views, orders = puzzle(Images(x)), puzzle.orders
        assert torch.equal(views[0].pixels, x)
        tile = 6 // side
        for view, order in zip(views, orders, strict=True):
            assert torch.equal(view.pixels.flatten().sort().values, x.flatten())
            for place, source in enumerate(order):
                (r, c), (i, j) = divmod(place, side), divmod(source, side)
                assert torch.equal(view.pixels[0, 0, r * tile: (r + 1) * tile, c * tile: (c + 1) * tile],
                                   x[0, 0, i * tile: (i + 1) * tile, j * tile: (j + 1) * tile])


def test_orders_of_tiles_are_far_apart():
    orders = far_apart(4, 4)
    assert all(sum(a != b for a, b in zip(p, q, strict=True)) == 4 for i, p in enumerate(orders) for q in orders[:i])
    with pytest.raises(ValueError, match="24 orders"):
        far_apart(4, 25)


def test_batch_style_takes_low_amplitudes_and_leaves_phases():
    x, low = photos(3, height=12, width=10, low=0.45, high=0.55).double(), 0.15
    found = restyled(x, torch.tensor([2]), low)
    rows, columns = np.fft.fftfreq(12), np.fft.fftfreq(10)
    inside = (np.abs(rows)[:, None] <= low) & (np.abs(columns) <= low)
    for i in range(3):
        for c in range(3):
            mine, theirs = np.fft.fft2(x[i, c]), np.fft.fft2(x[2, c])
            mixed = np.where(inside, np.abs(theirs), np.abs(mine)) * np.exp(1j * np.angle(mine))
            assert np.allclose(found[i, c], np.fft.ifft2(mixed).real, atol=1e-9)
    assert torch.allclose(found[2], x[2], atol=1e-9)


@pytest.mark.parametrize("make, match", [
    (lambda: SimCLR(1), "views should be 2"), (lambda: SimCLR(gray=1.2), "gray should lie"),
    (lambda: SimCLR(scale=(0.5, 0.1)), "smaller first"), (lambda: BYOL(blur=(2.0, 0.0)), "blur should lie"),
    (lambda: MultiCrop((8, 8), large=0), "large should be"), (lambda: Mild(shift=-1.0), "shift should lie"),
    (lambda: Jigsaw(5), "side should be 2 or 3"), (lambda: BatchStyle(low=(0.0, 0.1)), "low should be"),
])
def test_impossible_options_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
