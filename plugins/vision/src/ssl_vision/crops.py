"""Crops for masked methods, which want no change of colour."""
from __future__ import annotations

import torch
from torch import Tensor

from . import warp
from .augmentations import checked, ordered
from .images import Images, unit
from .warp import Pair


class Crops:
    """Views that are cropped and flipped, and nothing else (MAE, arXiv:2111.06377, appendix A.1).

    Args:
        views: how many.
        scale: share of the image that a view shows.
        ratio: width of what it shows over its height.
        flip: probability.
    """

    def __init__(self, views: int = 1, scale: Pair = (0.2, 1.0), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5) -> None:
        checked(views + 1, flip=flip)
        ordered(scale=scale, ratio=ratio)
        self.views, self.scale, self.ratio, self.flip = views, scale, ratio, flip

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        return tuple(Images(warp.warp(x, self.drawn(x), x.shape[2:]), images.labels) for _ in range(self.views))

    def drawn(self, x: Tensor) -> Tensor:
        """One warp for each image, (B, 2, 3)."""
        b, _, h, w = x.shape
        flip = torch.rand(b, device=x.device) < self.flip
        return warp.crop(warp.boxes(b, h, w, self.scale, self.ratio, x.device), h, w, flip)


class NestedCrops:
    """Two views: a crop of the image, and a crop of that crop (CropMAE, arXiv:2403.17823, section 3). Both flipped, or neither.

    Args:
        outer: share of the image that the first view shows.
        inner: share of the first view that the second shows.
        ratio: width of what a view shows over its height.
        flip: probability.
    """

    def __init__(self, outer: Pair = (0.1, 1.0), inner: Pair = (0.3, 0.6), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5
                 ) -> None:
        ordered(outer=outer, inner=inner, ratio=ratio)
        self.first, self.second = Crops(1, outer, ratio, flip), Crops(1, inner, ratio, 0.0)

    def __call__(self, images: Images) -> tuple[Images, ...]:
        x = unit(images.pixels)
        outer, inner = self.first.drawn(x), self.second.drawn(x)
        turn, shift = outer.split([2, 1], dim=2)
        both = torch.cat([turn @ inner[:, :, :2], turn @ inner[:, :, 2:] + shift], dim=2)  # pixels are read once only
        return tuple(Images(warp.warp(x, theta, x.shape[2:]), images.labels) for theta in (outer, both))


class AsIs:
    """One view, the image as it is: for methods that hide parts of it and want no other change."""

    def __call__(self, images: Images) -> tuple[Images, ...]:
        return (images,)
