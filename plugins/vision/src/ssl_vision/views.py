"""Views that say how they were drawn, so that methods can predict it (SIE, seq-JEPA) or undo it (SlotCon)."""
from __future__ import annotations

from math import radians
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import ConfigError, Representation

from . import colour, warp
from .augmentations import Strengths, checked, ordered
from .images import Images, unit
from .vit import centres
from .warp import Pair

ACTION = 10  # numbers that lead from one view to another: six of geometry, four of colour


class View(NamedTuple):
    """Images, and how they came about.

    Args:
        pixels, labels: as in `Images`.
        theta: (B, 2, 3), a warp from places in the view to places in the image; see `warp`.
        colours: (B, 4), the logarithms of the factors of brightness, contrast and saturation, and the turn of the hue.
    """

    pixels: Tensor
    labels: Tensor | None
    theta: Tensor
    colours: Tensor


class Traced:
    """Views that are cropped, flipped, turned and recoloured, each of which says how.

    Args:
        views: how many.
        scale, ratio: see `warp.boxes`.
        flip, jitter: probabilities.
        angle: largest turn, in degrees.
        strengths: of brightness, contrast and saturation, each below 1, and of hue; see `colour.draw`.
    """

    def __init__(self, views: int = 2, scale: Pair = (0.2, 1.0), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5,
                 angle: float = 0.0, jitter: float = 0.8, strengths: Strengths = (0.4, 0.4, 0.2, 0.1)) -> None:
        checked(views, flip=flip, jitter=jitter)
        ordered(scale=scale, ratio=ratio)
        if max(strengths[:3]) >= 1:
            raise ValueError(f"strengths of brightness, contrast and saturation should be below 1, got {strengths[:3]}")
        self.views, self.scale, self.ratio, self.flip = views, scale, ratio, flip
        self.angle, self.jitter, self.strengths = radians(angle), jitter, strengths

    def __call__(self, images: Images) -> tuple[View, ...]:
        x = unit(images.pixels)
        return tuple(self.view(x, images.labels) for _ in range(self.views))

    def view(self, x: Tensor, labels: Tensor | None) -> View:
        b, _, height, width = x.shape
        box = warp.boxes(b, height, width, self.scale, self.ratio, x.device)
        flip, angle = torch.rand(b, device=x.device) < self.flip, warp.uniform(b, (-self.angle, self.angle), x.device)
        theta = warp.crop(box, height, width, flip) if not self.angle else boxed(box, height, width, flip, angle)
        drawn = colour.draw(b, self.strengths, self.jitter, 0.0, x.device)
        seen = colour.apply(warp.warp(x, theta, (height, width)), drawn)
        logs = [factor.log() for factor in (drawn.brightness, drawn.contrast, drawn.saturation)]
        return View(seen, labels, theta, torch.stack([*logs, drawn.hue], dim=1))


def boxed(box: Tensor, height: int, width: int, flip: Tensor, angle: Tensor) -> Tensor:
    """The warp that shows a box (B, 4) turned about its middle by `angle` (B,), mirrored where `flip`: (B, 2, 3)."""
    top, left, h, w = box.unbind(dim=1)
    cos, sin, sign = angle.cos(), angle.sin(), 1 - 2 * flip.to(box.dtype)
    return torch.stack([sign * w * cos / width, -h * sin / width, (2 * left + w) / width - 1,
                        sign * w * sin / height, h * cos / height, (2 * top + h) / height - 1], dim=1).view(-1, 2, 3)


def between(a: View, b: View) -> Tensor:
    """The action that leads from view a to view b: (B, 10).

    Six numbers are the affine map from places in b to places in a, row after row: the identity where both show the same.
    Four are the differences of their colours. Only what is relative can be told from two views.
    """
    return torch.cat([joined(a.theta, b.theta).flatten(1), b.colours - a.colours], dim=1)


def joined(a: Tensor, b: Tensor) -> Tensor:
    """The inverse of warp a after warp b, (B, 2, 3) each: where a place of view b lies in view a."""
    shifted = torch.cat([b[:, :, :2], b[:, :, 2:] - a[:, :, 2:]], dim=2)
    return torch.linalg.solve_ex(a[:, :, :2], shifted).result


def maps(found: Representation, pixels: Tensor) -> Tensor:
    """Tokens of images (B, C, H, W) as maps (B, D, h, w).

    Raises:
        ConfigError: the encoder gives no tokens, or they make no grid.
    """
    b, _, height, width = pixels.shape
    length = 0 if found.tokens is None else len(found.tokens) // b
    rows = round((length * height / width) ** 0.5)
    if found.tokens is None or not rows or length % rows:
        raise ConfigError(f"this method looks at the places of an image, and the encoder gives {length or 'no'} tokens for "
                          f"{height} x {width} pixels.\n  Try: encoder=resnet18, encoder=vit-small or encoder=conv")
    return found.tokens.view(b, rows, length // rows, -1).permute(0, 3, 1, 2)


class Common(NamedTuple):
    """The part of an image that two views share.

    Args:
        a, b: (B, g, g, 2), the same places in the one and in the other view, from -1 to 1.
        shared: (B,) bool, False where the views have nothing in common.
    """

    a: Tensor
    b: Tensor
    shared: Tensor


def common(a: Tensor, b: Tensor, side: int) -> Common:
    """A grid of `side` x `side` places over the box that two warps (B, 2, 3) both show: crop and flip are undone."""
    reach = [theta[:, :, :2].abs().sum(dim=2) for theta in (a, b)]  # from the middle of a view to its border
    low = torch.maximum(a[:, :, 2] - reach[0], b[:, :, 2] - reach[1])  # (B, 2)
    high = torch.minimum(a[:, :, 2] + reach[0], b[:, :, 2] + reach[1])
    grid = centres(side, side, a.device).flip(1).to(a.dtype)  # (g * g, 2), x first
    place = (low[:, None] + (high - low).clamp(min=0)[:, None] * grid).mT  # (B, 2, g * g)
    found = [torch.linalg.solve_ex(theta[:, :, :2], place - theta[:, :, 2:]).result.mT.unflatten(1, (side, side))
             for theta in (a, b)]
    return Common(found[0], found[1], (high > low).all(dim=1))


def sampled(rows: Tensor, at: Tensor) -> Tensor:
    """Maps (B, D, h, w) at places (B, g, g, 2) as rows: (B, g * g, D)."""
    return F.grid_sample(rows, at.to(rows.dtype), padding_mode="border", align_corners=False).flatten(2).mT
