"""Second moments without the D x D matrix where the batch is the smaller side, and the nuclear norm without an SVD."""
from __future__ import annotations

from typing import Any

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


def nuclear_norm(rows: Tensor) -> Tensor:
    """Sum of the singular values: (N, D) -> (). Its gradient is the polar factor of `rows`.

    Both come from one eigendecomposition of the smaller Gram matrix, in double precision, since squaring halves the
    digits; directions without variance get no gradient.
    """
    return _NuclearNorm.apply(rows)


class _NuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        wide = rows.double() if rows.device.type != "mps" else rows  # which has no double precision
        tall = wide if len(rows) >= rows.shape[1] else wide.T
        squares, vectors = torch.linalg.eigh(tall.T @ tall)
        values = squares.clamp(min=0).sqrt()
        kept = squares > torch.finfo(wide.dtype).eps * len(squares) * squares[-1]
        polar = tall @ (vectors * torch.where(kept, 1 / values, 0.0) @ vectors.T)
        ctx.save_for_backward((polar if tall is wide else polar.T).to(rows.dtype))
        return values.sum().to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]
