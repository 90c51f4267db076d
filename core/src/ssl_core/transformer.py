"""Transformer blocks over tokens some of which were dropped before they got here, for encoders of masked methods."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contracts import Representation


class Block(nn.Module):
    """Attention and perceptron, each normalised before and added: (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def projections(self, x: Tensor) -> Tensor:
        """Queries, keys and values of every head: (B, L, D) -> (3, B, heads, L, D / heads)."""
        return self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """`seen`, bool: what may be attended to, (B, 1, 1, L) or as (B, heads, L, L) needs it; None for all."""
        b, length, width = x.shape
        q, k, v = self.projections(x)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)  # (B, heads, L, D / heads)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, length, width))
        return x + self.mlp(self.norm2(x))


def encoded(blocks: Iterable[Any], leave: nn.Module, x: Tensor, valid: Tensor | None) -> Representation:
    """Tokens (B, L, D) through the blocks and a last norm; the mean of those that are `valid`, (B, L) bool or None for all."""
    seen = None if valid is None else valid[:, None, None, :]
    for block in blocks:
        x = block(x, seen)
    x = leave(x)
    if valid is None:
        return Representation(x.mean(dim=1), x.flatten(0, 1))
    share = valid / valid.sum(dim=1, keepdim=True)
    return Representation((x * share[:, :, None].to(x.dtype)).sum(dim=1), x[valid])


def kept(keep: Tensor) -> tuple[Tensor, Tensor | None]:
    """The columns that are True in each row of (B, L), in order: (B, K), and which of them count.

    None for the second where every row has as many, which is the fast path: no mask is needed.
    """
    count = keep.sum(dim=1)
    fewest, most = torch.stack([count.min(), count.max()]).tolist()
    chosen = (~keep).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    return chosen, None if fewest == most else torch.arange(most, device=keep.device) < count[:, None]
