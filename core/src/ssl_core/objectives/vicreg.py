"""VICReg: variance, invariance, covariance (arXiv:2105.04906)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .bounds import at_least, positive
from .moments import squares
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
        at_least(0, invariance=invariance, variance=variance, covariance=covariance)
        positive(eps=eps)
        self.invariance, self.variance, self.covariance, self.eps = invariance, variance, covariance, eps

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> (); N of at least 2."""
        need(a, 2, "VICReg")
        together, (a, b) = F.mse_loss(a, b), (gather(a), gather(b))
        (alive, apart), (others, likewise) = self.terms(a), self.terms(b)
        return self.invariance * together + self.variance * (alive + others) / 2 + self.covariance * (apart + likewise)

    def terms(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How far the standard deviations of the columns fall short of 1, and their squared covariances, over D."""
        variance, middle = torch.var_mean(rows, dim=0)
        alive = F.relu(1 - (variance + self.eps).sqrt()).mean()
        whole = squares(rows - middle) / (len(rows) - 1) ** 2  # the variances are its diagonal
        return alive, (whole - variance.square().sum()) / rows.shape[1]
