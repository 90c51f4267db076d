"""Matrices in compressed rows (CSR), and products with a gradient that is as fast as the product."""
from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor


def matrix(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sparse (N, M) from where each row starts (N + 1,), and the column and value of each entry (E,)."""
    say_once()
    return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def valued(sparse: Tensor, values: Tensor) -> Tensor:
    """The same entries with other values (E,)."""
    return matrix(sparse.crow_indices(), sparse.col_indices(), values, sparse.shape)


@cache
def say_once() -> None:
    """torch warns once per process that compressed rows are in beta; users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([], dtype=torch.long), torch.tensor([]), (1, 1),
                                check_invariants=False)


def product(sparse: Tensor, rows: Tensor) -> Tensor:
    """Sparse (N, M) times rows (M, D): (N, D), in the precision of the matrix."""
    with torch.autocast(rows.device.type, enabled=False):  # sparse products know no 16 bits
        rows = rows.to(sparse.dtype)
        return torch.sparse.mm(sparse, rows) if sparse.requires_grad else _Product.apply(sparse, rows)


class _Product(torch.autograd.Function):
    """torch's own gradient turns the matrix anew at every backward pass."""

    @staticmethod
    def forward(ctx: Any, sparse: Tensor, rows: Tensor) -> Tensor:
        ctx.sparse = sparse
        return torch.sparse.mm(sparse, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, product(transposed(ctx.sparse, ctx.sparse.values()), grad)


def transposed(sparse: Tensor, values: Tensor) -> Tensor:
    """The transpose, (M, N), of a matrix with these values (E,). Where its entries stand is found once and kept with the
    matrix: each layer and each head needs it."""
    if not hasattr(sparse, "turned"):
        sparse.turned = (_counted if sparse.device.type == "cpu" else _sorted)(sparse)  # type: ignore[attr-defined]
    starts, columns, order = sparse.turned  # type: ignore[attr-defined]
    return matrix(starts, columns, values[order], sparse.shape[::-1])


def _counted(sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the transpose: where rows start (M + 1,), columns (E,), and the places of its values in the matrix (E,)."""
    from scipy.sparse import csr_array
    starts, columns = sparse.crow_indices(), sparse.col_indices()
    places = torch.arange(len(columns)).numpy()
    found = csr_array((places, columns.numpy(), starts.numpy()), shape=tuple(sparse.shape)).tocsc()
    return torch.from_numpy(found.indptr), torch.from_numpy(found.indices), torch.from_numpy(found.data)


def _sorted(sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same where scipy cannot count."""
    starts, columns, (height, width) = sparse.crow_indices(), sparse.col_indices(), sparse.shape
    rows = torch.arange(height, device=columns.device).repeat_interleave(starts.diff(), output_size=len(columns))
    order, turned = columns.argsort(stable=True), torch.zeros(width + 1, dtype=starts.dtype, device=columns.device)
    turned[1:] = torch.bincount(columns, minlength=width).cumsum(0)
    return turned, rows[order], order
