"""A vision transformer over blocks of voxels, which can be dropped before it runs (arXiv:2010.11929, arXiv:2111.06377)."""
from __future__ import annotations

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Layout, Representation
from ssl_core.transformer import Block, encoded, kept

from . import monai_names
from .volumes import Size, Volumes, blocks, unit

Facts = tuple[float, ...]


class Normalized(nn.Module):
    """Bytes or floats from 0 to 1 to voxels of mean 0 and deviation 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Facts, std: Facts) -> None:
        super().__init__()
        for name, item in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(tuple(item)).view(-1, 1, 1, 1), persistent=False)

    def forward(self, voxels: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, C, X, Y, Z), float32."""
        return (unit(voxels) - self.mean) / self.std


def fitting_patch(image_size: Size, patch: int) -> int:
    """The side of a block: as given, or (0) the common divisor of the sides nearest to an eighth of the smallest, from 4 to 16.

    Raises:
        ValueError: it does not divide the cube.
    """
    common = gcd(*image_size)
    sides = [p for p in range(2, common + 1) if common % p == 0] or [1]
    wanted = min(16.0, max(4.0, min(image_size) / 8))
    found = patch or min(sides, key=lambda side: abs(side - wanted))
    if found < 1 or any(side % found for side in image_size):
        raise ValueError(f"patch={found} does not divide cubes of {tuple(image_size)} voxels; choose one of {sides}, or "
                         f"another data.size")
    return found


def centres(grid: Size, device: torch.device | None = None) -> Tensor:
    """Centres of a grid of blocks in [0, 1], the last axis fastest: (L, 3)."""
    axes = [(torch.arange(n, device=device) + 0.5) / n for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)


def sincos(position: Tensor, width: int) -> Tensor:
    """Sines and cosines of positions, a third of the width for each axis, and zeros for what is left: (L, 3) -> (L, width)."""
    rates = width // 6
    rate = 10000.0 ** -(torch.arange(rates, device=position.device) / rates)
    angle = position[:, :, None] * rate  # (L, 3, width / 6)
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1), (0, width - 6 * rates))


class ViT(nn.Module):
    """Blocks of voxels, fixed three-dimensional sine-cosine positions, transformer blocks, mean of the tokens.

    Positions count blocks, so smaller and larger cubes may be given too.

    Args:
        channels, image_size, mean, std: of the cubes; from the data.
        patch: side of a block in voxels; 0: about 8 blocks a side, from 4 to 16 voxels each.
        width: of a token; a multiple of `heads`, 6 or more. (ViT-B: 768.)
        depth: number of transformer blocks. (ViT-B: 12.)
        heads: of attention. (ViT-B: 12.)
    """

    axes = 3

    def __init__(self, channels: int, image_size: Size, mean: Facts, std: Facts, patch: int = 0, width: int = 96,
                 depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        if width % heads or width < 6:
            raise ValueError(f"width should be a multiple of heads={heads}, 6 or more, got {width}")
        self.patch = fitting_patch(tuple(image_size), patch)  # type: ignore[arg-type]
        self.width, self.input_width, self.heads = width, channels * self.patch**3, heads
        self.channels, self.image_size = channels, tuple(image_size)
        self.maps, self.strides = (width,), (self.patch,)
        self.normalized, self.enter = Normalized(mean, std), nn.Linear(self.input_width, width)
        self.blocks, self.leave = nn.ModuleList(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """MONAI's names of the weights of a ViT, or of the one in a UNETR, as ours, for `--init`. Our positions are fixed."""
        return monai_names.vit(state, self.patch)

    def grid(self, batch: Volumes) -> Size:
        """Blocks along each axis. Raises: ValueError, where they do not divide the cube."""
        sides = batch.voxels.shape[2:]
        if any(side % self.patch for side in sides):
            raise ValueError(f"blocks of {self.patch} do not divide cubes of {tuple(sides)} voxels")
        return tuple(side // self.patch for side in sides)  # type: ignore[return-value]

    def layout(self, batch: Volumes) -> Layout:
        """Tokens are blocks, the last axis fastest."""
        place, items = centres(self.grid(batch), batch.voxels.device), len(batch.voxels)
        owner = torch.arange(items, device=place.device).repeat_interleave(len(place), output_size=items * len(place))
        return Layout(owner, place.repeat(items, 1))

    def inputs(self, batch: Volumes) -> Tensor:
        """The normalised voxels of every block, channel after channel: (T, C * patch^3)."""
        return self.cubes(batch).flatten(0, 1)

    def cubes(self, batch: Volumes) -> Tensor:
        """(B, L, C * patch^3)."""
        self.grid(batch)
        return blocks(self.normalized(batch.voxels), self.patch)

    def places(self, batch: Volumes) -> Tensor:
        """Codes of the positions, (L, D)."""
        grid = self.grid(batch)
        counted = centres(grid, batch.voxels.device) * torch.tensor(grid, device=batch.voxels.device) - 0.5
        return sincos(counted, self.width)

    def forward(self, batch: Volumes, keep: Tensor | None = None) -> Representation:
        x, place = self.cubes(batch), self.places(batch)
        if keep is None:
            return encoded(self.blocks, self.leave, self.enter(x) + place, None)
        chosen, valid = kept(keep.view(x.shape[:2]))
        x = x.gather(1, chosen[:, :, None].expand(-1, -1, x.shape[2]))  # what is hidden is not even projected
        return encoded(self.blocks, self.leave, self.enter(x) + place[chosen], valid)

    def features(self, batch: Volumes) -> list[Tensor]:
        """One map of tokens, (B, D, X / patch, Y / patch, Z / patch)."""
        tokens = self(batch).tokens.view(len(batch.voxels), -1, self.width)
        return [tokens.transpose(1, 2).unflatten(2, self.grid(batch))]
