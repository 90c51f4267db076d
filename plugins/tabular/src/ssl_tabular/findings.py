"""What is wrong with a table that its plain numbers do not show: columns with gaps, categories that give the label away."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_core import Finding
from ssl_core.examination import TOLD, told

from . import columns
from .rows import Rows

SPARSE = 0.5  # share of gaps from which on a column is worth a word


def names(schema: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The column that each number comes from, and the one of each code."""
    numbers, codes = list[str](), list[str]()
    for record in schema["columns"]:
        width, cardinalities = columns.width(record)
        numbers += [record["name"]] * width
        codes += [record["name"]] * len(cardinalities)
    return numbers, codes


def raw_columns(schema: Mapping[str, Any], cardinalities: list[int], gaps: Tensor) -> list[str]:
    """Names of the plain features: numbers, categories one by one, and which numbers are missing."""
    numbers, codes = names(schema)
    one_hot = [f"{name} (category {i})" for name, count in zip(codes, cardinalities, strict=True) for i in range(count)]
    return [*numbers, *one_hot,
            *(f"{name} (missing)" for name, gap in zip(numbers, gaps.tolist(), strict=True) if gap)]


def findings(rows: Rows, schema: Mapping[str, Any], labels: Tensor | None, folds: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Columns that are mostly missing, and categorical ones that tell the label alone."""
    numbers, codes = names(schema)
    for name, share in zip(numbers, rows.missing.double().mean(dim=0).tolist(), strict=True):
        if share >= SPARSE:
            yield Finding("gaps", name, f"{share:.1%} of its cells are missing")
    if labels is None or labels.is_floating_point() or not {"train", "test"} <= set(folds):
        return
    learned = torch.zeros(len(labels), dtype=torch.bool).index_fill(0, folds["train"], True)
    train, held = learned & (labels >= 0), ~learned & (labels >= 0)
    if train.sum() < 20 or held.sum() < 20:
        return
    for name, values in zip(codes, rows.categorical.T, strict=True):
        share, usual = told(values, labels, train, held)
        if share >= TOLD and usual < 0.9:
            yield Finding("leaking column", name, f"it alone tells the label of {share:.1%} of held-out items; guessing "
                          f"is right in {usual:.1%}", bad=True)
