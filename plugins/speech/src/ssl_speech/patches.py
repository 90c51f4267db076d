"""Patches of a log-mel spectrogram as tokens, for attention (SSAST, arXiv:2110.09784) or Mamba (SSAMBA, arXiv:2405.11831)."""
from __future__ import annotations

from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Layout

from .encoders import FrameEncoder, Frames
from .frontend import LogMel
from .mamba import MambaBlock
from .transformer import Block, Transformer
from .waves import Waves, centred, within


class PatchPositions(nn.Module):
    """A learned vector for each row of patches, waves for the column, so that recordings may be of any length.

    Args:
        rows: patches on top of each other.
        width: of the tokens.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.02 * torch.randn(rows, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (L, D)."""
        count, width = self.rows.shape
        token = torch.arange(x.shape[1], device=x.device)
        speed = torch.exp(torch.arange(width // 2, device=x.device) * (-log(10_000) / (width // 2)))
        angle = (token // count)[:, None] * speed
        return (self.rows[token % count] + F.pad(torch.cat([angle.sin(), angle.cos()], dim=1), (0, width % 2))).to(x.dtype)


class Patches(FrameEncoder):
    """Non-overlapping patches of the spectrogram, column after column, each of them from low to high bins.

    The paper's: 128 bins, patches of (16, 16), width 768, depth 12 (24 for Mamba); here without its class token.

    Args:
        rate: samples per second, from the data.
        bins: of the mel scale, a multiple of the height of a patch.
        hop: seconds between two frames; each covers 25 ms.
        patch: frames and bins of a patch.
        blocks: `attention`, or `mamba` in both directions.
        width, depth: of the tokens; blocks.
        heads: of the attention.
        state: of Mamba, for each inner column.
        dropout: while training.
    """

    axes = 2

    def __init__(self, rate: int, bins: int = 64, hop: float = 0.01, patch: tuple[int, int] = (8, 16),
                 blocks: Literal["attention", "mamba"] = "attention", width: int = 96, depth: int = 3, heads: int = 4,
                 state: int = 8, dropout: float = 0.0) -> None:
        if min(*patch, bins) < 1 or hop <= 0 or bins % patch[1]:
            raise ValueError(f"bins should be a multiple of the height of a patch, got {bins=}, {patch=}, {hop=}")
        parts = [Block(width, heads, 4 * width, dropout, True) if blocks == "attention" else MambaBlock(width, state)
                 for _ in range(depth)]
        body = Transformer(patch[0] * patch[1], width, depth, heads, 4 * width, 1, 1, dropout, pre_norm=True, blocks=parts,
                           positions=PatchPositions(bins // patch[1], width), norm=False)
        super().__init__(width, patch[0] * patch[1], round(rate * hop) * patch[0], body)
        self.rate, self.patch, self.rows = rate, patch, bins // patch[1]
        self.mel = LogMel(rate, bins, step=round(rate * hop))

    def columns(self, lengths: Tensor) -> Tensor:
        """Patches side by side, the last filled up with the mean: (B,) -> (B,)."""
        return (self.mel.counts(lengths) + self.patch[0] - 1).div(self.patch[0], rounding_mode="floor")

    def counts(self, lengths: Tensor) -> Tensor:
        return self.columns(lengths) * self.rows

    def layout(self, waves: Waves) -> Layout:
        """Tokens are patches, placed by time and by frequency."""
        counts = self.counts(waves.lengths)
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        token = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
        column, row = token.div(self.rows, rounding_mode="floor"), token % self.rows
        return Layout(owner, torch.stack([(column + 0.5) * self.rows / counts[owner], (row + 0.5) / self.rows], dim=1))

    @torch.no_grad()
    def local(self, waves: Waves) -> Frames:
        """Patches (B, L, frames * bins) with mean 0 and deviation 0.5 over each recording, as in SSAST."""
        x, valid = self.mel(waves)
        flat = centred(x.flatten(1)[..., None], valid.repeat_interleave(x.shape[2], dim=1))
        x, (frames, bins) = flat.view_as(x) / 2, self.patch
        x = F.pad(x, (0, 0, 0, -x.shape[1] % frames)).unflatten(1, (-1, frames)).unflatten(3, (self.rows, bins))
        x = x.transpose(2, 3).flatten(3).flatten(1, 2)  # (B, columns * rows, frames * bins)
        return Frames(x, within(self.counts(waves.lengths), x.shape[1]))
