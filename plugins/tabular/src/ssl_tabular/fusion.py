"""An encoder of a table row together with its image (TIP, arXiv:2407.07582)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Representation

from .blocks import Block
from .pairs import Pairs, unit
from .rows import MISSING, Rows
from .tokenizer import FeatureTokenizer, uniform


class Picture(nn.Module):
    """Convolutions that halve an image until about 4 x 4 places are left: (B, C, H, W) -> (B, P, width).

    Args:
        channels, image_size: of the images.
        width: of a token.
    """

    def __init__(self, channels: int, image_size: tuple[int, int], width: int) -> None:
        super().__init__()
        halvings = max(1, (min(image_size) // 4).bit_length() - 1)
        widths = [max(16, width >> (halvings - i)) for i in range(halvings)] + [width]
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2 if i else 1, 1, bias=False), nn.GroupNorm(1, outputs), nn.ReLU()]
        self.body, self.leave = nn.Sequential(*layers), nn.Linear(width, width)

    def forward(self, images: Tensor) -> Tensor:
        return self.leave(self.body(unit(images) * 2 - 1).flatten(2).transpose(1, 2))


class Fused(nn.Module):
    """Attention among the tokens of a table, then to those of an image, then a feed-forward layer; all pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """(B, L, D), (B, P, D) -> (B, L, D)."""
        first, second, third = self.norms
        y = first(x)
        x = x + self.own(y, y, y, need_weights=False)[0]
        x = x + self.cross(second(x), image, image, need_weights=False)[0]
        return x + self.feed(third(x))


class ImageTable(nn.Module):
    """Tokens of a row's columns, which skip cells that are missing, and then look at the tokens of its image.

    A missing cell is a learned token of its column that looks at the others but that no other looks at.

    Args:
        numeric, cardinalities, channels, image_size: the columns and the images; from the data.
        width: of a token and of the representation. (The paper: 512.)
        heads: of attention. (The paper: 8.)
        depth: of the transformer over columns, and of the one that joins. (The paper: 4.)
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], channels: int, image_size: tuple[int, int],
                 width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        if width % heads or depth < 1:
            raise ValueError(f"width should be a multiple of heads={heads} and depth 1 or more, got {width} and {depth}")
        self.width, self.numeric = width, numeric
        self.picture = Picture(channels, image_size, width)
        self.tokenizer = FeatureTokenizer(numeric, cardinalities, width)
        self.first, self.joint = uniform(1, width), uniform(1, width)  # the CLS tokens of the table and of both
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, norm="pre") for _ in range(depth))
        self.fused = nn.ModuleList(Fused(width, heads) for _ in range(depth))
        self.leave, self.last = nn.LayerNorm(width), nn.LayerNorm(width)

    def table(self, rows: Rows) -> Tensor:
        """A CLS token and one for each column, (B, 1 + N + C, D)."""
        gone = F.pad(torch.cat([rows.missing, rows.categorical == MISSING], dim=1), (1, 0))  # (B, L); CLS is always there
        itself = torch.eye(gone.shape[1], dtype=torch.bool, device=gone.device)
        seen = (~gone[:, None, :] | itself)[:, None]  # (B, 1, L, L)
        x = torch.cat([self.first.expand(rows.size, -1, -1), self.tokenizer(rows)], dim=1)
        for block in self.blocks:
            x = block(x, seen)
        return self.leave(x)

    def fuse(self, table: Tensor, image: Tensor) -> Tensor:
        """Tokens of `table` and of `picture` -> a CLS token and one for each column, (B, 1 + N + C, D)."""
        x = torch.cat([self.joint.expand(len(table), -1, -1), table[:, 1:]], dim=1)
        for layer in self.fused:
            x = layer(x, image)
        return self.last(x)

    def forward(self, batch: Pairs) -> Representation:
        return Representation(self.fuse(self.table(batch.rows), self.picture(batch.images))[:, 0])
