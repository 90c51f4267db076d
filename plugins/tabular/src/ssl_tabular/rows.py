"""A batch of table rows, and the loader that cuts a table in memory into such batches."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MISSING, UNSEEN, KNOWN = 0, 1, 2  # codes of a category: not there, not seen in training (or too rare), the first known one


class Rows(NamedTuple):
    """Rows of a table. Columns keep their order: first the numbers, then the categories.

    Args:
        numeric: (B, N) float, scaled; 0 where a value is missing.
        missing: (B, N) bool, True where a number is missing.
        categorical: (B, C) long, codes from 0 (missing) and 1 (unseen) on.
    """

    numeric: Tensor
    missing: Tensor
    categorical: Tensor

    @property
    def size(self) -> int:
        """Number of rows. (`len` is that of the tuple.)"""
        return len(self.numeric)

    def take(self, index: Tensor | slice) -> Rows:
        """Some of the rows, in the order of `index`."""
        return Rows(self.numeric[index], self.missing[index], self.categorical[index])

    def gather(self, index: Tensor) -> Rows:
        """Cell j of row i from row `index[i, j]`; index: (B, N + C), columns in their order."""
        of_numbers, of_categories = index.split([self.numeric.shape[1], self.categorical.shape[1]], dim=1)
        return Rows(self.numeric.gather(0, of_numbers), self.missing.gather(0, of_numbers),
                    self.categorical.gather(0, of_categories))

    def where(self, mask: Tensor, other: Rows) -> Rows:
        """These cells where `mask` (B, N + C) is True, else those of `other`."""
        numbers, categories = mask.split([self.numeric.shape[1], self.categorical.shape[1]], dim=1)
        return Rows(torch.where(numbers, self.numeric, other.numeric), torch.where(numbers, self.missing, other.missing),
                    torch.where(categories, self.categorical, other.categorical))

    def hidden(self, mask: Tensor) -> Rows:
        """These rows with the cells where `mask` (B, N + C) is True taken for missing."""
        numbers, categories = mask.split([self.numeric.shape[1], self.categorical.shape[1]], dim=1)
        return Rows(self.numeric.masked_fill(numbers, 0.0), self.missing | numbers,
                    self.categorical.masked_fill(categories, MISSING))

    def differs(self, other: Rows) -> Tensor:
        """(B, N + C) bool: True where a cell is not the same."""
        numbers = (self.numeric != other.numeric) | (self.missing != other.missing)
        return torch.cat([numbers, self.categorical != other.categorical], dim=1)


def join(parts: Sequence[Rows]) -> Rows:
    """The rows of several batches, one after the other."""
    return Rows(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def offsets(cardinalities: Sequence[int]) -> Tensor:
    """Where the codes of each column start when all columns share one table, (C,)."""
    return torch.tensor([0, *accumulate(cardinalities)][:-1] if len(cardinalities) else [], dtype=torch.long)


def one_hot(codes: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """(B, C) codes -> (B, sum of cardinalities) float."""
    out = torch.zeros(len(codes), sum(cardinalities), device=codes.device)
    return out.scatter_(1, codes + offsets(cardinalities).to(codes.device), 1.0)


def features(rows: Rows, cardinalities: Sequence[int]) -> Tensor:
    """Plain features, (B, N + sum of cardinalities): the numbers, and the categories one-hot."""
    return torch.cat([rows.numeric, one_hot(rows.categorical, cardinalities)], dim=1)


def cell_entropy(logits: Tensor, codes: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Cross-entropy of every categorical cell, (B, C), for packed logits (B, sum of cardinalities). No loop over columns."""
    sizes = torch.tensor(cardinalities, dtype=torch.long, device=logits.device)
    segment = torch.arange(len(sizes), device=logits.device).repeat_interleave(sizes, output_size=logits.shape[1])
    where = segment.expand_as(logits)
    top = logits.detach().new_full(codes.shape, -torch.inf).scatter_reduce(1, where, logits.detach(), "amax")
    total = torch.zeros_like(top).scatter_add(1, where, (logits - top[:, segment]).exp())
    return total.log() + top - logits.gather(1, codes + offsets(cardinalities).to(codes.device))


def cell_errors(guess: Tensor, rows: Rows, cardinalities: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Squared error of every number, (B, N), 0 where it is missing, and cross-entropy of every category, (B, C).

    Args:
        guess: (B, N + sum of cardinalities): numbers, then packed logits.
    """
    numbers, logits = guess.split([rows.numeric.shape[1], sum(cardinalities)], dim=1)
    squared = F.mse_loss(numbers, rows.numeric, reduction="none").masked_fill(rows.missing, 0.0)
    return squared, cell_entropy(logits, rows.categorical, cardinalities)


class RowBatches:
    """Shuffled batches of a table in memory, drawn anew by torch's generator each time it is iterated.

    All batches have the same size, give or take one row, so that none is too small for batch statistics and none is left out.

    Args:
        rows: the table.
        positions: (P,) the rows to draw from.
        batch_size: largest number of rows in a batch.
    """

    def __init__(self, rows: Rows, positions: Tensor, batch_size: int) -> None:
        self.rows, self.positions, self.batch_size = rows, positions, batch_size

    def __len__(self) -> int:
        return -(-len(self.positions) // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        order = self.positions[torch.randperm(len(self.positions))]
        for part in order.tensor_split(len(self)):
            yield self.rows.take(part)
