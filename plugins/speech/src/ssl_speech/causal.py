"""An encoder that never sees the future: convolutions over samples, then over frames (wav2vec, arXiv:1904.05862).

Published models normalise over all of a recording's time; here each frame is normalised by itself, which keeps the future out.
"""
from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Representation
from ssl_core.modules import pad, scatter_mean

from .encoders import ConvLayer, FrameEncoder, Frames
from .quantizer import Nearest, ProductQuantizer, Quantised
from .waves import Waves, masked_mean, within

KERNELS, STRIDES = (10, 8, 4, 4, 4), (5, 4, 2, 2, 2)


class CausalBlock(nn.Module):
    """A convolution over this frame and those before it, normalised, added."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.conv, self.norm = kernel, nn.Conv1d(width, width, kernel), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        heard = self.conv(F.pad(x.transpose(1, 2), (self.kernel - 1, 0))).transpose(1, 2)
        return 0.5**0.5 * (x + F.relu(self.norm(heard)))


class Aggregator(nn.Module):
    """Local frames -> frames that know what came before."""

    def __init__(self, inputs: int, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        self.project, self.blocks = nn.Linear(inputs, width), nn.ModuleList(CausalBlock(width, kernel) for _ in range(depth))

    def forward(self, local: Tensor, valid: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """States before, between and after the blocks, (B, L, D) each; padding lies in the future, so nothing hears it."""
        states = [self.project(local)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states, states[1:]


class CausalWav2Vec(FrameEncoder):
    """wav2vec's two networks, a frame every 10 ms; with codes in between, vq-wav2vec's (arXiv:1910.05453).

    Args:
        rate: samples per second, from the data; 16,000 for frames of the papers' length.
        channels: of the convolutions over samples (the papers: 512).
        width, depth, kernel: of the convolutions over frames (the small model: 512, 9, 3).
        codes: what the second network hears: the frames themselves (`none`), or their codes by `gumbel` softmax or by the
            nearest entry (`kmeans`).
        groups, entries: of the codebook (2 and 320).
    """

    def __init__(self, rate: int, channels: int = 48, width: int = 96, depth: int = 4, kernel: int = 3,
                 codes: Literal["none", "gumbel", "kmeans"] = "none", groups: int = 2, entries: int = 32) -> None:
        super().__init__(width, channels, 160, Aggregator(channels, width, depth, kernel))  # type: ignore[arg-type]
        self.rate, self.reach = rate, 465
        self.convs = nn.ModuleList(ConvLayer(channels if i else 1, channels, kernel, stride, "layer", True)
                                   for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)))
        self.quantizer = None if codes == "none" else ProductQuantizer(channels, groups, entries, channels) \
            if codes == "gumbel" else Nearest(channels, groups, entries)

    def counts(self, lengths: Tensor) -> Tensor:
        for conv in self.convs:
            lengths = conv.counts(lengths)
        return lengths

    def local(self, waves: Waves) -> Frames:
        samples = waves.samples
        x, lengths = F.pad(samples, (0, max(0, self.reach - samples.shape[1])))[..., None], waves.lengths
        for conv in self.convs:
            lengths = conv.counts(lengths)
            x = conv(x, lengths)
        return Frames(x.abs().log1p(), within(lengths, x.shape[1]))  # the papers' compression of loud frames

    def coded(self, frames: Frames) -> tuple[Frames, Quantised | None]:
        """Frames as the second network hears them, and their codes if there are any."""
        if self.quantizer is None:
            return frames, None
        found = self.quantizer(frames.x[frames.valid])
        return Frames(torch.zeros_like(frames.x).masked_scatter(frames.valid[..., None], found.rows), frames.valid), found

    def forward(self, waves: Waves, keep: Tensor | None = None) -> Representation:
        """Pooled over time; with `keep` (T,) the frames that are kept follow each other as if there were no others."""
        (x, valid), _ = self.coded(self.local(waves))
        if keep is None:
            last = self.body(x, valid)[0][-1]
            return Representation(masked_mean(last, valid), last[valid])
        shown = torch.zeros_like(valid).masked_scatter(valid, keep)
        owner = shown.nonzero()[:, 0]
        sequence, there = pad(x[shown], owner, len(x))
        rows = self.body(sequence, there)[0][-1][there]
        return Representation(scatter_mean(rows, owner, len(x)), rows)
