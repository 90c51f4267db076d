"""A convolutional encoder that sees some blocks of a volume only, as sparse convolutions would (SparK, arXiv:2301.03580).

After each layer what is hidden is set to zero again, and norms take their statistics over what is visible: the same values
as submanifold convolutions on the visible voxels, at the price of dense ones, and without a sparse library.
"""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Layout, Representation

from .vit import Facts, Normalized, centres
from .volumes import Size, Volumes, blocks


class SparseNorm(nn.Module):
    """Group norm over visible places: (B, C, X, Y, Z) and (B, 1, X, Y, Z) of ones and zeros."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight, self.bias = nn.Parameter(torch.ones(channels, 1, 1, 1)), nn.Parameter(torch.zeros(channels, 1, 1, 1))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        rows = x.float().unflatten(1, (self.groups, -1))  # (B, G, C / G, X, Y, Z)
        weight = seen[:, None].float()
        count = weight.sum(dim=(2, 3, 4, 5), keepdim=True) * rows.shape[2]
        mean = (rows * weight).sum(dim=(2, 3, 4, 5), keepdim=True) / count
        spread = ((rows - mean).square() * weight).sum(dim=(2, 3, 4, 5), keepdim=True) / count
        normal = ((rows - mean) * (spread + 1e-5).rsqrt()).flatten(1, 2)
        return ((normal * self.weight + self.bias) * seen).to(x.dtype)


class Stage(nn.Module):
    """A convolution that may halve the grid, and another, with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        groups = next(n for n in (8, 4, 2, 1) if outputs % n == 0)
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1, self.norm2 = SparseNorm(outputs, groups), SparseNorm(outputs, groups)
        self.short = nn.Conv3d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x) * seen, seen))
        y = self.norm2(self.conv2(y) * seen, seen)
        return F.relu(y + self.short(x) * seen)


class SparseCNN(nn.Module):
    """Stages of convolutions, each half as fine as the one before; blocks of the coarsest grid can be hidden.

    Args:
        channels, image_size, mean, std: of the cubes; from the data.
        width: of the representation: channels of the coarsest map; each finer one has half, 8 at least.
        stages: how many, the first at full resolution; blocks have sides of 2^(stages - 1) voxels.
    """

    axes = 3

    def __init__(self, channels: int, image_size: Size, mean: Facts, std: Facts, width: int = 128, stages: int = 4) -> None:
        super().__init__()
        if stages < 2 or width % 2 ** (stages - 1) or width >> (stages - 1) < 4:
            raise ValueError(f"stages should be 2 or more and width a multiple of {2 ** (stages - 1)}, {4 * 2 ** (stages - 1)} "
                             f"or more, got {stages} and {width}")
        self.patch = 2 ** (stages - 1)
        if any(side % self.patch for side in image_size):
            raise ValueError(f"{stages} stages hide blocks of {self.patch}, which do not divide cubes of {tuple(image_size)} "
                             f"voxels; try fewer encoder.stages, or another data.size")
        self.width, self.input_width, self.normalized = width, channels * self.patch**3, Normalized(mean, std)
        self.maps = tuple(width >> i for i in reversed(range(stages)))
        self.strides = tuple(2**i for i in range(stages))
        inputs = (channels, *self.maps)
        self.stages = nn.ModuleList(Stage(inputs[i], self.maps[i], min(2, i + 1)) for i in range(stages))

    def grid(self, batch: Volumes) -> Size:
        return tuple(side // self.patch for side in batch.voxels.shape[2:])  # type: ignore[return-value]

    def layout(self, batch: Volumes) -> Layout:
        """Tokens are the places of the coarsest map, the last axis fastest."""
        place, items = centres(self.grid(batch), batch.voxels.device), len(batch.voxels)
        owner = torch.arange(items, device=place.device).repeat_interleave(len(place), output_size=items * len(place))
        return Layout(owner, place.repeat(items, 1))

    def inputs(self, batch: Volumes) -> Tensor:
        """The normalised voxels of every block: (T, C * patch^3)."""
        return blocks(self.normalized(batch.voxels), self.patch).flatten(0, 1)

    def pyramid(self, batch: Volumes, keep: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Maps from fine to coarse, (B, C, X', Y', Z'), and which of their places are visible, (B, 1, X', Y', Z')."""
        x, grid = self.normalized(batch.voxels), self.grid(batch)
        coarse = torch.ones(len(x), 1, *grid, device=x.device) if keep is None else keep.view(-1, 1, *grid).to(x.dtype)
        seen = [F.interpolate(coarse, scale_factor=self.patch // stride) for stride in self.strides]
        x, found = x * seen[0], []
        for stage, visible in zip(self.stages, seen, strict=True):
            x = stage(x, visible)
            found.append((x, visible))
        return found

    def features(self, batch: Volumes) -> list[Tensor]:
        """Maps of the whole volume, fine to coarse."""
        return [x for x, _ in self.pyramid(batch)]

    def forward(self, batch: Volumes, keep: Tensor | None = None) -> Representation:
        x, seen = self.pyramid(batch, keep)[-1]
        rows = x.flatten(2).transpose(1, 2)  # (B, L, D)
        pooled: Any = (x * seen).sum(dim=(2, 3, 4)) / seen.sum(dim=(2, 3, 4))
        return Representation(pooled, rows.flatten(0, 1) if keep is None else rows.flatten(0, 1)[keep])
