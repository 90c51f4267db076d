"""Transformer layers on scaled_dot_product_attention, with an optional mask of who may look at whom."""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["post", "pre"]
Pick = Callable[[Tensor], Tensor]  # (B, L, D) -> (B, M, D), some of the tokens


class Block(nn.Module):
    """Self-attention and a feed-forward layer of ReLU, normalised after (as in arXiv:1706.03762) or before each.

    Args:
        width, heads, hidden: of tokens, number of heads, of the feed-forward layer.
        dropout: of both branches and of attention.
        norm: `post` or `pre`.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0, norm: Norm = "post") -> None:
        super().__init__()
        self.heads, self.dropout, self.pre = heads, dropout, norm == "pre"
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
                                  nn.Linear(hidden, width))
        self.norms, self.drop = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)]), nn.Dropout(dropout)

    def attend(self, x: Tensor, mask: Tensor | None, pick: Pick | None) -> Tensor:
        """(B, L, D) -> (B, M, D)."""
        if pick is None:
            q, k, v = self.split(self.qkv(x))
        else:
            width = x.shape[2]
            (q,) = self.split(F.linear(pick(x), self.qkv.weight[:width], self.qkv.bias[:width]))
            k, v = self.split(F.linear(x, self.qkv.weight[width:], self.qkv.bias[width:]))
            mask = None if mask is None else pick(mask[None])[0]  # two axes: with three, attention takes its slow way
        seen = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.out(seen.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> list[Tensor]:
        """(B, L, n D) -> n times (B, heads, L, D / heads)."""
        parts = x.view(*x.shape[:2], -1, self.heads, self.out.in_features // self.heads).unbind(2)
        return [part.transpose(1, 2) for part in parts]

    def forward(self, x: Tensor, mask: Tensor | None = None, pick: Pick | None = None) -> Tensor:
        """Tokens (B, L, D) -> (B, L, D), or (B, M, D) where only those that `pick` takes are wanted.

        Args:
            mask: (L, L) bool, or what broadcasts to (B, heads, L, L): True where a row may look at a column.
            pick: the others are looked at, but no work is done for what would become of them.
        """
        first, second = self.norms
        asked = x if pick is None else pick(x)
        if self.pre:
            x = asked + self.drop(self.attend(first(x), mask, pick))
            return x + self.drop(self.feed(second(x)))
        x = first(asked + self.drop(self.attend(x, mask, pick)))
        return second(x + self.drop(self.feed(x)))


class Body(nn.Module):
    """Blocks, then dropout, norm, a linear layer, dropout and a norm: T-JEPA's encoder and the inside of its predictor.

    Args:
        width, heads, hidden, depth, dropout, norm: see `Block`.
    """

    def __init__(self, width: int, heads: int, hidden: int, depth: int, dropout: float, norm: Norm = "post") -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width should be a multiple of heads={heads}, got {width}")
        if depth < 1:
            raise ValueError(f"depth should be 1 or more, got {depth}")
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout, norm) for _ in range(depth))
        self.leave = nn.Sequential(nn.Dropout(dropout), nn.LayerNorm(width), nn.Linear(width, width), nn.Dropout(dropout),
                                   nn.LayerNorm(width))

    def forward(self, x: Tensor, mask: Tensor | None = None, pick: Pick | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D), or (B, M, D): of the tokens that `pick` takes (see `Block`)."""
        *before, last = self.blocks
        for block in before:
            x = block(x, mask)
        return self.leave(last(x, mask, pick))


def truncated(module: nn.Module, std: float = 0.02) -> None:
    """Linear weights from a normal of that deviation, cut at two of them; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
