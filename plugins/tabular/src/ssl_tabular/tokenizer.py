"""Columns as tokens: each cell of a row becomes a vector (FT-Transformer, arXiv:2106.11959, section 3.3)."""
from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Literal

import torch
from torch import Tensor, nn

from .rows import UNSEEN, Rows, offsets

Numbers = Literal["linear", "periodic"]


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


NUMBERS: dict[str, type[nn.Module]] = {"linear": Linear, "periodic": Periodic}


class FeatureTokenizer(nn.Module):
    """Rows -> tokens (B, N + C, width): numbers first, then categories, each with a bias of its column.

    A missing number has a vector of its own in place of its value; a missing category is a code.

    Args:
        numeric: numeric columns.
        cardinalities: codes of each categorical column.
        width: of a token.
        numbers: `linear`, or `periodic` embeddings of numbers.
    """

    def __init__(self, numeric: int, cardinalities: Sequence[int], width: int, numbers: Numbers = "linear") -> None:
        super().__init__()
        self.numeric, self.columns = numeric, numeric + len(cardinalities)
        if not self.columns:
            raise ValueError("the table has no column")
        self.numbers = NUMBERS[numbers](numeric, width) if numeric else None
        self.missing = uniform(numeric, width) if numeric else None
        self.categories = Categories(cardinalities, width) if cardinalities else None
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
