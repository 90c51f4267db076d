"""VICReg: variance, invariance, covariance (arXiv:2105.04906)."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .moments import off_diagonal
from .rows import need


class VICReg(nn.Module):
    """Keep aligned rows together, every column alive, and columns apart, over the batch of all processes.

    Args:
        invariance, variance, covariance: weights of the three terms.
        eps: added to the variance under the root.
    """

    gathers = True

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, eps: float = 1e-4
                 ) -> None:
        super().__init__()
        self.invariance, self.variance, self.covariance, self.eps = invariance, variance, covariance, eps

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> (); N of at least 2."""
        need(a, 2, "VICReg")
        together, (a, b) = F.mse_loss(a, b), (gather(a), gather(b))
        alive = (self.hinge(a) + self.hinge(b)) / 2
        apart = self.overlap(a) + self.overlap(b)
        return self.invariance * together + self.variance * alive + self.covariance * apart

    def hinge(self, rows: Tensor) -> Tensor:
        """How far the standard deviations of the columns fall short of 1."""
        return F.relu(1 - (rows.var(dim=0) + self.eps).sqrt()).mean()

    @staticmethod
    def overlap(rows: Tensor) -> Tensor:
        """Squared covariances between different columns, over D; the covariance is divided by N - 1."""
        centred, (n, d) = rows - rows.mean(dim=0), rows.shape
        return off_diagonal(centred, centred) * (n / (n - 1)) ** 2 / d
