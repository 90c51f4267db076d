"""Tables larger than memory: Parquet files read row group by row group, of which a few are in memory at a time.

Labels, one number per row, are held; so are the features of all rows when they are scored.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from ssl_core import Data, DataError
from ssl_core.errors import nearest

from . import readers, schema as schemas
from .columns import Start
from .rows import Rows, features, join

FOOTER = 2**16  # bytes at the end of a file that tell one content from another


class Parts:
    """The row groups of one Parquet file, or of a folder of them with the same columns, as one table.

    Args:
        source: the file or the folder.
        drop: columns to leave out.
        missing: texts that stand for a missing value.

    Raises:
        DataError: no such file, files with other columns than the first, no column to drop.
    """

    def __init__(self, source: Path, drop: Sequence[str], missing: Sequence[str]) -> None:
        self.source, self.missing = source, missing
        files = sorted(path for path in source.rglob("*") if path.suffix in readers.PARQUET) if source.is_dir() else [source]
        if not files or source.is_file() and source.suffix not in readers.PARQUET:
            raise DataError(f"{source}: data.stream=true reads Parquet, {' or '.join(readers.PARQUET)}, a file or a folder of "
                            f"them.\n  Try: writing the table as Parquet, or data.stream=false")
        self.groups: list[tuple[Path, int]] = []
        starts, names = [0], None
        for path in files:
            found = self._open(path)
            names = names or found.schema_arrow.names
            if found.schema_arrow.names != names:
                raise DataError(f"{path} has the columns {', '.join(found.schema_arrow.names[:8])}; {files[0].name} has "
                                f"{', '.join(names[:8])}.\n  Try: one folder for each table")
            for group in range(found.num_row_groups):
                self.groups.append((path, group))
                starts.append(starts[-1] + found.metadata.row_group(group).num_rows)
            found.close()
        gone = [name for name in drop if name not in (names or ())]
        if gone:
            raise DataError(f"{source} has no column {gone[0]!r} to drop{nearest(gone[0], names or ())}")
        self.names, self.starts, self.files = [name for name in names or () if name not in drop], starts, files

    @property
    def rows(self) -> int:
        return self.starts[-1]

    @staticmethod
    def _open(path: Path) -> parquet.ParquetFile:
        try:
            return parquet.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error

    def read(self, index: int, names: Sequence[str] | None = None) -> pa.Table:
        """One row group, or some of its columns."""
        path, group = self.groups[index]
        with self._open(path) as file:
            try:
                found = file.read_row_group(group, list(names or self.names))
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}, row group {group}: {str(error).splitlines()[0]}") from error
        return readers.tidy(found, str(path), self.missing)

    def take(self, positions: np.ndarray) -> pa.Table:
        """Rows at rising positions of the whole table."""
        parts = []
        for index, (start, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            some = positions[np.searchsorted(positions, start):np.searchsorted(positions, end)] - start
            if len(some):
                parts.append(self.read(index).take(pa.array(some)))
        return pa.concat_tables(parts, promote_options="permissive")

    def column(self, name: str) -> pa.Table:
        """One column, whole."""
        return pa.concat_tables([self.read(index, [name]) for index in range(len(self.groups))], promote_options="permissive")

    def fingerprint(self) -> str:
        """A short hash of sizes and footers, which hold the counts and the bounds of every column."""
        found = hashlib.sha256()
        for path in self.files:
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - FOOTER))
                found.update(f"{path.name} {size}".encode() + file.read())
        return found.hexdigest()[:16]


class Stream:
    """All rows in their order, in batches; read anew each time it is iterated.

    Args:
        parts: the table.
        schema: by which its rows are read.
        batch_size: rows in a batch, at most.
    """

    def __init__(self, parts: Parts, schema: schemas.Schema, batch_size: int) -> None:
        self.parts, self.schema, self.batch_size = parts, schema, batch_size

    def group(self, index: int) -> Rows:
        """The rows of one row group."""
        where = str(self.parts.groups[index][0])
        return schemas.encode(self.parts.read(index), self.schema, where, Start("row", self.parts.starts[index] + 1))[0]

    def __iter__(self) -> Iterator[Rows]:
        for index in range(len(self.parts.groups)):
            rows = self.group(index)
            for start in range(0, rows.size, self.batch_size):
                yield rows.take(slice(start, start + self.batch_size))


class ShuffledStream:
    """Shuffled batches of the training rows: row groups in random order, their rows mixed `mix` groups at a time.

    It can be put back to where it was (`state_dict`), which reads one window of row groups, not all that came before. All
    batches have the same size, give or take one row.

    Args:
        stream: the table.
        chosen: (N,) bool, the rows to learn from.
        mix: row groups in memory at a time.
    """

    def __init__(self, stream: Stream, chosen: Tensor, mix: int) -> None:
        self.stream, self.chosen, self.mix = stream, chosen, mix
        self.size = int(chosen.sum())
        self.state: dict[str, Any] = {}  # where the epoch in hand stands
        self.resumed: dict[str, Any] = {}  # where the next one is to begin

    def __len__(self) -> int:
        return -(-self.size // self.stream.batch_size)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.resumed = dict(state)

    def __iter__(self) -> Iterator[Rows]:
        sizes = [len(part) for part in np.array_split(np.empty(self.size), len(self))]
        state, self.resumed = self.resumed, {}
        if not state:
            order = torch.randperm(len(self.stream.parts.groups)).tolist()
            state = {"order": order, "window": 0, "carried": None, "done": 0, "given": 0, "random": torch.get_rng_state()}
        torch.set_rng_state(state["random"])
        while state["done"] < len(sizes):
            last = state["window"] + self.mix >= len(state["order"])
            rows = self._window(state)
            skip, state["given"], start, i = state["given"], 0, 0, state["done"]
            while i < len(sizes) and (start + sizes[i] <= rows.size or last):
                state["given"] += 1
                self.state = {**state}
                if state["given"] > skip:
                    yield rows.take(slice(start, start + sizes[i]))
                start, i = start + sizes[i], i + 1
            state = state | {"window": state["window"] + self.mix, "carried": tuple(rows.take(slice(start, None))), "done": i,
                             "given": 0, "random": torch.get_rng_state()}

    def _window(self, state: Mapping[str, Any]) -> Rows:
        """The training rows of some row groups, and those left from before, mixed."""
        held = [] if state["carried"] is None else [Rows(*state["carried"])]
        for index in state["order"][state["window"]:state["window"] + self.mix]:
            start, end = self.stream.parts.starts[index:index + 2]
            wanted = self.chosen[start:end]
            if wanted.any():
                held.append(self.stream.group(index).take(wanted))
        rows = join(held)
        return rows.take(torch.randperm(rows.size))


def read(source: Path, reading: Any, kinds: Mapping[str, str], split: Any, *, drop: Sequence[str], batch_size: int, seed: int,
         sample: int, mix: int, schema: Mapping[str, Any]) -> Data:
    """The record of a table that stays on disk; see `ssl_tabular.data.read`.

    Args:
        split: rows, seed, ... -> positions of the folds.
        sample: training rows to learn scales and categories from, drawn at random.
        mix: row groups that are in memory at a time.
    """
    where = str(source)
    parts = Parts(source, drop, reading.missing)
    if parts.rows < 2:
        raise DataError(f"{where} holds {parts.rows} rows; two or more are needed to learn anything")
    labels, target = None, schema["target"] if schema else None
    if schema and target and target["name"] not in parts.names:
        target = None
    if not schema and reading.target:
        if reading.target not in parts.names:
            raise DataError(f"{where} has no column {reading.target!r} for data.target{nearest(reading.target, parts.names)}")
        target = schemas.target_of(parts.column(reading.target), reading.target, reading.task, where, Start())
    folds = split(parts.rows, seed, where, None, target is not None and not schema)
    train = np.sort(folds["train"].numpy()) if target is not None else np.arange(parts.rows)
    if target is not None:
        labels = schemas.labels_of(parts.column(target["name"]), target, where, Start(), None if schema else train)
    some = np.sort(np.random.default_rng(seed).choice(train, min(sample, len(train)), replace=False))
    learned = parts.take(some)
    found = dict(schema) if schema else schemas.fit(
        learned, f"{where}, {len(some)} of its training rows", Start(), np.arange(len(some)), kinds=kinds,
        target=reading.target, labels=target, scale=reading.scale, max_categories=reading.max_categories,
        missing=reading.missing, infinite=reading.infinite)
    rows, left = schemas.encode(learned, found, where, Start())
    gaps, facts = rows.missing.any(dim=0), schemas.facts(found)
    chosen = torch.zeros(parts.rows, dtype=torch.bool)
    chosen[torch.from_numpy(train) if reading.learn == "train" else slice(None)] = True
    stream = Stream(parts, found, batch_size)
    unknown = 0 if labels is None else int((~labels.isfinite() if labels.is_floating_point() else labels < 0).sum())
    return Data(
        train=ShuffledStream(stream, chosen, mix), size=int(chosen.sum()), items=stream, labels=labels,
        folds=folds if labels is not None else {}, facts=facts, schema=found,
        raw=lambda batch: torch.cat([features(batch, facts["cardinalities"]), batch.missing[:, gaps].float()], dim=1),
        preview=lambda batch, positions: schemas.shown(batch, found, positions), classes=(target or {}).get("classes"),
        skipped=[*left, *([(f"{unknown} rows", "no known label: not scored")] if unknown else [])],
        fingerprint=parts.fingerprint())
