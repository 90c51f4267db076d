"""Which pseudo-labels to trust: a mixture of two normal distributions over losses (arXiv:2208.01928, section 3)."""
from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor


def mixture(values: Tensor, steps: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and deviations (2,) of two normal distributions, the lower mean first; from values (N,), by EM."""
    low, high = values.quantile(torch.tensor([0.25, 0.75], dtype=values.dtype, device=values.device))
    mean, weight = torch.stack([low, high]), values.new_full((2,), 0.5)
    spread = values.std().clamp(min=1e-3).expand(2).clone()
    for _ in range(steps):
        share = density(values, weight, mean, spread).softmax(dim=1)  # (N, 2)
        total = share.sum(dim=0).clamp(min=1e-6)
        weight, mean = total / len(values), (share * values[:, None]).sum(dim=0) / total
        spread = ((share * (values[:, None] - mean).square()).sum(dim=0) / total).sqrt().clamp(min=1e-3)
    order = mean.argsort()
    return weight[order], mean[order], spread[order]


def density(values: Tensor, weight: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Logarithm of the weighted density of each value under each part, (N, 2)."""
    away = (values[:, None] - mean) / spread
    return weight.clamp(min=1e-6).log() - spread.log() - 0.5 * away.square() - 0.5 * log(2 * pi)


def threshold(values: Tensor, points: int = 512) -> Tensor:
    """Where both parts of the mixture are as likely, between their means, (): what lies below belongs to the lower one."""
    weight, mean, spread = mixture(values)
    place = mean[0] + (mean[1] - mean[0]) * torch.linspace(0, 1, points, dtype=values.dtype, device=values.device)
    low, high = density(place, weight, mean, spread).unbind(dim=1)
    return place[(low - high).abs().argmin()]
