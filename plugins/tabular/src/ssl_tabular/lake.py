"""A folder of tables as a graph of their columns, and tables cut in two so that it is known which columns join."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ssl_core import Data, DataError

from . import readers
from .similarity import RELATIONS, features, neighbours

Values = list[str]  # the cells of a column as text, without those that are missing
KINDS = (*readers.TEXT, ".gz", *readers.PARQUET, *readers.ARROW)


class Column(NamedTuple):
    """A column of a lake: the table that it is of, its name, and its values."""

    table: str
    name: str
    values: Values


class Lake(NamedTuple):
    """Columns as nodes of a graph, of which each looks at the few that are most similar to it in each relation.

    Args:
        features: (N, F), statistics of each column.
        near: (R, N, k) long, by relation the columns that are most similar to each.
        weight: (R, N, k), how similar; 0 where there is none.
        pairs: (2, P) long, columns that are known to join, or (2, 0).
    """

    features: Tensor
    near: Tensor
    weight: Tensor
    pairs: Tensor


def lake(columns: Sequence[Column], pairs: Sequence[tuple[int, int]], near: int) -> Lake:
    """The graph of some columns. Columns of one table are no neighbours."""
    tables = [column.table for column in columns]
    index, weight = neighbours([column.values for column in columns], tables, near)
    known = torch.tensor(list(pairs), dtype=torch.long).view(-1, 2).T
    rows = np.stack([features(column.values) for column in columns])
    return Lake(torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(index), torch.from_numpy(weight), known)


def split_in_two(columns: Sequence[Column], draw: np.random.Generator) -> tuple[list[Column], list[tuple[int, int]]]:
    """A table as two that share some columns and some rows; the second one's values are written a little differently.

    Returns:
        The columns of both, and which of them were one.
    """
    order = draw.permutation(len(columns)).tolist()
    both = order[: int(draw.integers(1, max(2, len(columns) // 2 + 1)))]
    rest = order[len(both):]
    sides = [sorted(both + rest[0::2]), sorted(both + rest[1::2])]
    found: list[Column] = []
    place: list[dict[int, int]] = [{}, {}]
    for side, chosen in enumerate(sides):
        for i in chosen:
            values = columns[i].values
            third = len(values) // 3
            part = values[: len(values) - third] if side == 0 else [rewritten(v, draw) for v in values[third:]]
            place[side][i] = len(found)
            found.append(Column(f"{columns[i].table}/{side}", columns[i].name, part or values))
    return found, [(place[0][i], place[1][i]) for i in both]


def rewritten(value: str, draw: np.random.Generator, share: float = 0.3) -> str:
    """A value as another source might write it: in one of three, a tenth of its letters wrong, or its number a little off."""
    if draw.random() >= share:
        return value
    try:
        return f"{float(value) * (1 + 0.01 * draw.standard_normal()):.4g}"
    except ValueError:
        letters = list(value)
        for i in np.flatnonzero(draw.random(len(letters)) < 0.1):
            letters[i] = chr(97 + int(draw.integers(26)))
        return "".join(letters)


def fabricated(columns: Sequence[Column], near: int, draw: np.random.Generator) -> Lake:
    """A lake in which every table of two columns or more is cut in two."""
    by_table: dict[str, list[Column]] = {}
    for column in columns:
        by_table.setdefault(column.table, []).append(column)
    found: list[Column] = []
    pairs: list[tuple[int, int]] = []
    for table in by_table.values():
        parts, joined = split_in_two(table, draw)
        pairs += [(a + len(found), b + len(found)) for a, b in joined]
        found += parts
    return lake(found, pairs, near)


def of_columns(columns: Sequence[Column], where: str, near: int, copies: int, seed: int, labels: Tensor | None = None,
               classes: Sequence[str] | None = None, left: Sequence[tuple[str, str]] = ()) -> Data:
    """The record of the columns of several tables: trained on tables cut in two, embedded as they are.

    Args:
        near: similar columns to look at, in each relation.
        copies: how often each table is cut, differently each time.
        labels: (N,) long, what columns that join have in common; or None.

    Raises:
        DataError: fewer than two tables, or four columns.
    """
    if len({column.table for column in columns}) < 2 or len(columns) < 4:
        raise DataError(f"{where} holds {len(columns)} columns that can be read; joins need two tables or more, with four "
                        f"columns")
    draw = np.random.default_rng(seed)
    train = [fabricated(columns, near, draw) for _ in range(copies)]
    whole = lake(columns, [], near)
    order = torch.randperm(len(columns), generator=torch.Generator().manual_seed(seed))
    cut = [len(order) * 6 // 10, len(order) * 8 // 10]
    folds = dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True)) if labels is not None else {}
    facts = {"column_features": whole.features.shape[1], "relations": len(RELATIONS)}
    told = hashlib.sha256("\n".join(f"{c.table} {c.name} {c.values}" for c in columns).encode())
    return Data(train=train, size=sum(len(graph.features) for graph in train), items=[whole], labels=labels, folds=folds,
                raw=lambda batch: batch.features, facts=facts, schema=facts, classes=classes, skipped=left,
                names=[f"{column.table}: {column.name}" for column in columns], fingerprint=told.hexdigest()[:16])


def read(source: Path, missing: Sequence[str] = readers.GAPS, near: int = 3, copies: int = 8, seed: int = 0, rows: int = 2000
         ) -> Data:
    """Every table of a folder: CSV, TSV, Parquet, Arrow. What cannot be read is listed and left out.

    Args:
        source: the folder.
        rows: of each table to look at; of longer ones, as many at random.
        missing, near, copies, seed: see `of_columns`.

    Raises:
        DataError: it holds fewer than two tables.
    """
    columns, left = [], []
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in KINDS)
    draw = np.random.default_rng(seed)
    for path in files:
        name = path.relative_to(source).as_posix()
        try:
            table = readers.table(path, str(path), missing=missing)
        except DataError as error:
            left.append((name, str(error)))
            continue
        if table.num_rows > rows:
            table = table.take(pa.array(np.sort(draw.choice(table.num_rows, rows, replace=False))))
        for column, held in zip(table.column_names, table.columns, strict=True):
            values = words(held)
            if values:
                columns.append(Column(name, column, values))
            else:
                left.append((f"{name}: {column}", "wholly missing"))
    return of_columns(columns, str(source), near, copies, seed, left=left)


def words(column: pa.ChunkedArray) -> Values:
    """The cells of a column as lower-case text, without those that are missing."""
    return [f"{cell:g}" if isinstance(cell, float) else str(cell).lower() for cell in column.drop_null().to_pylist()]


def joins(rows: Tensor, data: Data, most: int = 20) -> list[tuple[str, str, float]]:
    """Columns of different tables that are most alike, best first: (name, name, cosine).

    Args:
        rows: (N, D), the embedded columns.
        data: what they are of.
    """
    assert data.names is not None
    unit = torch.nn.functional.normalize(rows, dim=1)
    i, j = torch.triu_indices(len(unit), len(unit), 1)
    tables = [name.rsplit(": ", 1)[0] for name in data.names]
    apart = torch.tensor([tables[a] != tables[b] for a, b in zip(i.tolist(), j.tolist(), strict=True)])
    score = (unit[i] * unit[j]).sum(dim=1)[apart]
    best = score.topk(min(most, len(score)))
    return [(data.names[int(i[apart][k])], data.names[int(j[apart][k])], value)
            for k, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def synthetic_lake(tables: int = 30, rows: int = 60, near: int = 3, copies: int = 8, seed: int = 0) -> Data:
    """Made-up tables of four columns each, which share eight kinds of values: people, cities, codes, mail, years, ...

    Args:
        tables: how many.
        rows: of a table.
        near, copies, seed: see `of_columns`; the tables are always the same.
    """
    draw, found, labels = np.random.default_rng(22), [], []
    kinds = vocabularies(draw)
    names = list(kinds)
    for table in range(tables):
        for i in draw.choice(len(names), 4, replace=False).tolist():
            some = draw.choice(kinds[names[i]], size=max(4, len(kinds[names[i]]) // 2), replace=False)
            values = [rewritten(str(value), draw, 0.1) for value in draw.choice(some, rows)]
            found.append(Column(f"table {table}", f"column {len(found)}", values))
            labels.append(i)
    return of_columns(found, "the synthetic lake", near, copies, seed, torch.tensor(labels), names)


def vocabularies(draw: np.random.Generator, size: int = 80) -> dict[str, list[str]]:
    """Made-up values of eight kinds."""
    syllables = [a + b for a in "bdfklmnrstv" for b in "aeiou"]

    def word(parts: int) -> str:
        return "".join(draw.choice(syllables, parts))

    people, cities = [f"{word(2)} {word(3)}" for _ in range(size)], [word(3) for _ in range(size)]
    return {"person": people, "city": cities, "country": [word(2) for _ in range(20)],
            "mail": [f"{name.replace(' ', '.')}@{word(2)}.org" for name in people],
            "code": [f"{word(1)}-{draw.integers(1000, 9999)}" for _ in range(size)],
            "year": [str(year) for year in range(1950, 2020)], "amount": [f"{value:.4g}" for value in draw.gamma(2, 50, size)],
            "product": [f"{word(2)} {word(2)} {draw.integers(1, 9)}" for _ in range(size)]}

