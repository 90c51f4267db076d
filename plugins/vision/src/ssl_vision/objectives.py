"""Objectives whose second rows are what the first ones should say: distributions, or marks from 0 to 1."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SoftCrossEntropy(nn.Module):
    """Cross entropy of logits with distributions (OBoW, arXiv:2012.11552, equation 5).

    Args:
        temperature: of the softmax over the logits.
    """

    gathers = True

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature should be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (N, K), distributions (N, K) -> ()."""
        return -(b.detach() * F.log_softmax(a / self.temperature, dim=1)).sum(dim=1).mean()


class BinaryCrossEntropy(nn.Module):
    """Cross entropy of every entry, a logit, with a mark from 0 to 1."""

    gathers = True

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (N, D), marks (N, D) -> ()."""
        return F.binary_cross_entropy_with_logits(a, b.detach())
