"""Objectives that the methods of this plugin add to the core's; like those they see aligned rows only, so they serve any
domain (`objective=graph/cca`)."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.objectives.barlow_twins import standardised
from ssl_core.objectives.moments import off_diagonal


class BCE(nn.Module):
    """Binary cross-entropy of scores before the sigmoid, so that large ones neither saturate nor overflow."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Scores (N, D), targets (N, D) in [0, 1] -> ()."""
        return F.binary_cross_entropy_with_logits(a, b.detach())


class CCA(nn.Module):
    """Aligned rows alike, columns uncorrelated within each view (CCA-SSG, arXiv:2106.12484).

    With Z the standardised rows over the root of N, the loss is |Z1 - Z2|^2 / 2 + w (|Z1'Z1 - I|^2 + |Z2'Z2 - I|^2).
    Rows of any scale give the same loss: a constant added to small variances would reward shrinking rows to nothing.

    Args:
        decorrelation: weight of the second term (lambda).
    """

    def __init__(self, decorrelation: float = 1e-3) -> None:
        super().__init__()
        self.decorrelation = decorrelation

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        a, b = standardised(a, 1e-12), standardised(b, 1e-12)
        return (a - b).square().sum() / (2 * len(a)) + self.decorrelation * (self.apart(a) + self.apart(b))

    @staticmethod
    def apart(rows: Tensor) -> Tensor:
        """|Z'Z - I|^2: off the diagonal nothing, on it 1 unless the column is dead."""
        return off_diagonal(rows, rows) + (1 - rows.square().mean(dim=0)).square().sum()


class ScaledCosine(nn.Module):
    """(1 - cos(guess, target))^power, which fades for rows that are nearly right (GraphMAE, arXiv:2205.10803).

    Rows whose target is zero have no direction; they are left out.

    Args:
        power: the exponent (alpha), 1 or more.
    """

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        if power < 1:
            raise ValueError(f"power should be at least 1, got {power}")
        self.power = power

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Guesses (N, D), targets (N, D) -> ()."""
        b = b.detach()
        some = (b != 0).any(dim=1).to(a.dtype)
        error = (1 - F.cosine_similarity(a, b, dim=1)).clamp(min=0)  # rounding may put the cosine above 1
        return (error.pow(self.power) * some).sum() / some.sum().clamp(min=1)
