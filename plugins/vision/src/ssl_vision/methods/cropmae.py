"""CropMAE: rebuild a crop, nearly all of which is hidden, with the help of the crop that it was cut from (arXiv:2403.17823)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.masks import RandomMask

from ..images import Images


class CrossBlock(nn.Module):
    """Attention to the other view, perceptron, attention among themselves; each is added, and normalised afterwards."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.across, self.within = (nn.MultiheadAttention(width, heads, dropout, batch_first=True) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms, self.dropout = nn.ModuleList(nn.LayerNorm(width) for _ in range(3)), nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, L, D), (B, K, D) -> (B, L, D)."""
        first, second, third = self.norms
        x = first(x + self.dropout(self.across(x, other, other, need_weights=False)[0]))
        x = second(x + self.dropout(self.mlp(x)))
        return third(x + self.dropout(self.within(x, x, x, need_weights=False)[0]))


class CropMAE(Method):
    """One encoder sees the first view whole and a few patches of the second, whose other patches are rebuilt.

    Args:
        ratio: share of the second view's patches to hide; one at least stays.
        hidden: width of the decoder; a multiple of 4 and of `heads`.
        depth, heads: of the decoder.
        dropout: in the decoder.
        normalize: normalise the pixels of each patch to rebuild.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, ratio: float = 0.985, hidden: int = 256,
                 depth: int = 4, heads: int = 8, dropout: float = 0.1, normalize: bool = True) -> None:
        if hidden % 4 or hidden % heads:
            raise ValueError(f"hidden should be a multiple of 4 and of heads={heads}, got {hidden}")
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        self.mask, self.enter = RandomMask(ratio), nn.Linear(encoder.width, hidden)
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(hidden), std=0.02))
        self.blocks = nn.ModuleList(CrossBlock(hidden, heads, dropout) for _ in range(depth))
        self.leave, self.normalize = nn.Linear(hidden, encoder.input_width), normalize

    def step(self, batch: Images) -> dict[str, Tensor]:
        whole, partly = self.augmentation(batch)
        hidden = self.mask(self.encoder.layout(partly))  # (T,)
        place = self.encoder.places(partly, len(self.token))  # (L, D)
        seen = self.enter(self.encoder(partly, keep=~hidden).tokens)
        x = self.token.to(seen.dtype).expand(len(hidden), -1).masked_scatter(~hidden[:, None], seen)
        x, other = (rows.view(-1, *place.shape) + place for rows in (x, self.enter(self.encoder(whole).tokens)))
        for block in self.blocks:
            x = block(x, other)
        wanted = self.encoder.inputs(partly)
        wanted = F.layer_norm(wanted, wanted.shape[1:]) if self.normalize else wanted
        return {"loss": self.compare(self.leave(x.flatten(0, 1)[hidden]), wanted[hidden])}
