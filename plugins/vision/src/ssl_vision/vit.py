"""A vision transformer whose tokens can be dropped before it runs, for masked methods (arXiv:2010.11929, 2111.06377)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_core import Layout, Representation
from ssl_core.transformer import Block, encoded, kept

from .encoders import Facts, Normalized, fitting_patch
from .images import Images


def centres(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Centres of a grid of patches in [0, 1], row after row: (height * width, 2)."""
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    return torch.stack([y.repeat_interleave(width), x.repeat(height)], dim=1)


def sincos(position: Tensor, width: int) -> Tensor:
    """Sines and cosines of positions, a quarter of the width each, for rows and for columns: (L, 2) -> (L, width)."""
    rate = 10000.0 ** -(torch.arange(width // 4, device=position.device) / (width // 4))
    angle = position[:, :, None] * rate  # (L, 2, width / 4)
    return torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1)


class ViT(nn.Module):
    """Patches, fixed two-dimensional sine-cosine positions, transformer blocks, mean of the tokens.

    Positions are scaled to the grid of the data, so smaller crops may be given too.

    Args:
        channels, image_size, mean, std: of the images; from the data.
        patch: side of a patch; 0: about 8 a side, 16 at most.
        width: of a token; a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: of attention.
    """

    axes = 2
    grid: Tensor  # rows and columns of patches of the data's own images

    def __init__(self, channels: int, image_size: tuple[int, int], mean: Facts, std: Facts, patch: int = 0, width: int = 192,
                 depth: int = 6, heads: int = 3) -> None:
        super().__init__()
        if width % 4 or width % heads:
            raise ValueError(f"width should be a multiple of 4 and of heads={heads}, got {width}")
        self.patch = fitting_patch(tuple(image_size), patch)
        self.width, self.input_width = width, channels * self.patch**2
        self.register_buffer("grid", torch.tensor([side / self.patch for side in image_size]), persistent=False)
        self.normalized, self.enter = Normalized(mean, std), nn.Linear(self.input_width, width)
        self.blocks, self.leave = nn.ModuleList(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def shape(self, images: Images) -> tuple[int, int, int]:
        """Items, and rows and columns of patches."""
        b, _, h, w = images.pixels.shape
        if h % self.patch or w % self.patch:
            raise ValueError(f"patches of {self.patch} do not divide images of {h} x {w}")
        return b, h // self.patch, w // self.patch

    def layout(self, images: Images) -> Layout:
        """Tokens are patches, row after row."""
        b, h, w = self.shape(images)
        device = images.pixels.device
        owner = torch.arange(b, device=device).repeat_interleave(h * w, output_size=b * h * w)
        return Layout(owner, centres(h, w, device).repeat(b, 1))

    def inputs(self, images: Images) -> Tensor:
        """The normalised pixels of every patch, channel after channel: (T, C * patch * patch)."""
        return self.patches(images).flatten(0, 1)

    def patches(self, images: Images) -> Tensor:
        b, h, w = self.shape(images)
        x = self.normalized(images.pixels).view(b, -1, h, self.patch, w, self.patch)
        return x.permute(0, 2, 4, 1, 3, 5).reshape(b, h * w, self.input_width)

    def forward(self, images: Images, keep: Tensor | None = None) -> Representation:
        b, h, w = self.shape(images)
        x = self.patches(images)
        place = sincos(centres(h, w, x.device) * self.grid - 0.5, self.width).to(x.dtype)  # (L, D)
        if keep is None:
            return encoded(self.blocks, self.leave, self.enter(x) + place, None)
        chosen, valid = kept(keep.view(b, h * w))
        x = x.gather(1, chosen[:, :, None].expand(-1, -1, x.shape[2]))  # what is hidden is not even projected
        return encoded(self.blocks, self.leave, self.enter(x) + place[chosen], valid)
