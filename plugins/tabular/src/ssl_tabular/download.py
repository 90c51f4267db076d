"""Fetching public tables. Nothing here runs unless a user says `data.download=true`."""
from __future__ import annotations

from pathlib import Path

from ssl_core import DataError
from ssl_core.files import atomically


def openml(number: int, path: Path) -> None:
    """A data set of OpenML by its number, as Parquet, whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet
    from sklearn.datasets import fetch_openml
    try:
        frame = fetch_openml(data_id=number, as_frame=True, parser="pandas", cache=False).frame
    except (OSError, ValueError) as error:
        raise DataError(f"cannot fetch data set {number} of OpenML: {error}\n  Try: fetching it by hand into {path}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    atomically(path, lambda beside: parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), beside))
