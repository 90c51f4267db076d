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


def patches(pixels: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W) as patches, row after row; in each, channel after channel: (B, L, C * side * side)."""
    b, c, h, w = pixels.shape
    x = pixels.reshape(b, c, h // side, side, w // side, side)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def gridded(items: int, height: int, width: int, device: torch.device) -> Layout:
    """The layout of images that fall into such a grid, row after row."""
    length = height * width
    owner = torch.arange(items, device=device).repeat_interleave(length, output_size=items * length)
    return Layout(owner, centres(height, width, device).repeat(items, 1))


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
        self.width, self.blank_width, self.input_width = width, width, channels * self.patch**2
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
        return gridded(*self.shape(images), images.pixels.device)

    def patches(self, images: Images) -> Tensor:
        """The normalised pixels of every patch of every image: (B, L, C * patch * patch)."""
        self.shape(images)
        return patches(self.normalized(images.pixels), self.patch)

    def inputs(self, images: Images) -> Tensor:
        """The same, image after image: (T, C * patch * patch)."""
        return self.patches(images).flatten(0, 1)

    def places(self, images: Images, width: int = 0) -> Tensor:
        """The codes of the positions of the patches, (L, width); 0: the encoder's."""
        _, h, w = self.shape(images)
        return sincos(centres(h, w, self.grid.device) * self.grid - 0.5, width or self.width)

    def forward(self, images: Images, keep: Tensor | None = None, blank: Tensor | None = None) -> Representation:
        """`blank`, (D,): stands for the patches that are hidden, which are then not left out."""
        x, place = self.patches(images), self.places(images)
        if keep is None or blank is not None:
            x = self.enter(x)
            if keep is not None and blank is not None:
                x = torch.where(keep.view(*x.shape[:2], 1), x, blank.to(x.dtype))
            return encoded(self.blocks, self.leave, x + place, None)
        chosen, valid = kept(keep.view(x.shape[:2]))
        x = x.gather(1, chosen[:, :, None].expand(-1, -1, x.shape[2]))  # what is hidden is not even projected
        return encoded(self.blocks, self.leave, self.enter(x) + place[chosen], valid)
