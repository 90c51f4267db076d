"""Second moments that need no D x D matrix where the batch is the smaller side."""
from __future__ import annotations

import torch
from torch import Tensor


def off_diagonal(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the squared off-diagonal entries of a.T @ b / N: (N, D), (N, D) -> ().

    Where N < D / 2 the Gram identity `tr[(a a^T)(b b^T)] / N^2` costs 2 N^2 D instead of N D^2.
    """
    n, d = a.shape
    diagonal = (a * b).sum(dim=0) / n
    if 2 * n < d:
        whole = ((a @ a.T) * (b @ b.T)).sum() / n**2
    else:
        whole = torch.mm(a.T, b).div(n).square().sum()
    return whole - diagonal.square().sum()
