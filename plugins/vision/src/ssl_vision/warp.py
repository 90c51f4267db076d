"""Geometry of views: crop, flip, turn and scale in one pass over the pixels, a different one for every image.

A warp is an affine map (B, 2, 3) from places in the view to places in the image, both from -1 to 1 (x first, then y).
"""
from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[float, float]


def uniform(count: int, span: Pair, device: torch.device) -> Tensor:
    """(count,) numbers between both ends."""
    return torch.empty(count, device=device).uniform_(*span)


def boxes(count: int, height: int, width: int, scale: Pair, ratio: Pair, device: torch.device, tries: int = 10) -> Tensor:
    """Random boxes (count, 4) as top, left, height, width in pixels: "random resized crop" (arXiv:1409.4842).

    A share `scale` of the area and a `ratio` of width to height (uniform in its logarithm) are drawn until the box fits,
    ten times at most; then the largest box in the middle with an allowed ratio is taken. All tries are drawn at once.
    """
    area = torch.empty(count, tries, device=device).uniform_(*scale) * height * width
    shape = torch.empty(count, tries, device=device).uniform_(log(ratio[0]), log(ratio[1])).exp()
    wide, high = (area * shape).sqrt(), (area / shape).sqrt()  # (count, tries)
    fits = (wide <= width) & (high <= height)
    first, any_fits = fits.to(torch.uint8).argmax(dim=1, keepdim=True), fits.any(dim=1)
    allowed = min(max(width / height, ratio[0]), ratio[1])
    whole_wide, whole_high = min(float(width), height * allowed), min(float(height), width / allowed)
    w = torch.where(any_fits, wide.gather(1, first)[:, 0], whole_wide)
    h = torch.where(any_fits, high.gather(1, first)[:, 0], whole_high)
    place = torch.where(any_fits, torch.rand(2, count, device=device), 0.5)
    return torch.stack([place[0] * (height - h), place[1] * (width - w), h, w], dim=1)


def crop(box: Tensor, height: int, width: int, flip: Tensor) -> Tensor:
    """The warp that shows a box (B, 4), mirrored where `flip` (B,) is true: (B, 2, 3)."""
    top, left, h, w = box.unbind(dim=1)
    sign = 1 - 2 * flip.to(box.dtype)
    zero = torch.zeros_like(top)
    return torch.stack([sign * w / width, zero, (2 * left + w) / width - 1,
                        zero, h / height, (2 * top + h) / height - 1], dim=1).view(-1, 2, 3)


def turned(angle: Tensor, scale: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """The warp that turns by `angle` (B,) in radians, enlarges by `scale` (B,) and shifts by `shift` (B, 2), a share of the
    width and of the height: (B, 2, 3)."""
    cos, sin = angle.cos() / scale, angle.sin() / scale
    across, down = -2 * shift.unbind(dim=1)[0], -2 * shift.unbind(dim=1)[1]
    aspect = height / width
    return torch.stack([cos, sin * aspect, cos * across + sin * aspect * down,
                        -sin / aspect, cos, cos * down - sin / aspect * across], dim=1).view(-1, 2, 3)


def warp(pixels: Tensor, theta: Tensor, size: tuple[int, int], beyond: str = "border") -> Tensor:
    """Pixels (B, C, H, W) seen through a warp (B, 2, 3): (B, C, *size), bilinear.

    It does not blur before shrinking: what is to be shrunk to less than half should be read at a smaller size.

    Args:
        beyond: what lies outside of the image: its `border`, `zeros`, or its `reflection`.
    """
    grid = F.affine_grid(theta.to(pixels.dtype), [len(pixels), pixels.shape[1], *size], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
