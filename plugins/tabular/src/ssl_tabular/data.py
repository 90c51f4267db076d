"""Data sets of table rows. Each is a function whose parameters are its options: `data=adult data.scale=minmax`."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ssl_core import Data, DataError

from . import readers, schema as schemas
from .columns import Scale, Start
from .findings import findings, raw_columns
from .pairs import halves, images_of, joined
from .rows import RowBatches, Rows, features

CACHE = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser() / "tabular"
Task = Literal["auto", "classes", "quantity"]
Learn = Literal["train", "all"]
UNDER_HEADER = Start("line", 2)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the columns of a table are to be understood.

    Args:
        target: column of labels; "" for none.
        task: whether labels are classes or a quantity.
        kinds: of the columns whose kind is not to be inferred.
        scale: of numbers: `quantile` to normal scores, `standard`, `minmax` to [0, 1]; by the training rows.
        max_categories: of one column; rarer ones share a code.
        missing: texts that stand for a missing value.
        infinite: what an infinite number is.
        learn: rows to train on: those of the training fold, or `all` (labels are not used, but such scores are transductive).
    """

    target: str = ""
    task: Task = "auto"
    kinds: Mapping[str, str] = field(default_factory=dict)
    scale: Scale = "quantile"
    max_categories: int = 256
    missing: Sequence[str] = readers.GAPS
    infinite: Literal["error", "missing"] = "error"
    learn: Learn = "train"


def from_table(table: pa.Table, where: str, reading: Reading, *, batch_size: int, seed: int, first: Start = UNDER_HEADER,
               official: Mapping[str, np.ndarray] | None = None, schema: Mapping[str, Any] | None = None) -> Data:
    """The record of a table.

    Args:
        where: what to call it in messages.
        first: where its first row stands, for messages.
        official: positions of given folds; without a validation fold, a fifth of the training fold is taken by `seed`.
        schema: of the table that an encoder was trained on, to read these rows by; no scale or category is learned then.
    """
    n = table.num_rows
    if n < (1 if schema else 2):
        raise DataError(f"{where} holds {n} row{'' if n == 1 else 's'}; two or more are needed to learn anything")
    if batch_size < 2:
        raise DataError(f"data.batch_size should be 2 or more, got {batch_size}")
    if schema:
        target = schema["target"] if schema["target"] and schema["target"]["name"] in table.column_names else None
    else:
        target = schemas.target_of(table, reading.target, reading.task, where, first)
    folds = split(n, seed, where, official, needed=target is not None and not schema)
    train = folds["train"].numpy() if target is not None and n > 2 else np.arange(n)
    labels = None
    if target is not None:
        labels = schemas.labels_of(table, target, where, first, None if schema else train)
    found = dict(schema) if schema else schemas.fit(
        table, where, first, train, kinds=reading.kinds, target=reading.target, labels=target, scale=reading.scale,
        max_categories=reading.max_categories, missing=reading.missing, infinite=reading.infinite)
    rows, left = schemas.encode(table, found, where, first)
    learned = torch.from_numpy(train) if reading.learn == "train" else torch.arange(n)
    return record(rows, labels, folds if labels is not None else {}, found, learned, batch_size, left)


def record(rows: Rows, labels: Tensor | None, folds: dict[str, Tensor], schema: dict[str, Any], learned: Tensor,
           batch_size: int, left: Sequence[tuple[str, str]] = ()) -> Data:
    """The `Data` of encoded rows; `learned`: positions of the rows to train on."""
    facts, gaps = schemas.facts(schema), rows.missing.any(dim=0)
    unknown = 0 if labels is None else int((~labels.isfinite() if labels.is_floating_point() else labels < 0).sum())
    said = [(f"{unknown} rows", "no known label: not scored")] if unknown else []
    cut = range(0, rows.size, batch_size)
    return Data(
        train=RowBatches(rows, learned, batch_size), size=len(learned), labels=labels, folds=folds, facts=facts, schema=schema,
        items=[rows.take(slice(start, start + batch_size)) for start in cut], skipped=[*left, *said],
        raw=lambda batch: torch.cat([features(batch, facts["cardinalities"]), batch.missing[:, gaps].float()], dim=1),
        preview=lambda batch, chosen: schemas.shown(batch, schema, chosen), classes=(schema["target"] or {}).get("classes"),
        columns=raw_columns(schema, facts["cardinalities"], gaps), findings=lambda: findings(rows, schema, labels, folds),
        fingerprint=fingerprint(*rows, *(() if labels is None else (labels,))))


def split(n: int, seed: int, where: str, official: Mapping[str, np.ndarray] | None, needed: bool) -> dict[str, Tensor]:
    """Positions of the folds: 64 % train, 16 % validation, 20 % test by `seed`, or the given ones."""
    if needed and n < 3:
        raise DataError(f"{where} holds {n} rows; labels need three folds, so three rows or more")
    g = torch.Generator().manual_seed(seed)
    if official is None:
        order = torch.randperm(n, generator=g)
        test, both = order[: max(1, round(n * 0.2))], order[max(1, round(n * 0.2)):]
    else:
        test = torch.from_numpy(official["test"])
        both = torch.from_numpy(official["train"])[torch.randperm(len(official["train"]), generator=g)]
    held = max(1, round(len(both) * 0.2)) if len(both) > 1 else 0
    return {"train": both[held:], "validation": both[:held], "test": test}


def fingerprint(*tensors: Tensor) -> str:
    """A short hash of the content."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def read(source: Any, target: str = "", task: Task = "auto", categorical: tuple[str, ...] = (), numeric: tuple[str, ...] = (),
         dates: tuple[str, ...] = (), drop: tuple[str, ...] = (), missing: tuple[str, ...] = (), delimiter: str = "",
         encoding: str = "utf-8", header: bool = True, scale: Scale = "quantile", max_categories: int = 256,
         infinite: Literal["error", "missing"] = "error", learn: Learn = "train", batch_size: int = 256, seed: int = 0,
         stream: bool = False, sample: int = 200_000, mix: int = 4, schema: dict[str, Any] | None = None) -> Data:
    """The user's own table: CSV, TSV, Parquet, Arrow, a pandas or polars DataFrame, an array. Its folds are drawn by `seed`.

    Rows with an image each are a folder with one table and one `.npy` or `.npz` of `images`, or a pair of table and array.
    Another folder of tables is read as a lake, whose items are columns; see `lake.read`.

    Args:
        source: the path or the object.
        target: the column that holds the labels; "" for none.
        task: `classes`, `quantity`, or `auto`: text, booleans and few whole numbers are classes.
        categorical, numeric, dates: columns whose kind is not to be inferred.
        drop: columns to leave out.
        missing: further texts that stand for a missing value, beside `?`, `NA`, nothing, ...
        delimiter: of text files; empty: found out.
        encoding: of text files.
        header: whether the first line of a text file names the columns.
        scale: of numbers: `quantile` to normal scores, `standard`, `minmax`; by the training rows.
        max_categories: of one column; rarer ones share a code.
        infinite: `missing` to read infinite numbers as missing.
        learn: `train`: train on the rows of the training fold, `all`: on every row (transductive).
        batch_size: rows in a batch.
        seed: of the 64/16/20 split.
        stream: leave the table on disk and read it row group by row group: Parquet, one file or a folder of them.
        sample: with `stream`, training rows, drawn at random, to learn scales and categories from.
        mix: with `stream`, row groups that are in memory at a time; training batches are mixed among them.
        schema: given back by the core when an encoder is used on other rows.

    Raises:
        DataError: what is wrong, in which file, line and column.
    """
    where = str(source) if isinstance(source, (str, Path)) else "the table in memory"
    known = dict(schema) if schema else {}
    gaps = tuple(known.get("missing") or (*readers.GAPS, *missing))
    chosen = [*categorical, *numeric, *dates]
    if len(set(chosen)) < len(chosen):
        raise DataError(f"a column stands in two of data.categorical, data.numeric and data.dates: {', '.join(chosen)}")
    kinds = dict.fromkeys(categorical, "categorical") | dict.fromkeys(numeric, "numeric") | dict.fromkeys(dates, "date")
    reading = Reading(target=target, task=task, kinds=kinds, scale=scale, max_categories=max_categories, missing=gaps,
                      infinite=infinite, learn=learn)
    if stream:
        from .streaming import read as streamed
        if not isinstance(source, (str, Path)) or mix < 1 or sample < 2 or batch_size < 2:
            raise DataError("data.stream=true needs a path, and data.mix of 1, data.sample and data.batch_size of 2 or more")
        return streamed(Path(source), reading, kinds, split, drop=drop, batch_size=batch_size, seed=seed, sample=sample,
                        mix=mix, schema=known)
    both = halves(source)
    if both is None and isinstance(source, (str, Path)) and Path(source).is_dir():
        from .lake import read as tables
        return tables(Path(source), gaps, seed=seed)
    source, images = both or (source, None)
    table = readers.table(source, where, delimiter=delimiter, encoding=encoding, header=header, missing=gaps, drop=drop)
    lines = isinstance(source, (str, Path)) and readers.is_text(Path(source))
    first = (UNDER_HEADER if header else Start("line", 1)) if lines else Start()
    found = from_table(table, where, reading, batch_size=batch_size, seed=seed, first=first, schema=known)
    return found if both is None else joined(found, images_of(images, where), where)


def breast_cancer(scale: Scale = "quantile", learn: Learn = "train", batch_size: int = 128, seed: int = 0) -> Data:
    """scikit-learn's breast cancer: 569 real tumours, 30 numbers each, malignant or benign.

    Args:
        scale, learn, batch_size, seed: see `read`.
    """
    from sklearn.datasets import load_breast_cancer
    found = load_breast_cancer()
    columns = {str(name): found.data[:, i] for i, name in enumerate(found.feature_names)}
    table = pa.table(columns | {"diagnosis": found.target_names[found.target].astype(object)})
    return from_table(table, "breast-cancer", Reading(target="diagnosis", scale=scale, learn=learn), batch_size=batch_size,
                      seed=seed, first=Start())


def locate(root: Path | None, name: str, file: str) -> Path:
    """The file called `file` anywhere under `root`.

    Raises:
        DataError: it is not there.
    """
    folder = Path(root).expanduser() if root else CACHE
    for found in sorted(folder.rglob(file)) if folder.is_dir() else ():
        return found
    raise DataError(f"{name} is not there: no {file} under {folder}.\n  Try: data.root=FOLDER, the folder that holds it")


ADULT = ("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship", "race",
         "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income")


def adult(root: Path | None = None, scale: Scale = "quantile", learn: Learn = "train", batch_size: int = 512, seed: int = 0
          ) -> Data:
    """Adult (UCI): 48,842 people, 6 numbers and 8 categories, income above 50K or not; official test rows.

    Args:
        root: folder with `adult.data` and `adult.test`.
        scale, learn, batch_size, seed: see `read`; the validation fold is a fifth of the official training rows.
    """
    parts = [readers.tidy(readers.text(locate(root, "adult", file), ",", "utf-8", False, readers.GAPS, ADULT), file,
                          readers.GAPS) for file in ("adult.data", "adult.test")]
    parts = [part.filter(pc.is_valid(part["income"])) for part in parts]  # UCI's test file opens with a remark
    both = pa.concat_tables(parts, promote_options="permissive")
    income = pc.utf8_rtrim(both["income"], ".")  # labels of the test file end in a full stop
    both = both.set_column(both.column_names.index("income"), "income", income)
    n = parts[0].num_rows
    return from_table(both, "adult", Reading(target="income", scale=scale, learn=learn), batch_size=batch_size, seed=seed,
                      first=Start("line", 1), official={"train": np.arange(n), "test": np.arange(n, both.num_rows)})


def from_file(name: str, file: str, target: str, drop: Sequence[str] = ()) -> Callable[..., Data]:
    """A data set that is one text file with a header."""
    def load(root: Path | None = None, scale: Scale = "quantile", learn: Learn = "train", batch_size: int = 512, seed: int = 0
             ) -> Data:
        path = locate(root, name, file)
        table = readers.table(path, str(path), drop=drop)
        return from_table(table, str(path), Reading(target=target, scale=scale, learn=learn), batch_size=batch_size, seed=seed)
    load.__doc__ = f"{name}: {file} under `root`. Options as in `read`; 64/16/20 split by `seed`."
    load.__name__ = load.__qualname__ = name
    return load


california = from_file("california", "housing.csv", "median_house_value", drop=("ocean_proximity",))  # as T-JEPA has it
letter = from_file("letter", "letter-recognition.csv", "Letter")
hypothyroid = from_file("hypothyroid", "hypothyroid.csv", "Class")


def from_openml(name: str, number: int, target: str) -> Callable[..., Data]:
    """A data set of OpenML, kept as Parquet under `root` once it was fetched."""
    def load(root: Path | None = None, download: bool = False, scale: Scale = "quantile", learn: Learn = "train",
             batch_size: int = 512, seed: int = 0) -> Data:
        from .download import openml
        folder = Path(root).expanduser() if root else CACHE
        path = next(iter(sorted(folder.rglob(f"{name}.parquet"))), folder / f"{name}.parquet") if folder.is_dir() else \
            folder / f"{name}.parquet"
        if not path.exists():
            if not download:
                raise DataError(f"{name} is not there: no {name}.parquet under {folder}.\n"
                                f"  Try: data.download=true fetches it from OpenML, or data.root=FOLDER")
            openml(number, path)
        table = readers.table(path, str(path))
        return from_table(table, str(path), Reading(target=target, task="classes", scale=scale, learn=learn),
                          batch_size=batch_size, seed=seed, first=Start())
    load.__doc__ = f"{name} (OpenML {number}), fetched if `download` is true. Options as in `read`; 64/16/20 split by `seed`."
    load.__name__ = load.__qualname__ = name
    return load


jannis, helena = from_openml("jannis", 41168, "class"), from_openml("helena", 41169, "class")
higgs, aloi = from_openml("higgs", 23512, "class"), from_openml("aloi", 42396, "target")
covertype = from_openml("covertype", 1596, "class")
