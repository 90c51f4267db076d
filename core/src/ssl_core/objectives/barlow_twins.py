"""Barlow Twins: make the cross-correlation of two views the identity (arXiv:2103.03230)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .bounds import at_least, positive
from .moments import squares
from .rows import need


class BarlowTwins(nn.Module):
    """Equal columns should correlate, different ones should not, over the batch of all processes.

    Args:
        redundancy: weight of the off-diagonal terms (lambda); shrink it as 1 / D for wide projectors.
        scale: factor of the whole loss.
    """

    gathers = True

    def __init__(self, redundancy: float = 5e-3, scale: float = 1.0) -> None:
        super().__init__()
        at_least(0, redundancy=redundancy)
        positive(scale=scale)
        self.redundancy, self.scale = redundancy, scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> (); N of at least 2."""
        need(a, 2, "Barlow Twins")
        a, b = standardised(gather(a)), standardised(gather(b))
        diagonal = (a * b).mean(dim=0)
        apart = squares(a, b) / len(a) ** 2 - diagonal.square().sum()
        return self.scale * ((1 - diagonal).square().sum() + self.redundancy * apart)


def standardised(rows: Tensor, eps: float = 1e-5) -> Tensor:
    """Every column with mean 0 and variance 1 over the batch; the variance is divided by N.

    What is added to a variance is `eps` of the mean square of all entries, so that the scale of the rows does not matter:
    columns of row-normalised counts have variances far below 1e-5.
    """
    size = torch.linalg.vector_norm(rows.detach()) / rows.numel() ** 0.5
    return F.batch_norm(rows / size.clamp(min=1e-10), None, None, training=True, eps=eps)
