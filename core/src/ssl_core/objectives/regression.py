"""Predict the aligned row, which is held still: the objectives of BYOL, SimSiam, I-JEPA, data2vec, MAE."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .bounds import at_least


class Cosine(nn.Module):
    """2 - 2 cos(a, b): the squared distance of unit rows (BYOL, arXiv:2006.07733, equation 2)."""

    gathers = True

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Predictions (N, D), targets (N, D) -> ()."""
        return 2 - 2 * F.cosine_similarity(a, b.detach(), dim=1).mean()


class SmoothL1(nn.Module):
    """Huber-like distance (I-JEPA, arXiv:2301.08243; data2vec, arXiv:2202.03555).

    Args:
        beta: where it turns from square to linear; 0: linear all the way.
    """

    gathers = True

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        at_least(0, beta=beta)
        self.beta = beta

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Predictions (N, D), targets (N, D) -> ()."""
        return F.smooth_l1_loss(a, b.detach(), beta=self.beta)


class MSE(nn.Module):
    """Mean squared error (MAE, arXiv:2111.06377)."""

    gathers = True

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Predictions (N, D), targets (N, D) -> ()."""
        return F.mse_loss(a, b.detach())
