"""Conformer blocks over log-mel frames (Gulati et al., 2020, arXiv:2005.08100), as in w2v-BERT (arXiv:2108.06209)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoders import FrameEncoder, Frames
from .frontend import LogMel
from .transformer import Attention, Transformer
from .waves import Waves, centred


class Feed(nn.Module):
    """A feed-forward net, normalised before: (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.SiLU(), nn.Dropout(dropout),
                                 nn.Linear(inner, width), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


class Near(nn.Module):
    """The convolution module (section 2.2): gate, a convolution for each channel, norm, projection.

    The norm is over channels, not over the batch: padding and other recordings stay out of it.
    """

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first, self.enter = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm, self.leave, self.drop = nn.LayerNorm(width), nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = F.glu(self.enter(self.first(x)), dim=2) * valid[..., None]
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.drop(self.leave(F.silu(self.norm(x))))


class ConformerBlock(nn.Module):
    """Half a feed-forward net, attention, convolution, the other half, a norm (section 2.4).

    Args:
        width, heads, inner: of the frames; attention heads; hidden width of the feed-forward nets.
        kernel: frames of the convolution, an odd number.
        dropout: while training.
    """

    def __init__(self, width: int, heads: int, inner: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.before, self.after = Feed(width, inner, dropout), Feed(width, inner, dropout)
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, heads, dropout, False)
        self.near, self.drop, self.last = Near(width, kernel, dropout), nn.Dropout(dropout), nn.LayerNorm(width)

    def forward(self, x: Tensor, valid: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The frames after the block, and the output of its second feed-forward net, both (B, L, D)."""
        x = x + self.before(x) / 2
        x = x + self.drop(self.attention(self.norm(x), valid))
        x = x + self.near(x, valid)
        fed = self.after(x)
        return self.last(x + fed / 2), fed


class Conformer(FrameEncoder):
    """Conformer blocks over log-mel frames, convolutional positions in front. No reduction of time.

    Args:
        rate: samples per second, from the data.
        bins: of the mel scale.
        hop: seconds between two frames; each covers 25 ms.
        width, depth, heads: of the blocks (w2v-BERT XL: 1024, 24, 8); feed-forward nets have four times the width.
        kernel: frames of the convolution in each block, an odd number (31; w2v-BERT: 5).
        dropout, layer_drop: while training.
    """

    def __init__(self, rate: int, bins: int = 48, hop: float = 0.02, width: int = 96, depth: int = 3, heads: int = 4,
                 kernel: int = 15, dropout: float = 0.0, layer_drop: float = 0.0) -> None:
        if hop <= 0 or bins < 1 or kernel % 2 == 0:
            raise ValueError(f"hop and bins should be positive and kernel odd, got {hop=}, {bins=}, {kernel=}")
        blocks = [ConformerBlock(width, heads, 4 * width, kernel, dropout) for _ in range(depth)]
        body = Transformer(bins, width, depth, heads, 4 * width, 16, 4, dropout, layer_drop, blocks=blocks)
        super().__init__(width, bins, round(rate * hop), body)
        self.rate, self.mel = rate, LogMel(rate, bins, step=self.hop)

    def counts(self, lengths: Tensor) -> Tensor:
        return self.mel.counts(lengths)

    @torch.no_grad()
    def local(self, waves: Waves) -> Frames:
        """Frames with mean 0 and deviation 1 over all bins of each recording."""
        x, valid = self.mel(waves)
        flat = centred(x.flatten(1)[..., None], valid.repeat_interleave(x.shape[2], dim=1))
        return Frames(flat.view_as(x), valid)
