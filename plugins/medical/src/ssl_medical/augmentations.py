"""Views of volumes, drawn on the whole batch on its device, a different one for every volume. The batch stays as it was."""
from __future__ import annotations

from math import radians

import torch
import torch.nn.functional as F
from torch import Tensor

from . import warp
from .volumes import Volumes, unit
from .warp import Pair, uniform

Triple = tuple[float, float, float]


def shares(**given: float) -> None:
    """Raise a ValueError unless all are probabilities."""
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} should lie between 0 and 1, got {share}")


def ordered(**spans: Pair) -> None:
    """Raise a ValueError unless every span is of two positive ends, the smaller first."""
    for name, (low, high) in spans.items():
        if not 0 < low <= high:
            raise ValueError(f"{name} should be two positive numbers, the smaller first, got {low}, {high}")


def some(count: int, share: float, device: torch.device) -> Tensor:
    """Which of the items something is done to: (count, 1, 1, 1, 1) bool."""
    return torch.rand(count, 1, 1, 1, 1, device=device) < share


class Views:
    """Views that are flipped, turned, scaled, shifted, bent, and changed in brightness, sharpness and noise.

    Args:
        views: how many.
        flip: probability of a flip along R, A and S; where the side of the body matters, the first should be 0.
        angle: largest turn about R, A and S, in degrees; one number for all three.
        scale: smallest and largest enlargement.
        shift: largest shift, as a share of the sides.
        bend: largest displacement of an elastic deformation, as a share of half a side; 0 for none.
        points: control points of the deformation along each axis.
        gamma: smallest and largest exponent of the brightness.
        contrast: largest relative change of contrast and of brightness.
        noise: largest standard deviation of what is added to each voxel.
        blur: probability of a Gaussian blur.
        sigma: of the blur, in voxels.
        cut: probability that a box is blanked.
        cut_side: smallest and largest side of that box, as a share.
    """

    def __init__(self, views: int = 2, flip: Triple = (0.5, 0.5, 0.5), angle: float | Triple = 15.0,
                 scale: Pair = (0.9, 1.4), shift: float = 0.05, bend: float = 0.0, points: int = 4,
                 gamma: Pair = (0.7, 1.5), contrast: float = 0.2, noise: float = 0.05, blur: float = 0.2,
                 sigma: Pair = (0.5, 1.0), cut: float = 0.0, cut_side: Pair = (0.1, 0.3)) -> None:
        if views < 1 or points < 2:
            raise ValueError(f"views should be 1 or more and points 2 or more, got {views} and {points}")
        shares(shift=shift, contrast=contrast, blur=blur, cut=cut, flip=max(flip))
        ordered(scale=scale, gamma=gamma, sigma=sigma, cut_side=cut_side)
        turns = (angle,) * 3 if isinstance(angle, (int, float)) else tuple(angle)
        self.views, self.flip, self.scale, self.shift = views, flip, scale, shift
        self.angle = tuple(radians(turn) for turn in turns)
        self.bend, self.points, self.gamma, self.contrast, self.noise = bend, points, gamma, contrast, noise
        self.blur, self.sigma, self.cut, self.cut_side = blur, sigma, cut, cut_side

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        x = unit(batch.voxels)
        return tuple(Volumes(self.toned(self.moved(x)), batch.labels) for _ in range(self.views))

    def moved(self, x: Tensor) -> Tensor:
        """Geometry, in one pass."""
        count, shape, device = len(x), x.shape[2:], x.device
        zoom = uniform((count, 1, 1), self.scale, device)
        sign = 1 - 2 * (torch.rand(count, 1, 3, device=device) < torch.tensor(self.flip, device=device)).float()
        turns = uniform((count, 3), (-1.0, 1.0), device) * torch.tensor(self.angle, device=device)
        matrix = warp.rotations(turns) / zoom * sign
        places = warp.grid(matrix, uniform((count, 3), (-2 * self.shift, 2 * self.shift), device), shape, shape)
        if self.bend:
            places = places + warp.bend(count, self.points, self.bend, shape, device)
        return warp.look(x, places)

    def toned(self, x: Tensor) -> Tensor:
        """Brightness, sharpness, noise, a blank box."""
        count, each, device = len(x), (len(x), 1, 1, 1, 1), x.device
        x = x.clamp(1e-6, 1) ** uniform(each, self.gamma, device)
        mean = x.mean(dim=(1, 2, 3, 4), keepdim=True)
        x = mean * uniform(each, (1 - self.contrast, 1 + self.contrast), device) + \
            (x - mean) * uniform(each, (1 - self.contrast, 1 + self.contrast), device)
        if self.blur:
            x = torch.where(some(count, self.blur, device), blurred(x, uniform((count,), self.sigma, device)), x)
        if self.noise:
            x = x + torch.randn_like(x) * uniform(each, (0.0, self.noise), device)
        if self.cut:
            x = x.masked_fill(box(count, x.shape[2:], self.cut_side, device) & some(count, self.cut, device), 0.0)
        return x.clamp(0, 1)


def box(count: int, shape: tuple[int, int, int], side: Pair, device: torch.device) -> Tensor:
    """One random box per item, its sides shares of the volume's: (count, 1, *shape) bool."""
    length = torch.tensor(shape, device=device)
    wide = (uniform((count, 1, 3), side, device) * length).long().clamp(min=1)
    start = (torch.rand(count, 1, 3, device=device) * (length - wide + 1)).long()
    return warp.boxes(start, wide, shape)


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Each volume (B, C, X, Y, Z) with a Gaussian of its own deviation, (B,) voxels; beyond the edge, its nearest."""
    count, channels = x.shape[:2]
    reach = 2  # the deviations are about a voxel
    place = torch.arange(-reach, reach + 1, device=x.device)
    kernel = (-(place / sigma[:, None]) ** 2 / 2).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # (B * C, 5)
    x = x.reshape(1, count * channels, *x.shape[2:])
    for axis in range(3):
        shape, pads = [1, 1, 1], [0] * 6
        shape[axis] = 2 * reach + 1
        pads[4 - 2 * axis] = pads[5 - 2 * axis] = reach
        x = F.conv3d(F.pad(x, pads, mode="replicate"), kernel.view(-1, 1, *shape), groups=count * channels)
    return x.view(count, channels, *x.shape[2:])


class Pairs:
    """Two views: of each volume, and of the next one of the batch, cut at the same place of another body (`data.paired`).

    Args:
        flip, angle, scale, shift, gamma, contrast, noise, blur: see `Views`.
    """

    def __init__(self, flip: Triple = (0.0, 0.0, 0.0), angle: float = 10.0, scale: Pair = (0.9, 1.1), shift: float = 0.02,
                 gamma: Pair = (0.7, 1.5), contrast: float = 0.2, noise: float = 0.05, blur: float = 0.2) -> None:
        self.look = Views(1, flip, angle, scale, shift, gamma=gamma, contrast=contrast, noise=noise, blur=blur)

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        other = torch.arange(len(batch.voxels), device=batch.voxels.device) ^ 1
        other = torch.where(other < len(other), other, other - 1)  # the last of an odd batch is paired with itself
        return (*self.look(batch), *self.look(Volumes(batch.voxels[other])))


class HideBlocks:
    """One view with blocks of voxels blanked; `clean` is the volume, `mark` where it is hidden (SimMIM, arXiv:2111.09886).

    Args:
        mean: of each channel, which blanked voxels get; from the data.
        patch: side of a block in voxels; where it does not divide a side, the last blocks are smaller.
        ratio: share of the blocks to hide.
        flip: probability of a flip along R, A and S, of the volume as a whole.
    """

    def __init__(self, mean: tuple[float, ...], patch: int = 8, ratio: float = 0.75, flip: Triple = (0.5, 0.5, 0.5)) -> None:
        if patch < 1 or not 0 < ratio < 1:
            raise ValueError(f"patch should be 1 or more and ratio between 0 and 1, got {patch} and {ratio}")
        self.mean, self.patch, self.ratio, self.flip = tuple(mean), patch, ratio, flip

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        x = flipped(unit(batch.voxels), self.flip)
        hidden = hide(len(x), x.shape[2:], self.patch, self.ratio, x.device)
        blank = torch.tensor(self.mean, device=x.device).view(1, -1, 1, 1, 1)
        return (Volumes(torch.where(hidden, blank, x), batch.labels, x, hidden),)


def hide(count: int, shape: tuple[int, int, int], patch: int, ratio: float, device: torch.device) -> Tensor:
    """As many random blocks of each volume as `ratio` says: (count, 1, *shape) bool."""
    coarse = [-(-side // patch) for side in shape]
    blocks = coarse[0] * coarse[1] * coarse[2]
    least = min(max(1, round(blocks * ratio)), blocks - 1)
    rank = torch.rand(count, blocks, device=device).argsort(dim=1).argsort(dim=1)
    grid = (rank < least).view(count, 1, *coarse)
    for axis, side in enumerate(shape):
        grid = grid.repeat_interleave(patch, dim=axis + 2).narrow(axis + 2, 0, side)
    return grid


def flipped(x: Tensor, share: Triple) -> Tensor:
    """Each volume mirrored along each axis with these probabilities."""
    for axis, probability in enumerate(share):
        if probability:
            x = torch.where(some(len(x), probability, x.device), x.flip(axis + 2), x)
    return x
