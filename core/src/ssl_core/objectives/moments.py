"""Second moments without the D x D matrix where the batch is the smaller side, and the nuclear norm without an SVD."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def off_diagonal(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the squared off-diagonal entries of a.T @ b / N: (N, D), (N, D) -> ()."""
    diagonal = (a * b).sum(dim=0) / len(a)
    return squares(a, b) / len(a) ** 2 - diagonal.square().sum()


def squares(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Sum of the squared entries of a.T @ b, where b is a if it is not given: (N, D), (N, D) -> ().

    The Gram identity `tr[(a a^T)(b b^T)]` costs 8 N^2 D with its gradient instead of 6 N D^2; of one matrix 4 N^2 D instead
    of 4 N D^2. The cheaper one is taken.
    """
    return _Squares.apply(a, a if b is None else b, b is None)


class _Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, same: bool) -> Tensor:
        n, d = a.shape
        ctx.by_rows, ctx.same = n < d if same else 4 * n < 3 * d, same
        first = a @ a.T if ctx.by_rows else a.T @ b
        second = b @ b.T if ctx.by_rows and not same else first
        ctx.save_for_backward(a, b, first, second)
        return torch.dot(first.flatten(), second.flatten())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, b, first, second = ctx.saved_tensors
        by_a = second @ a if ctx.by_rows else b @ first.T
        if ctx.same:
            return by_a.mul_(4 * grad), None, None
        by_b = first @ b if ctx.by_rows else a @ first
        return by_a.mul_(2 * grad), by_b.mul_(2 * grad), None


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
