"""Exact log-sum-exp of a similarity matrix that is never held: N x M logits in O(block x M) memory.

The forward pass keeps only the two vectors of log-sum-exps; the backward pass recomputes each block of rows. A plain
loop over blocks would not save memory, because autograd keeps every block.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

SAFE = 40.0  # |logits| up to this are exponentiated in float32 without a shift: e^40 * 1e6 rows < 3e38
BLOCK = 2**20  # entries of one block; about what stays in a core's cache


def log_sum_exp(a: Tensor, b: Tensor, scale: float, *, bound: float | None = None, columns: bool = False,
                exclude_self: bool = False, exclude: tuple[int, ...] = (), block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of `scale * a @ b.T` over each row and, in the same pass, over each column; exact gradients.

    Args:
        a: (N, D).
        b: (M, D).
        scale: what the inner products are multiplied with; 1 / temperature.
        bound: an upper bound of |logits| if one is known (`scale` for unit rows); saves two passes where it is small.
        columns: whether the sums over columns are wanted; zeros otherwise.
        exclude_self: leave the diagonal out, where `a` and `b` are the same rows.
        exclude: further diagonals to leave out: entries (i, i + k) for each k. Something of each row must remain.
        block: entries of the matrix to hold at a time.

    Returns:
        rows (N,), columns (M,).
    """
    safe = bound is not None and bound <= SAFE
    return _LogSumExp.apply(a, b, scale, safe, columns, (0, *exclude) if exclude_self else exclude, block)


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: float, safe: bool, by_column: bool,
                exclude: tuple[int, ...], block: int) -> Any:
        height = max(1, min(len(a), block // max(1, len(b))))
        rows, columns = a.new_empty(len(a)), a.new_full((len(b),), 0.0 if safe or not by_column else -torch.inf)
        for logits, part in _blocks(a * scale, b, height, exclude):
            if safe:
                torch.sum(logits.exp_(), dim=1, out=rows[part])
                columns += logits.sum(dim=0) if by_column else 0
            else:
                rows[part] = logits.logsumexp(dim=1)
                columns = torch.logaddexp(columns, logits.logsumexp(dim=0)) if by_column else columns
        if safe:
            rows.log_()
            columns = columns.log_() if by_column else columns
        ctx.save_for_backward(a, b, rows, columns)
        ctx.options = scale, safe, by_column, exclude, height
        return rows, columns

    @staticmethod
    def backward(ctx: Any, grad_rows: Tensor, grad_columns: Tensor) -> Any:
        a, b, rows, columns = ctx.saved_tensors
        scale, safe, by_column, exclude, height = ctx.options
        grad_a, grad_b, scaled = torch.empty_like(a), torch.zeros_like(b), a * scale
        by_b = ctx.needs_input_grad[1]  # a queue wants none: half of the work
        if safe:  # exp(s - r) g + exp(s - c) h = exp(s) (g / e^r + h / e^c)
            grad_rows, grad_columns = grad_rows * (-rows).exp(), grad_columns * (-columns).exp()
        for logits, part in _blocks(scaled, b, height, exclude):
            if safe:
                factor = grad_rows[part, None]
                weight = logits.exp_().mul_(factor + grad_columns if by_column else factor)
            else:
                weight = (logits - rows[part, None]).exp_().mul_(grad_rows[part, None])
                weight += (logits - columns).exp_().mul_(grad_columns) if by_column else 0
            torch.mm(weight, b, out=grad_a[part])
            if by_b:
                grad_b.addmm_(weight.T, scaled[part])
        return grad_a.mul_(scale), grad_b if by_b else None, None, None, None, None, None


def _blocks(a: Tensor, b: Tensor, height: int, exclude: tuple[int, ...]) -> Iterator[tuple[Tensor, slice]]:
    """Blocks of rows of `a @ b.T`, each in the same memory, with the slice that it stands for."""
    space = a.new_empty(height, len(b))
    for start in range(0, len(a), height):
        part = slice(start, min(start + height, len(a)))
        logits = torch.mm(a[part], b.T, out=space[: part.stop - start])
        for shift in exclude:
            logits.diagonal(start + shift).fill_(-torch.inf)
        yield logits, part
