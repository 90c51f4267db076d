"""Barlow Twins: make the cross-correlation of two views the identity (arXiv:2103.03230)."""
from __future__ import annotations

from torch import Tensor, nn

from ..distributed import gather
from .moments import off_diagonal
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
        self.redundancy, self.scale = redundancy, scale

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> (); N of at least 2."""
        need(a, 2, "Barlow Twins")
        a, b = standardised(gather(a)), standardised(gather(b))
        agree = (1 - (a * b).mean(dim=0)).square().sum()
        return self.scale * (agree + self.redundancy * off_diagonal(a, b))


def standardised(rows: Tensor, eps: float = 1e-5) -> Tensor:
    """Every column with mean 0 and variance 1 over the batch; the variance is divided by N."""
    centred = rows - rows.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + eps).sqrt()
