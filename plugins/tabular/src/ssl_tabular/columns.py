"""One column of a table: of which kind it is, what is learned from its training rows, and its values as tensors need them.

A column is described by a record of plain JSON values, so that the description can be saved with a run:
`{"name", "kind", ...}` with `knots` and `scores` for a number or a date, `categories` for a category or a boolean, and
`why` for a column that is left out.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_core import DataError

from .rows import KNOWN, MISSING, UNSEEN

Scale = Literal["quantile", "standard", "minmax"]
Record = dict[str, Any]
YES_NO = ({"t", "f"}, {"true", "false"}, {"yes", "no"}, {"y", "n"})
MONTHS, WEEKDAYS = 12, 7
DAY = 86_400_000_000  # microseconds


class Start(NamedTuple):
    """Where the first row of a table stands: `Start("line", 2)` in text with a header, `Start()` where there are no lines."""

    word: str = "row"
    number: int = 1

    def at(self, row: int) -> str:
        """What messages call a row, counted from 0."""
        return f"{self.word} {self.number + row}"


def kind_of(column: pa.ChunkedArray, name: str, where: str, first: Start) -> str:
    """`numeric`, `categorical`, `boolean`, `date`, or `empty` for a column without any value.

    Args:
        first: where the first row stands, for messages.

    Raises:
        DataError: half or more of the values are numbers, but not all.
    """
    kind = column.type
    if column.null_count == len(column):
        return "empty"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "date"
    if not pa.types.is_string(kind):
        return "numeric"
    present, values = column.drop_null(), coerced(column)
    wrong = np.isnan(values) & ~nulls(column)  # text that is no number
    if not wrong.any():
        return "numeric"
    if wrong.sum() <= len(present) / 2:
        row = int(wrong.argmax())
        word = column[row].as_py()
        raise DataError(f"{where}, {first.at(row)}, column {name!r}: {word!r} is no number, most others are.\n"
                        f"  Try: data.categorical=[{name}], or data.missing=[{word}] if it stands for none")
    if set(pc.unique(pc.utf8_lower(present)).to_pylist()) in YES_NO:
        return "boolean"
    return "date" if days(column) is not None else "categorical"


def nulls(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool, True where there is no value."""
    return np.asarray(column.is_null().to_numpy())


def coerced(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64 of a text column; NaN where the text is no number."""
    import pandas as pd
    return np.asarray(pd.to_numeric(pd.Series(column.to_numpy(), dtype=object), errors="coerce"), dtype=np.float64)


def numbers(column: pa.ChunkedArray, name: str, where: str, first: Start, infinite: str = "error") -> np.ndarray:
    """(n,) float64, NaN where missing.

    Args:
        infinite: `error`, or `missing` to read infinities as missing values.

    Raises:
        DataError: a value is no number, or infinite; with its line.
    """
    kind = column.type
    if pa.types.is_string(kind):
        values = coerced(column)
        wrong = np.isnan(values) & ~nulls(column)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{where}, {first.at(row)}, column {name!r}: {column[row].as_py()!r} is no number")
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        found = days(column)
        assert found is not None
        values = found
    elif pa.types.is_time(kind) or pa.types.is_duration(kind):
        values = column.cast(pa.int64()).to_numpy().astype(np.float64)
    elif pa.types.is_null(kind):
        values = np.full(len(column), np.nan)
    else:
        values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64).copy()
    endless = np.isinf(values)
    if endless.any() and infinite == "error":
        row = int(endless.argmax())
        raise DataError(f"{where}, {first.at(row)}, column {name!r}: {values[row]} ({endless.sum()} such values).\n"
                        f"  Try: data.infinite=missing, or data.drop=[{name}]")
    values[endless] = np.nan
    return values


def days(column: pa.ChunkedArray) -> np.ndarray | None:
    """(n,) float64 days since 1970 of dates or ISO 8601 text, NaN where missing; None where it is neither."""
    try:
        if pa.types.is_string(column.type):
            column = pc.cast(column, pa.timestamp("us"))
        elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"), safe=False)
        else:
            return None
    except pa.ArrowException:
        return None
    stamps = np.asarray(column.to_numpy(), dtype="datetime64[us]")
    found = stamps.astype(np.int64) / DAY
    found[np.isnat(stamps)] = np.nan
    return found


def words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every value as text; whole numbers alike whether they were read as 3 or 3.0, booleans in lower case."""
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy().astype(np.float64)
        if np.all(np.isnan(values) | (values == np.floor(values)) & (np.abs(values) < 2**53)):
            gaps = np.isnan(values)
            column = pa.chunked_array([pa.array(np.where(gaps, 0, values).astype(np.int64), mask=gaps)])
        else:
            column = pa.chunked_array([pa.array(values, from_pandas=True)])
    return column.cast(pa.string()) if not pa.types.is_null(kind) else pa.chunked_array([pa.nulls(len(column), pa.string())])


def fit(name: str, kind: str, column: pa.ChunkedArray, train: np.ndarray, where: str, first: Start, *, scale: Scale,
        max_categories: int, infinite: str, chosen: bool) -> Record:
    """What the training rows say of a column.

    Args:
        train: (m,) positions of the training rows.
        chosen: the user named its kind, so it is kept even if it looks like an identifier.
    """
    if kind == "empty":
        return {"name": name, "kind": "left out", "why": "wholly missing"}
    if kind in ("numeric", "date"):
        values = (_dates if kind == "date" else numbers)(column, name, where, first, infinite)[train]
        present = values[~np.isnan(values)]
        if not len(present):
            return {"name": name, "kind": "left out", "why": "wholly missing in the training rows"}
        if len(present) == len(values) and present.min() == present.max():
            return {"name": name, "kind": "left out", "why": f"constant in the training rows ({present[0]:g})"}
        knots, scores = scaling(present, scale)
        return {"name": name, "kind": kind, "knots": knots, "scores": scores, "clip": scale == "quantile"}
    text = words(column).take(pa.array(train))
    counts = pc.value_counts(text.drop_null())
    found = sorted(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist()), key=lambda pair: (-pair[1], pair[0]))
    if not found:
        return {"name": name, "kind": "left out", "why": "wholly missing in the training rows"}
    if len(found) == 1 and not text.null_count:
        return {"name": name, "kind": "left out", "why": f"constant in the training rows ({found[0][0]!r})"}
    if found[0][1] == 1 and len(found) > 50 and not chosen:
        return {"name": name, "kind": "left out", "why": "every text is different, as in an identifier "
                                                         f"(data.categorical=[{name}] keeps it)"}
    return {"name": name, "kind": kind, "categories": [word for word, _ in found[:max_categories]]}


def scaling(values: np.ndarray, scale: Scale, count: int = 101) -> tuple[list[float], list[float]]:
    """A piecewise linear map as knots and scores: to normal scores by quantile, to mean 0 and deviation 1, or to [0, 1]."""
    if scale == "standard":
        middle, spread = float(values.mean()), float(values.std()) or 1.0
        return [middle, middle + spread], [0.0, 1.0]
    low, high = float(values.min()), float(values.max())
    if scale == "minmax":
        return [low, high if high > low else low + 1.0], [0.0, 1.0]
    from scipy.special import ndtri
    share = np.linspace(0, 1, count)
    knots, which = np.unique(np.quantile(values, share), return_inverse=True)
    middle_of_ties = np.bincount(which, weights=share) / np.bincount(which)
    if len(knots) == 1:
        return [low, low + 1.0], [0.0, 1.0]
    return knots.tolist(), ndtri(middle_of_ties.clip(0.005, 0.995)).tolist()


def scaled(values: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Numbers through the map of their column; NaN stays."""
    knots, scores = record["knots"], record["scores"]
    if record["clip"]:
        return np.interp(values, knots, scores)
    return scores[0] + (values - knots[0]) * ((scores[1] - scores[0]) / (knots[1] - knots[0]))


def unscaled(values: np.ndarray, record: Mapping[str, Any]) -> list[str]:
    """Scaled numbers as text in the unit of their column, or as a date; "" for NaN. The ends of a quantile scale are cut."""
    knots, scores = record["knots"], record["scores"]
    if record["clip"]:
        back = np.interp(values, scores, knots)
    else:
        back = knots[0] + (values - scores[0]) * ((knots[1] - knots[0]) / (scores[1] - scores[0]))
    if record["kind"] == "date":
        stamps = np.where(np.isnan(back), 0, back * DAY).astype("datetime64[us]").astype("datetime64[D]")
        return ["" if np.isnan(value) else str(stamp) for value, stamp in zip(values, stamps, strict=True)]
    return ["" if np.isnan(value) else f"{value:.4g}" for value in np.where(np.isnan(values), np.nan, back)]


def named(codes: np.ndarray, record: Mapping[str, Any]) -> list[str]:
    """Codes as the categories that they stand for; "" where there is none."""
    words = {MISSING: "", UNSEEN: "(not seen in training)"}
    return [words[code] if code in words else record["categories"][code - KNOWN] for code in codes.tolist()]


def encode(record: Record, column: pa.ChunkedArray, where: str, first: Start, infinite: str
           ) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A column as tensors need it: scaled numbers with NaN for missing, and codes. A date gives one number and two codes."""
    name, kind = record["name"], record["kind"]
    if kind == "numeric":
        return [scaled(numbers(column, name, where, first, infinite), record)], []
    if kind == "date":
        when = _dates(column, name, where, first, infinite)
        gaps = np.isnan(when)
        stamp = np.where(gaps, 0, when * DAY).astype("datetime64[us]")
        month = stamp.astype("datetime64[M]").astype(np.int64) % MONTHS
        weekday = (stamp.astype("datetime64[D]").astype(np.int64) + 3) % WEEKDAYS  # 1970 began on a Thursday
        return [scaled(when, record)], [np.where(gaps, MISSING, part + KNOWN) for part in (month, weekday)]
    text = words(column)
    place = pc.index_in(text, value_set=pa.array(record["categories"], pa.string()))
    known = ~nulls(place)
    codes = np.where(known, np.asarray(place.fill_null(0).to_numpy()).astype(np.int64) + KNOWN, UNSEEN)
    return [], [np.where(nulls(text), MISSING, codes)]


def _dates(column: pa.ChunkedArray, name: str, where: str, first: Start, infinite: str = "error") -> np.ndarray:
    found = days(column) if not pa.types.is_null(column.type) else np.full(len(column), np.nan)
    if found is None:
        raise DataError(f"{where}, column {name!r} holds what is no date: {column.drop_null()[0].as_py()!r}, ...\n"
                        f"  Try: dates as 2024-01-31 or 2024-01-31 12:30:00")
    return found


def width(record: Record) -> tuple[int, list[int]]:
    """Numbers and the cardinalities of the codes that a column becomes."""
    kind = record["kind"]
    if kind == "left out":
        return 0, []
    if kind == "numeric":
        return 1, []
    return (1, [MONTHS + KNOWN, WEEKDAYS + KNOWN]) if kind == "date" else (0, [len(record["categories"]) + KNOWN])
