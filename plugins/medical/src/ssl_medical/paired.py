"""What bags are paired with: the expression of their slides, or the embedding of their reports. One row of numbers a bag."""
from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_core import DataError
from ssl_core.opening import arrays


def paired_with(held: Mapping[str, Any], path: Path) -> Tensor | None:
    """Rows (bags, G) of `paired` in an `.npz`, or of the `.csv` or `.npy` of the same name beside it; None without any.

    A column `bag` of the `.csv` says which bag a row belongs to; without it, row i belongs to bag i.

    Raises:
        DataError: they are no table of finite numbers, or a bag has two rows or none.
    """
    beside = [path.with_suffix(suffix) for suffix in (".csv", ".npy") if path.with_suffix(suffix).is_file()]
    if len(beside) + ("paired" in held) > 1:
        raise DataError(f"{path} is paired more than once: by {', '.join(file.name for file in beside)}"
                        f"{' and its own `paired`' if 'paired' in held else ''}.\n  Try: keeping one of them")
    if "paired" in held:
        return numbers(np.asarray(held["paired"]), path)
    if not beside:
        return None
    return table(beside[0]) if beside[0].suffix == ".csv" else numbers(arrays(beside[0])[""], beside[0])


def numbers(rows: np.ndarray, path: Path) -> Tensor:
    """Rows of finite numbers, float32."""
    if rows.ndim != 2 or rows.dtype.kind not in "iuf" or not rows.shape[1] or not np.isfinite(rows).all():
        raise DataError(f"{path}: what is paired with bags should be finite numbers (bags, G), is {rows.dtype} {rows.shape}")
    return torch.from_numpy(rows.astype(np.float32))


def table(path: Path) -> Tensor:
    """A `.csv` with a header and numbers only."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = csv.reader(file)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    found = np.empty((len(lines), len(header)))
    for i, line in enumerate(lines):
        try:
            found[i] = np.array([float(cell) for cell in line]).reshape(len(header))
        except ValueError as error:
            raise DataError(f"{path}, line {i + 2}: {len(header)} numbers are wanted: {error}") from error
    if "bag" not in header:
        return numbers(found, path)
    place = header.index("bag")
    order = found[:, place].argsort()
    if not np.array_equal(found[order, place], np.arange(len(found))):
        raise DataError(f"{path}: its column `bag` should name each bag once, from 0 on")
    return numbers(np.delete(found[order], place, axis=1), path)
