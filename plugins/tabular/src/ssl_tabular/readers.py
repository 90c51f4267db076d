"""Files and objects that hold tables, read into an Arrow table without running anything that is in them.

Whatever does not fit is named with its file, line and column.
"""
from __future__ import annotations

import csv as plain_csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, feather, parquet

from ssl_core import DataError
from ssl_core.errors import nearest
from ssl_core.opening import gunzip, room

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
GAPS = ("", "?", "NA", "N/A", "#N/A", "nan", "NaN", "null", "NULL")
TEXT, PARQUET, ARROW = (".csv", ".tsv", ".tab", ".txt", ".data", ".test"), (".parquet", ".pq"), (".arrow", ".feather", ".ipc")


def table(source: Any, where: str, *, delimiter: str = "", encoding: str = "utf-8", header: bool = True,
          missing: Sequence[str] = GAPS, drop: Sequence[str] = ()) -> pa.Table:
    """The table in a file or in memory, with distinct column names and trimmed text.

    Args:
        source: a path to CSV, TSV, Parquet, Arrow; a pandas or polars DataFrame, an Arrow table, an array (rows, columns).
        where: what to call it in messages.
        delimiter: of text files; empty: found out.
        encoding: of text files.
        header: whether the first line of a text file names the columns.
        missing: texts that stand for a missing value.
        drop: names of columns to leave out.

    Raises:
        DataError: what is wrong, in which file, line and column.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        kind = Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
        if path.is_dir():
            raise DataError(f"{where} is a folder; a table is one file.\n  Try: data={where}/FILE.csv")
        if kind in PARQUET or kind in ARROW:
            found = _binary(path, _parquet if kind in PARQUET else feather.read_table)
        elif kind in TEXT:
            found = text(path, delimiter, encoding, header, missing)
        else:
            raise DataError(f"{where}: tables are read from {', '.join(TEXT + PARQUET + ARROW)} (text also as .gz), "
                            f"not from {kind or 'a file without an ending'}")
    else:
        found = in_memory(source, where)
    gone = [name for name in drop if name not in found.column_names]
    if gone:
        raise DataError(f"{where} has no column {gone[0]!r} to drop{nearest(gone[0], found.column_names)}")
    return tidy(found.select([i for i, name in enumerate(found.column_names) if name not in drop]), where, missing)


def is_text(path: Path) -> bool:
    """Whether a path, by its name, is delimited text."""
    return (Path(path.stem).suffix if path.suffix == ".gz" else path.suffix).lower() in TEXT


def _binary(path: Path, read: Any) -> pa.Table:
    try:
        return read(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from error


def _parquet(path: Path) -> pa.Table:
    with parquet.ParquetFile(path) as file:
        room(path, file.metadata.num_rows * file.metadata.num_columns * 8)  # a run of equal cells takes no place in the file
        return file.read()


def in_memory(source: Any, where: str) -> pa.Table:
    """A DataFrame of pandas or polars, an Arrow table, or an array as an Arrow table."""
    if isinstance(source, pa.Table):
        return source
    if hasattr(source, "to_arrow"):  # polars
        return source.to_arrow()
    import pandas as pd
    if not isinstance(source, pd.DataFrame):
        array = np.asarray(source)
        if array.ndim != 2:
            raise DataError(f"{where} is a {type(source).__name__}; expected a DataFrame, or an array of rows and columns")
        if array.dtype.kind in "fiub":
            columns = [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in array.T]
            return pa.table(columns, names=[str(i) for i in range(len(columns))])
        source = pd.DataFrame(array, columns=[str(i) for i in range(array.shape[1])])
    names = [str(name) for name in source.columns]
    arrays = []
    for i, name in enumerate(names):
        column = source.iloc[:, i]
        try:
            arrays.append(pa.array(column, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column of mixed objects: as text, to be judged like text
            words = [None if gap else str(value) for gap, value in zip(column.isna(), column, strict=True)]
            arrays.append(pa.array(words, pa.string()))
        except pa.ArrowException as error:
            raise DataError(f"{where}, column {name!r}: {error}") from error
    return pa.Table.from_arrays(arrays, names=names)


def text(path: Path, delimiter: str, encoding: str, header: bool, missing: Sequence[str],
         names: Sequence[str] | None = None) -> pa.Table:
    """Delimited text. Each line has as many cells as the first; a line that has not is an error, never skipped.

    Args:
        names: of the columns, for files without a header.
    """
    cut = delimiter or sniff(path, encoding)
    bad: list[Any] = []

    def ragged(row: Any) -> str:
        bad.append(row)
        return "skip"

    def load(handler: Any = None) -> pa.Table:
        return csv.read_csv(
            gunzip(path) if path.suffix == ".gz" else path,
            csv.ReadOptions(use_threads=False, block_size=2**25, encoding=encoding, column_names=list(names) if names else None,
                            autogenerate_column_names=not header and not names),
            csv.ParseOptions(delimiter=cut, newlines_in_values=True, invalid_row_handler=handler),
            csv.ConvertOptions(null_values=[*missing, *(f" {word}" for word in missing)], strings_can_be_null=True))

    try:
        try:
            found = load()
        except pa.ArrowInvalid:  # a handler of rows sees their text, and Arrow prints a traceback where that is no UTF-8
            _undecodable(path, encoding, cut)
            found = load(ragged)
    except (pa.ArrowException, UnicodeDecodeError, LookupError, OSError) as error:
        _undecodable(path, encoding, cut)
        raise DataError(f"{path} cannot be read as text cut at {DELIMITERS.get(cut, repr(cut))}: "
                        f"{str(error).splitlines()[0]}") from error
    if bad:
        raise DataError(f"{path}, line {bad[0].number or '?'}: {bad[0].actual_columns} cells, the first line has "
                        f"{bad[0].expected_columns} ({len(bad)} such lines): {bad[0].text[:80]!r}\n"
                        f"  Try: mending that line, or data.delimiter=... if it is not {DELIMITERS.get(cut, repr(cut))}")
    if any(pa.types.is_binary(kind) for kind in found.schema.types):
        _undecodable(path, encoding, cut)
    if found.num_columns == 1 and (other := next((d for d in DELIMITERS if d != cut and d in found.column_names[0]), "")):
        raise DataError(f"{path} holds one column when cut at {DELIMITERS.get(cut, repr(cut))}; its first line also holds "
                        f"{DELIMITERS[other]}.\n  Try: data.delimiter={other!r}")
    if header and not names:
        _real_header(path, found)
    return found


def _real_header(path: Path, found: pa.Table) -> None:
    """A first line of numbers other than 0, 1, 2, ... is no header but the first row."""
    numbers = [_number(name) for name in found.column_names]
    counts = [list(range(start, start + len(numbers))) for start in (0, 1)]
    if None not in numbers and numbers not in counts:
        raise DataError(f"{path}: the first line, {', '.join(found.column_names[:4])}, ..., holds numbers, not names of "
                        f"columns.\n  Try: data.header=false")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _open(path: Path) -> IO[bytes]:
    return gunzip(path) if path.suffix == ".gz" else path.open("rb")


def sniff(path: Path, encoding: str = "utf-8") -> str:
    """The delimiter that cuts the first lines into most cells, the same number in each; a tab for .tsv, else a comma."""
    try:
        with _open(path) as file:
            lines = [line for line in file.read(2**18).decode(encoding, "replace").splitlines()[:20] if line.strip()]
    except (OSError, LookupError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not lines:
        raise DataError(f"{path} is empty")
    lines = lines[:-1] if len(lines) > 2 else lines  # the last one may be cut short
    best, cells = "\t" if ".tsv" in path.suffixes or ".tab" in path.suffixes else ",", (0.0, 1)
    for delimiter in DELIMITERS:
        try:
            counts = Counter(len(row) for row in plain_csv.reader(lines, delimiter=delimiter))
        except plain_csv.Error as error:  # a cell longer than any cell should be
            raise DataError(f"{path} cannot be read as text cut at {DELIMITERS[delimiter]}: {error}") from error
        usual, times = counts.most_common(1)[0]
        if usual > 1 and (times / len(lines), usual) > cells:
            best, cells = delimiter, (times / len(lines), usual)
    return best


def _undecodable(path: Path, encoding: str, delimiter: str) -> None:
    """Name the first byte that the encoding does not know, if there is one."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except LookupError as error:
                raise DataError(f"there is no encoding {encoding!r} (data.encoding)") from error
            except UnicodeDecodeError as error:
                column = line[: error.start].count(delimiter.encode()) + 1
                raise DataError(f"{path}, line {number}, column {column}: the byte 0x{line[error.start]:02x} is not {encoding}."
                                f"\n  Try: data.encoding=latin-1, or saving the file as UTF-8") from error


def tidy(found: pa.Table, where: str, missing: Sequence[str]) -> pa.Table:
    """Distinct names, text as trimmed strings, markers of missing values as nulls; nested columns are refused."""
    names = [str(name).strip() or f"column {i + 1}" for i, name in enumerate(found.column_names)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        places = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
        raise DataError(f"{where}: {len(twice)} column names stand more than once: {twice[0]!r} is column "
                        f"{' and '.join(places)}.\n  Try: renaming one of them")
    gaps, columns = pa.array(list(missing), pa.string()), []
    for name, column in zip(names, found.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise DataError(f"{where}, column {name!r} holds {kind}, which is no cell of a table.\n  Try: data.drop=[{name}]")
        column = column.cast(kind) if kind is not column.type else column
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            column = pc.utf8_trim_whitespace(column.cast(pa.string()))
            column = pc.if_else(pc.is_in(column, value_set=gaps), pa.scalar(None, pa.string()), column)
        elif pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        columns.append(column)
    return pa.Table.from_arrays(columns, names=names)
