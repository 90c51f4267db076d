"""Views of images, drawn on the whole batch on its device, a different one for every image. The batch stays as it was."""
from __future__ import annotations

from itertools import permutations
from math import radians
from typing import NamedTuple

import torch
from torch import Tensor

from . import colour, warp
from .images import Images, unit
from .warp import Pair

Strengths = tuple[float, float, float, float]


class Look(NamedTuple):
    """How one view is drawn: crop, flip, colour jitter, gray, blur, solarise, in this order.

    Args:
        scale, ratio: see `warp.boxes`.
        jitter, flip, gray, blur, solarise: probabilities.
        strengths: of brightness, contrast, saturation and hue; see `colour.draw`.
        sigma: of the blur, in pixels.
    """

    scale: Pair
    ratio: Pair
    flip: float
    jitter: float
    strengths: Strengths
    gray: float
    blur: float
    sigma: Pair
    solarise: float

    def __call__(self, pixels: Tensor, size: int = 0) -> Tensor:
        """(B, C, H, W) from 0 to 1 -> (B, C, size, size); 0: as large as it was."""
        b, _, height, width = pixels.shape
        device = pixels.device
        box = warp.boxes(b, height, width, self.scale, self.ratio, device)
        flip = torch.rand(b, device=device) < self.flip
        x = warp.warp(pixels, warp.crop(box, height, width, flip), (size or height, size or width))
        if self.jitter or self.gray:
            x = colour.apply(x, colour.draw(b, self.strengths, self.jitter, self.gray, device))
        if self.blur:
            rows = colour.share(b, self.blur, device)
            sigma = warp.uniform(len(rows), self.sigma, device)
            x = x.index_copy(0, rows, colour.blurred(x[rows], sigma)) if len(rows) else x
        if self.solarise:
            x = colour.solarised(x, torch.rand(b, device=device) < self.solarise)
        return x


def checked(views: int, size: int = 0, **shares: float) -> None:
    """Raise a ValueError unless there are two views, of a size that can be, and the shares are probabilities."""
    if views < 2:
        raise ValueError(f"views should be 2 or more, got {views}")
    if size < 0:
        raise ValueError(f"size should be a number of pixels, or 0 for that of the images, got {size}")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} should lie between 0 and 1, got {share}")


def ordered(**spans: Pair) -> None:
    """Raise a ValueError unless every span is of two positive ends, the smaller first."""
    for name, (low, high) in spans.items():
        if not 0 < low <= high:
            raise ValueError(f"{name} should be two positive numbers, the smaller first, got {low}, {high}")


class SimCLR:
    """Views that are all drawn alike (SimCLR, arXiv:2002.05709, appendix A; MoCo v2 halves the strengths).

    Args:
        views: how many.
        scale: share of the image that a view shows.
        ratio: width of what it shows over its height.
        flip, jitter, gray, blur, solarise: probabilities; all but the blurred are drawn for each image by itself.
        strengths: of the jitter: brightness, contrast, saturation and hue.
        sigma: of the blur, in pixels.
        size: side of the views in pixels; 0: that of the images. Smaller ones cost less, and do well where the images that
            are embedded later are larger (FixRes, arXiv:1906.06423).
    """

    def __init__(self, views: int = 2, scale: Pair = (0.08, 1.0), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5,
                 jitter: float = 0.8, strengths: Strengths = (0.8, 0.8, 0.8, 0.2), gray: float = 0.2, blur: float = 0.5,
                 sigma: Pair = (0.1, 2.0), solarise: float = 0.0, size: int = 0) -> None:
        checked(views, size, flip=flip, jitter=jitter, gray=gray, blur=blur, solarise=solarise)
        ordered(scale=scale, ratio=ratio, sigma=sigma)
        self.views, self.size = views, size
        self.look = Look(scale, ratio, flip, jitter, strengths, gray, blur, sigma, solarise)

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(self.look(x, self.size), images.labels) for _ in range(self.views))


class BYOL:
    """Two views that are drawn differently (BYOL, arXiv:2006.07733, table 6).

    Args:
        blur, solarise: probabilities in the first and in the second view.
        scale, ratio, flip, jitter, strengths, gray, sigma, size: as in `SimCLR`.
    """

    def __init__(self, scale: Pair = (0.08, 1.0), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5, jitter: float = 0.8,
                 strengths: Strengths = (0.4, 0.4, 0.2, 0.1), gray: float = 0.2, blur: Pair = (1.0, 0.1),
                 solarise: Pair = (0.0, 0.2), sigma: Pair = (0.1, 2.0), size: int = 0) -> None:
        ordered(scale=scale, ratio=ratio, sigma=sigma)
        for b, s in zip(blur, solarise, strict=True):
            checked(2, size, flip=flip, jitter=jitter, gray=gray, blur=b, solarise=s)
        self.size = size
        self.looks = [Look(scale, ratio, flip, jitter, strengths, gray, b, sigma, s)
                      for b, s in zip(blur, solarise, strict=True)]

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(look(x, self.size), images.labels) for look in self.looks)


class MultiCrop:
    """A few large views and many small ones (SwAV, arXiv:2006.09882; DINO, arXiv:2104.14294). The large ones come first.

    Args:
        large, small: how many of each.
        large_scale, small_scale: share of the image that each shows.
        small_size: side of the small views in pixels; 0: 3/7 of the image's shorter side (96 of 224), in steps of 8 if it
            is large, of 4 if it is not.
        blur: probabilities in the first view, in the other large ones and in the small ones.
        solarise: probability in the second view.
        size: side of the large views in pixels, as in `SimCLR`.
        ratio, flip, jitter, strengths, gray, sigma: as in `SimCLR`.
    """

    def __init__(self, image_size: tuple[int, int], large: int = 2, small: int = 6, large_scale: Pair = (0.4, 1.0),
                 small_scale: Pair = (0.05, 0.4), small_size: int = 0, ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5,
                 jitter: float = 0.8, strengths: Strengths = (0.4, 0.4, 0.2, 0.1), gray: float = 0.2,
                 blur: tuple[float, float, float] = (1.0, 0.1, 0.5), solarise: float = 0.2, sigma: Pair = (0.1, 2.0),
                 size: int = 0) -> None:
        if large < 1 or small < 0:
            raise ValueError(f"large should be 1 or more and small 0 or more, got {large} and {small}")
        for share in blur:
            checked(large + small, size, flip=flip, jitter=jitter, gray=gray, blur=share, solarise=solarise)
        ordered(large_scale=large_scale, small_scale=small_scale, ratio=ratio, sigma=sigma)
        shared = (ratio, flip, jitter, strengths, gray)
        self.looks = [Look(large_scale, *shared, blur[min(i, 1)], sigma, solarise if i == 1 else 0.0) for i in range(large)]
        self.looks += [Look(small_scale, *shared, blur[2], sigma, 0.0)] * small
        side, step = min(image_size), 8 if min(image_size) >= 64 else 4
        self.sizes = [size] * large + [small_size or max(step, round(side * 3 / 7 / step) * step)] * small

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(look(x, size), images.labels) for look, size in zip(self.looks, self.sizes, strict=True))


class Mild:
    """Views that are turned, scaled and shifted a little and made noisy: for small gray images such as digits.

    Args:
        views: how many.
        angle: largest turn, in degrees.
        scale: smallest and largest enlargement.
        shift: largest shift, as a share of the sides.
        noise: standard deviation of what is added to each pixel.
        contrast: largest change of contrast.
    """

    def __init__(self, views: int = 2, angle: float = 15.0, scale: Pair = (0.8, 1.2), shift: float = 0.1,
                 noise: float = 0.1, contrast: float = 0.3) -> None:
        checked(views, shift=shift, contrast=contrast)
        ordered(scale=scale)
        self.views, self.angle, self.scale, self.shift = views, radians(angle), scale, shift
        self.noise, self.contrast = noise, contrast

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(self.view(x), images.labels) for _ in range(self.views))

    def view(self, x: Tensor) -> Tensor:
        b, _, height, width = x.shape
        angle = warp.uniform(b, (-self.angle, self.angle), x.device)
        shift = warp.uniform(2 * b, (-self.shift, self.shift), x.device).view(b, 2)
        theta = warp.turned(angle, warp.uniform(b, self.scale, x.device), shift, height, width)
        x = warp.warp(x, theta, (height, width))
        factor = warp.uniform(b, (1 - self.contrast, 1 + self.contrast), x.device)[:, None, None, None]
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (mean + factor * (x - mean) + self.noise * torch.randn_like(x)).clamp_(0, 1)


class Rotations:
    """Four views: turned by 0, 90, 180 and 270 degrees; the number of the view is its pretext class (arXiv:1803.07728)."""

    def __call__(self, images: Images) -> tuple[Images, ...]:
        if images.pixels.shape[2] != images.pixels.shape[3]:
            raise ValueError(f"rotations need square images, got {tuple(images.pixels.shape[2:])}")
        return tuple(Images(torch.rot90(images.pixels, turns, (2, 3)), images.labels) for turns in range(4))


class Jigsaw:
    """Views with their tiles in another order; the number of the view is its pretext class (arXiv:1603.09246).

    Args:
        side: tiles along each axis.
        views: how many orders, the first of which is the right one; the others differ in as many places as possible.
    """

    def __init__(self, side: int = 2, views: int = 4) -> None:
        if side not in (2, 3):
            raise ValueError(f"side should be 2 or 3, got {side}")
        checked(views)
        self.side, self.orders = side, far_apart(side**2, views)

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = images.pixels
        orders = (torch.tensor(order, device=x.device).expand(len(x), -1) for order in self.orders)
        return tuple(Images(rearranged(x, order, self.side), images.labels) for order in orders)


def rearranged(x: Tensor, order: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W) of `side` x `side` tiles, row after row, with tile `order` (B, tiles) of each put in its place."""
    b, c, h, w = x.shape
    if h % side or w % side:
        raise ValueError(f"{side} x {side} tiles do not divide images of {h} x {w}")
    tiles = x.reshape(b, c, side, h // side, side, w // side).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = tiles[torch.arange(b, device=x.device)[:, None], order].unflatten(1, (side, side))
    return moved.permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


def far_apart(tiles: int, count: int) -> list[tuple[int, ...]]:
    """Orders of tiles, the right one first, each chosen to differ from those before in as many places as possible.

    Raises:
        ValueError: there are not so many orders.
    """
    every = torch.tensor(list(permutations(range(tiles))))  # (tiles!, tiles)
    if count > len(every):
        raise ValueError(f"{tiles} tiles have {len(every)} orders, got views={count}")
    chosen, least = [0], (every != every[0]).sum(dim=1)
    while len(chosen) < count:
        chosen.append(int(least.argmax()))
        least = least.minimum((every != every[chosen[-1]]).sum(dim=1))
    return [tuple(every[i].tolist()) for i in chosen]


class BatchStyle:
    """Views in which all images have the style of one of them (batch styles standardisation, arXiv:2303.06088).

    For each view an image is drawn from the batch; the amplitudes of its low frequencies replace those of every other.
    Crops and flips are drawn for each image, colour jitter once for the whole view.

    Args:
        views: how many.
        low: smallest and largest share of the frequencies along each axis that are replaced, drawn for each view.
        scale, ratio, flip: as in `SimCLR`.
        jitter: probability of the jitter.
        strengths: of brightness, contrast, saturation and hue.
    """

    def __init__(self, views: int = 2, low: Pair = (0.02, 0.1), scale: Pair = (0.2, 1.0), ratio: Pair = (3 / 4, 4 / 3),
                 flip: float = 0.5, jitter: float = 0.8, strengths: Strengths = (0.4, 0.4, 0.4, 0.1)) -> None:
        checked(views, flip=flip, jitter=jitter)
        ordered(low=low, scale=scale, ratio=ratio)
        self.views, self.low, self.jitter, self.strengths = views, low, jitter, strengths
        self.look = Look(scale, ratio, flip, 0.0, strengths, 0.0, 0.0, (0.1, 2.0), 0.0)

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(self.view(x), images.labels) for _ in range(self.views))

    def view(self, x: Tensor) -> Tensor:
        of = torch.randint(len(x), (1,), device=x.device)
        x = self.look(restyled(x, of, float(torch.empty(()).uniform_(*self.low))))
        once = colour.draw(1, self.strengths, self.jitter, 0.0, x.device)
        return colour.apply(x, colour.Factors(*(item.expand(len(x)) for item in once)))


def restyled(x: Tensor, of: Tensor, low: float) -> Tensor:
    """Images (B, C, H, W) with the amplitudes of the lowest frequencies of image `of`, (1,); phases stay.

    Args:
        low: half-width of the square of replaced frequencies, as a share of the sides; the constant is always replaced.
    """
    spectrum = torch.fft.rfft2(x)
    size, phase = spectrum.abs(), spectrum.angle()
    rows, columns = torch.fft.fftfreq(x.shape[2], device=x.device), torch.fft.rfftfreq(x.shape[3], device=x.device)
    inside = (rows.abs()[:, None] <= low) & (columns <= low)  # in cycles per pixel, at most 0.5
    mixed = torch.where(inside, size[of], size)
    return torch.fft.irfft2(torch.polar(mixed, phase), s=x.shape[2:]).clamp_(0, 1)
