"""What reading a table learns from its training rows, and how other rows of the same table are read by it.

A schema is a plain JSON value, `{"columns": [...], "target": {...} | None, "missing": [...], "infinite": "..."}`; the
records of columns are those of `columns.py`. It is saved with every run.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ssl_core import DataError
from ssl_core.errors import nearest

from . import columns
from .rows import Rows

Schema = dict[str, Any]
FEW = 20  # whole numbers with at most so many different values, as a target, are classes


def fit(table: pa.Table, where: str, first: columns.Start, train: np.ndarray, *, kinds: Mapping[str, str], target: str,
        labels: Mapping[str, Any] | None, scale: columns.Scale, max_categories: int, missing: Sequence[str], infinite: str
        ) -> Schema:
    """Learn the schema of a table.

    Args:
        train: (m,) positions of the rows to learn from.
        kinds: of the columns whose kind the user named.
        target: the column of labels, which is no column of the schema; "" for none.
        labels: what `target_of` found.
    """
    for name in kinds:
        if name not in table.column_names:
            raise DataError(f"{where} has no column {name!r}{nearest(name, table.column_names)}")
    records = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name != target:
            kind = kinds.get(name) or columns.kind_of(column, name, where, first)
            records.append(columns.fit(name, kind, column, train, where, first, scale=scale, max_categories=max_categories,
                                       infinite=infinite, chosen=name in kinds))
    if all(record["kind"] == "left out" for record in records):
        raise DataError(f"{where} has no column to learn from: " +
                        ("; ".join(f"{r['name']} is {r['why']}" for r in records[:5]) or "only the target"))
    return {"columns": records, "target": None if labels is None else dict(labels), "missing": list(missing),
            "infinite": infinite}


def encode(table: pa.Table, schema: Schema, where: str, first: columns.Start) -> tuple[Rows, list[tuple[str, str]]]:
    """The rows of a table by a schema, whatever the order of its columns, and what was left out and why.

    Raises:
        DataError: columns of the schema are missing; they are named.
    """
    target = (schema["target"] or {}).get("name")
    records, place = schema["columns"], {name: i for i, name in enumerate(table.column_names)}
    gone = [r["name"] for r in records if r["name"] not in place and r["kind"] != "left out"]
    known = {r["name"] for r in records} | {target}
    extra = [name for name in place if name not in known]
    if gone:
        hint = f"; it has {', '.join(map(repr, extra[:10]))} instead" if extra else ""
        raise DataError(f"{where} lacks {len(gone)} of the columns that the encoder was trained on: "
                        f"{', '.join(map(repr, gone[:10]))}{hint}.\n  Try: renaming columns; a column of empty cells will do")
    left = [(f"column {name}", "not among the columns that the encoder was trained on") for name in extra]
    left += [(f"column {r['name']}", r["why"]) for r in records if r["kind"] == "left out" and r["name"] in place]
    numeric, codes = [], []
    for record in records:
        if record["kind"] != "left out":
            some, other = columns.encode(record, table.column(place[record["name"]]), where, first, schema["infinite"])
            numeric += some
            codes += other
    n = table.num_rows
    values = np.stack(numeric, axis=1) if numeric else np.zeros((n, 0))
    gaps = np.isnan(values)
    rows = Rows(torch.from_numpy(np.where(gaps, 0.0, values).astype(np.float32)), torch.from_numpy(gaps),
                torch.from_numpy(np.stack(codes, axis=1).astype(np.int64)) if codes else torch.zeros(n, 0, dtype=torch.long))
    return rows, left


def facts(schema: Schema) -> dict[str, Any]:
    """What encoders and methods ask for: `numeric`, the number of numeric tokens, and `cardinalities` of the codes."""
    widths = [columns.width(record) for record in schema["columns"]]
    found: dict[str, Any] = {"numeric": sum(n for n, _ in widths), "cardinalities": [c for _, codes in widths for c in codes]}
    target = schema["target"]
    if target is not None and target["kind"] == "classes":
        found["classes"] = len(target["classes"])
    return found


def target_of(table: pa.Table, target: str, task: str, where: str, first: columns.Start) -> Schema | None:
    """The record of the label column: `{"name", "kind": "classes", "classes"}` or `{"name", "kind": "quantity"}`.

    Args:
        task: `classes`, `quantity`, or `auto`: text, booleans and few whole numbers are classes.
    """
    if not target:
        return None
    if target not in table.column_names:
        raise DataError(f"{where} has no column {target!r} for data.target{nearest(target, table.column_names)}\n"
                        f"  It has: {', '.join(table.column_names[:30])}")
    column = table.column(target)
    if column.null_count == len(column):
        raise DataError(f"{where}, column {target!r}: the target is wholly missing.\n  Try: data.target= for none")
    kind = columns.kind_of(column, target, where, first) if task == "auto" else "numeric" if task == "quantity" else "boolean"
    if kind in ("numeric", "date"):
        values = columns.numbers(column, target, where, first)
        some = values[~np.isnan(values)]
        whole = np.all(some == np.floor(some)) and len(np.unique(some)) <= FEW
        if task == "quantity" or not whole or kind == "date":
            return {"name": target, "kind": "quantity"}
    found = pc.unique(columns.words(column).drop_null()).to_pylist()
    if len(found) < 2:
        raise DataError(f"{where}, column {target!r}: the target is {found[0]!r} in every row; there is nothing to tell apart")
    in_order = sorted(found, key=lambda word: (0, float(word), "") if word.lstrip("-").isdigit() else (1, 0.0, word))
    return {"name": target, "kind": "classes", "classes": in_order}


def labels_of(table: pa.Table, record: Schema, where: str, first: columns.Start, train: np.ndarray | None = None) -> Tensor:
    """Labels, (n,): long with -1 where missing or unknown; or float, standardised by the training rows, NaN where missing.

    Args:
        train: (m,) positions to take mean and deviation from; they are put into `record`. None: they are there already.
    """
    column = table.column(record["name"])
    if record["kind"] == "classes":
        place = pc.index_in(columns.words(column), value_set=pa.array(record["classes"], pa.string()))
        return torch.from_numpy(np.asarray(place.fill_null(-1).to_numpy()).astype(np.int64))
    values = columns.numbers(column, record["name"], where, first)
    if train is not None:
        some = values[train][~np.isnan(values[train])]
        if not len(some):
            raise DataError(f"{where}, column {record['name']!r}: the target is missing in every training row")
        record["mean"], record["std"] = float(some.mean()), float(some.std()) or 1.0
    return torch.from_numpy((values - record["mean"]) / record["std"]).float()


def describe(schema: Schema) -> str:
    """One line for each column: name, kind and what is known of it."""
    def about(record: Mapping[str, Any]) -> str:
        if "knots" in record:
            return f"{record['knots'][0]:g} to {record['knots'][-1]:g}" if record["clip"] else ""
        if "categories" in record:
            some = ", ".join(record["categories"][:5])
            return f"{len(record['categories'])}: {some}{', ...' if len(record['categories']) > 5 else ''}"
        return record["why"]

    target = schema["target"]
    lines = [(r["name"], r["kind"], about(r)) for r in schema["columns"]]
    if target:
        lines.append((target["name"], "target", ", ".join(target["classes"][:10]) if "classes" in target else "a quantity"))
    wide = max(len(name) for name, _, _ in lines)
    return "\n".join(f"{name:<{wide}}  {kind:<11}  {what}".rstrip() for name, kind, what in lines)


def shown(rows: Rows, schema: Schema, chosen: Sequence[int]) -> list[dict[str, Any]]:
    """Some rows as a person reads them: column -> value in its own unit, or its category; "" where it is missing."""
    some = rows.take(torch.as_tensor(list(chosen), dtype=torch.long, device=rows.numeric.device))
    numbers = np.where(some.missing.cpu().numpy(), np.nan, some.numeric.cpu().numpy())
    codes, found = some.categorical.cpu().numpy(), [dict[str, Any]() for _ in chosen]
    number = code = 0
    for record in schema["columns"]:
        width, cardinalities = columns.width(record)
        if width:
            words = columns.unscaled(numbers[:, number], record)
        elif cardinalities:
            words = columns.named(codes[:, code], record)
        for row, word in zip(found, words if width or cardinalities else ()):
            row[record["name"]] = word
        number, code = number + width, code + len(cardinalities)
    return found
