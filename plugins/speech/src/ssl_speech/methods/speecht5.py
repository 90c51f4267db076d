"""SpeechT5, its part for speech: name clusters behind a mask, and speak the recording from what was understood
(Ao et al., 2022, arXiv:2110.07205)."""
from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..frontend import LogMel
from ..quantizer import ProductQuantizer
from ..waves import centred
from .hubert import HuBERT


class Decoder(nn.Module):
    """Log-mel frames, each from those before it and from states of the encoder (sections 2.2 and 3.1).

    Args:
        bins: of the frames.
        width, heads, depth: of the transformer.
        dropout: of the net in front, also while scoring in the paper; here while training.
    """

    def __init__(self, bins: int, width: int, heads: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(bins, width), nn.ReLU(), nn.Dropout(dropout),
                                   nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body, self.width = nn.TransformerDecoder(layer, depth, nn.LayerNorm(width)), width
        self.leave, self.stop = nn.Linear(width, bins), nn.Linear(width, 1)
        sizes = [bins, width, width, width, width, bins]
        self.polish = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, frames: Tensor, there: Tensor, memory: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (B, M, bins) that exist (B, M), states (B, L, D) that exist (B, L) -> guesses before and after the last
        convolutions, both (B, M, bins), and logits of being the last frame (B, M)."""
        before = F.pad(frames, (0, 0, 1, -1))  # each frame is guessed from the one before it
        x = self.enter(before) + waves_of(before.shape[1], self.width, frames)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        x = self.body(x, memory, future, tgt_key_padding_mask=~there, memory_key_padding_mask=~valid)
        rough = self.leave(x)
        fine, shown = rough.transpose(1, 2), there[:, None].to(rough.dtype)
        for i, conv in enumerate(self.polish):
            fine = conv((fine.tanh() if i else fine) * shown)
        return rough, rough + fine.transpose(1, 2), self.stop(x)[..., 0]


def waves_of(length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal positions, (length, width)."""
    speed = torch.exp(torch.arange(width // 2, device=like.device) * (-log(10_000) / (width // 2)))
    angle = torch.arange(length, device=like.device)[:, None] * speed
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=1), (0, width % 2)).to(like.dtype)


class SpeechT5(Method):
    """HuBERT's task, reconstruction by a decoder, and codes that replace some states on the way to it (section 2.3).

    Left out: text, and the vector of the speaker, which comes from a model trained with labels.

    Args:
        rate: samples per second, from the data.
        clusters: of HuBERT's task (the paper: 500).
        bins: of the frames to speak, one every 10 ms (80).
        depth, heads: of the decoder (6, 12).
        groups, entries: of the codebook (2, 100).
        replaced: share of the states that codes replace, drawn for each recording by itself.
        diversity: weight of the use of all entries.
        penalty: weight of the mean square of the front end's output (10 in the paper; small encoders learn nothing with it).
        dropout: of the net in front of the decoder.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, rate: int, clusters: int = 50, bins: int = 40,
                 depth: int = 2, heads: int = 4, groups: int = 2, entries: int = 32, replaced: float = 0.1,
                 diversity: float = 0.1, penalty: float = 0.0, dropout: float = 0.5) -> None:
        super().__init__(encoder, augmentation, objective)
        if not 0 <= replaced <= 1:
            raise ValueError(f"replaced is a share, between 0 and 1, got {replaced}")
        self.hubert = HuBERT(encoder, augmentation, objective, rate, clusters, penalty=penalty)
        self.quantizer = ProductQuantizer(encoder.width, groups, entries, encoder.width)
        self.mel, self.decoder = LogMel(rate, bins, step=rate // 100), Decoder(bins, encoder.width, heads, depth, dropout)
        self.replaced, self.diversity = replaced, diversity

    def step(self, batch: Any) -> dict[str, Tensor]:
        named = self.hubert.named(batch)
        codes = self.quantizer(named.context[named.valid])
        with torch.no_grad():
            frames, there = self.mel(batch)
            frames = centred(frames, there)
        rough, fine, stop = self.decoder(frames, there, self.mixed(named.context, named.valid, codes.rows), named.valid)
        spoken = sum((F.l1_loss(guess[there].float(), frames[there]) for guess in (rough, fine)), frames.new_zeros(()))
        end = last(there)
        ended = F.binary_cross_entropy_with_logits(stop[there].float(), end[there].float(), pos_weight=frames.new_tensor(5.0))
        loss = named.loss + spoken + ended + self.diversity * codes.diversity
        return {"loss": loss, "naming": named.loss, "spoken": spoken, "ended": ended, "perplexity": codes.perplexity,
                **named.found}

    def mixed(self, states: Tensor, valid: Tensor, rows: Tensor) -> Tensor:
        """States (B, L, D), some of which give way to their code, rows (T, D) of the valid ones."""
        chosen = torch.rand(valid.shape, device=valid.device) < self.replaced
        coded = torch.zeros_like(states).masked_scatter(valid[..., None], rows.to(states.dtype))
        return torch.where((chosen & valid)[..., None], coded, states)

    def prepare(self, batches: Iterable[Any]) -> None:
        self.hubert.prepare(batches)


def last(there: Tensor) -> Tensor:
    """True at the last frame of each recording: (B, M) -> (B, M)."""
    return there & ~F.pad(there, (0, 1))[:, 1:]
