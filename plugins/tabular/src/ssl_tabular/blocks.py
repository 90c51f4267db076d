"""Transformer layers on scaled_dot_product_attention, with an optional mask of who may look at whom."""
from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["post", "pre"]


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
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.norms, self.drop = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)]), nn.Dropout(dropout)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        shape = x.shape
        q, k, v = self.qkv(x).view(*shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.out(seen.transpose(1, 2).reshape(shape))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, L, D); mask, bool, broadcast to (B, heads, L, L): True where a row may look at a column."""
        first, second = self.norms
        if self.pre:
            x = x + self.drop(self.attend(first(x), mask))
            return x + self.drop(self.feed(second(x)))
        x = first(x + self.drop(self.attend(x, mask)))
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
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout, norm) for _ in range(depth))
        self.leave = nn.Sequential(nn.Dropout(dropout), nn.LayerNorm(width), nn.Linear(width, width), nn.Dropout(dropout),
                                   nn.LayerNorm(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        for block in self.blocks:
            x = block(x, mask)
        return self.leave(x)


def truncated(module: nn.Module, std: float = 0.02) -> None:
    """Linear weights from a normal of that deviation, cut at two of them; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
