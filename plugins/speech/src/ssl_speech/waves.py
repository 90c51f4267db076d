"""What a batch is here: mono recordings side by side, padded with zeros, and how long each of them is."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Waves(NamedTuple):
    """Recordings at one rate.

    Args:
        samples: (B, T) float, about +-1; zeros behind the end of each recording.
        lengths: (B,) long, samples of each recording.
        labels: (B,) long, -1 where there is none; for methods that learn from labels, None elsewhere.
    """

    samples: Tensor
    lengths: Tensor
    labels: Tensor | None = None


def collate(recordings: Sequence[Tensor], labels: Sequence[int] | None = None) -> Waves:
    """Recordings (T,) of any lengths as one batch."""
    lengths = torch.tensor([len(r) for r in recordings])
    return Waves(pad_sequence(list(recordings), batch_first=True), lengths, None if labels is None else torch.tensor(labels))


def within(lengths: Tensor, size: int) -> Tensor:
    """True where something stands: (B,) -> (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid frames of each item: (B, L, D), (B, L) -> (B, D)."""
    weight = valid.to(x.dtype)[..., None]
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def centred(x: Tensor, valid: Tensor, eps: float = 1e-7) -> Tensor:
    """Mean 0 and variance 1 over the valid frames of each item and column: (B, L, D), (B, L) -> (B, L, D); 0 elsewhere."""
    weight = valid.to(x.dtype)[..., None]
    x = (x - masked_mean(x, valid)[:, None]) * weight
    return x / (masked_mean(x.square(), valid) + eps).sqrt()[:, None]


def standardised(waves: Waves) -> Tensor:
    """Samples with mean 0 and variance 1 over each recording, (B, T); silence stays silent."""
    return centred(waves.samples[..., None], within(waves.lengths, waves.samples.shape[1]))[..., 0]
