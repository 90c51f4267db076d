"""Columns as tokens: each cell of a row becomes a vector (FT-Transformer, arXiv:2106.11959, section 3.3)."""
from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, log2, pi
from typing import Literal

import torch
from torch import Tensor, nn

from .rows import UNSEEN, Rows, offsets

Numbers = Literal["linear", "periodic"]
Codes = Literal["own", "unified"]


def uniform(*shape: int) -> nn.Parameter:
    """Kaiming-uniform with a = sqrt(5) over the last axis: between -1/sqrt(D) and 1/sqrt(D)."""
    bound = shape[-1] ** -0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Categories(nn.Module):
    """One embedding for each code of each column, in one table. What was not seen in training starts at zero.

    Args:
        cardinalities: codes of each column.
        width: of an embedding.
    """

    def __init__(self, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        starts = offsets(cardinalities)
        self.table = uniform(sum(cardinalities), width)
        self.register_buffer("starts", starts, persistent=False)
        with torch.no_grad():
            self.table[starts + UNSEEN] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        """(B, C) -> (B, C, width)."""
        return nn.functional.embedding(codes + self.starts, self.table)


class Unified(nn.Module):
    """One hashed table for the codes of all columns: feature multiplexing (arXiv:2305.12102; as recalled).

    A code of column t is looked up `k_t` times, each time in the row that a hash of its own gives, and a linear map of its
    column turns these rows into a token. Columns share rows; their maps, trained, keep them apart. More codes, more
    look-ups: 1 up to 16 codes, 2 up to 256, ..., at most 4.

    Args:
        cardinalities: codes of each column.
        width: of an embedding.
        table: rows of the table, whatever the number of codes.
        row: width of a row.
        seed: of the hashes; part of what was learned, since another seed reads other rows.
    """

    lookups: Tensor
    salts: Tensor

    def __init__(self, cardinalities: Sequence[int], width: int, table: int = 4096, row: int = 16, seed: int = 0) -> None:
        super().__init__()
        if table < 1 or row < 1:
            raise ValueError(f"table and row should be 1 or more, got {table} and {row}")
        counts = [min(4, max(1, ceil(log2(max(2, c)) / 4))) for c in cardinalities]
        most, n = max(counts), len(cardinalities)
        self.table, self.weight = uniform(table, row), nn.Parameter(torch.empty(n, most, row, width))
        nn.init.uniform_(self.weight, -row ** -0.5, row ** -0.5)
        self.register_buffer("lookups", (torch.arange(most) < torch.tensor(counts)[:, None]).float(), persistent=False)
        self.register_buffer("salts", mixed(seed * 1_000_003 + 1 + torch.arange(n * most).view(n, most)), persistent=False)

    def rows(self, codes: Tensor) -> Tensor:
        """The rows of the table that codes (B, C) are looked up in, (B, C, k)."""
        return mixed(codes[..., None] ^ self.salts).remainder(len(self.table))

    def forward(self, codes: Tensor) -> Tensor:
        """(B, C) -> (B, C, width)."""
        found = nn.functional.embedding(self.rows(codes), self.table) * self.lookups[..., None]  # (B, C, k, row)
        return torch.einsum("bckr,ckrd->bcd", found, self.weight)


def mixed(x: Tensor) -> Tensor:
    """A hash of whole numbers in 63 bits: multiply, shift and xor (the finalizer of splitmix64)."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ (x >> shift)) * factor
    return (x ^ (x >> 31)) & (2**63 - 1)


class Periodic(nn.Module):
    """Numbers as waves of learned frequencies, then a linear map and ReLU per column (arXiv:2203.05556, section 3.3).

    Args:
        numeric: columns.
        width: of the output.
        frequencies: per column.
        sigma: deviation of the frequencies at the start.
    """

    def __init__(self, numeric: int, width: int, frequencies: int = 24, sigma: float = 0.1) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(numeric, frequencies) * sigma)
        self.weight = nn.Parameter(torch.empty(numeric, 2 * frequencies, width).uniform_(-1, 1) * (2 * frequencies) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(numeric, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N) -> (B, N, width)."""
        angle = 2 * pi * self.frequencies * x[..., None]  # (B, N, F)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return torch.relu(torch.einsum("bnf,nfd->bnd", waves, self.weight) + self.bias)


class Linear(nn.Module):
    """A number times the vector of its column: (B, N) -> (B, N, width)."""

    def __init__(self, numeric: int, width: int) -> None:
        super().__init__()
        self.weight = uniform(numeric, width)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., None] * self.weight


class FeatureTokenizer(nn.Module):
    """Rows -> tokens (B, N + C, width): numbers first, then categories, each with a bias of its column.

    A missing number has a vector of its own in place of its value; a missing category is a code.

    Args:
        numeric: numeric columns.
        cardinalities: codes of each categorical column.
        width: of a token.
        numbers: `linear`, or `periodic` embeddings of numbers.
        sigma: deviation of the frequencies of periodic embeddings at the start.
        codes: `own` embedding of each code, or a `unified` hashed table for all (see `Unified`).
        table: rows of the unified table.
    """

    def __init__(self, numeric: int, cardinalities: Sequence[int], width: int, numbers: Numbers = "linear", sigma: float = 0.1,
                 codes: Codes = "own", table: int = 4096) -> None:
        super().__init__()
        self.numeric, self.columns = numeric, numeric + len(cardinalities)
        if not self.columns:
            raise ValueError("the table has no column")
        made = Periodic(numeric, width, sigma=sigma) if numbers == "periodic" else Linear(numeric, width)
        self.numbers = made if numeric else None
        self.missing = uniform(numeric, width) if numeric else None
        made_of = Unified(cardinalities, width, table) if codes == "unified" and cardinalities else None
        self.categories = made_of or (Categories(cardinalities, width) if cardinalities else None)
        self.bias = uniform(self.columns, width)

    def forward(self, rows: Rows) -> Tensor:
        parts = []
        if self.numbers is not None:
            parts.append(torch.where(rows.missing[..., None], self.missing, self.numbers(rows.numeric)))
        if self.categories is not None:
            parts.append(self.categories(rows.categorical))
        return torch.cat(parts, dim=1) + self.bias


class FirstLayer(nn.Module):
    """A linear layer over numbers, their missing marks and one-hot categories, without making the ones and zeros.

    Args:
        numeric, cardinalities: the columns.
        width: of the output.
    """

    def __init__(self, numeric: int, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        if not numeric + len(cardinalities):
            raise ValueError("the table has no column")
        self.numbers = nn.Linear(2 * numeric, width) if numeric else None
        self.categories = Categories(cardinalities, width) if cardinalities else None
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, rows: Rows) -> Tensor:
        """Rows -> (B, width)."""
        out = self.bias
        if self.numbers is not None:
            out = out + self.numbers(torch.cat([rows.numeric, rows.missing.to(rows.numeric.dtype)], dim=1))
        if self.categories is not None:
            out = out + self.categories(rows.categorical).sum(dim=1)
        return out


def waves(places: int, width: int, base: float) -> Tensor:
    """Fixed sines and cosines for each place, (places, width) (arXiv:1706.03762, section 3.5, with another base)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-log(base) / width))
    angle = torch.arange(places)[:, None] * rates
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
