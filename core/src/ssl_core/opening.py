"""Opening files that somebody else made: nothing in them is run, and none of them unpacks to more than a limit.

The limit is 16 GiB a file, or half of the memory where that is less; SSL_CORE_UNPACKED_GB in the environment sets another.
"""
from __future__ import annotations

import gzip
import io
import math
import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConfigError, DataError

VARIABLE, USUAL = "SSL_CORE_UNPACKED_GB", 2**34


def limit() -> int:
    """Bytes that one file may unpack to."""
    given = os.environ.get(VARIABLE)
    if given is None:
        known = hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(os.sysconf_names)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 2**35
        return min(USUAL, memory // 2)
    try:
        return int(float(given) * 2**30)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{VARIABLE} should be a number of GiB, is {given!r}") from error


def room(path: Path | str, size: int) -> None:
    """Refuse what is larger than the limit, before anything of that size is made.

    Raises:
        DataError: the file unpacks to more.
    """
    if size > limit():
        raise DataError(f"{path} unpacks to {size / 2**30:.1f} GiB or more; {limit() / 2**30:g} GiB are allowed.\n"
                        f"  Try: {VARIABLE}={math.ceil(size / 2**30)}, if you trust the file and have the memory")


def zipped(path: Path) -> bool:
    """Whether a file is a zip archive. One that would unpack to more than the limit is refused."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        room(path, sum(entry.file_size for entry in archive.infolist()))
    return True


def arrays(path: Path, plain: Sequence[str] = ()) -> dict[str, Any]:
    """The arrays of an `.npz` by name, or the one of an `.npy` under "". Those that hold Python objects are left out.

    Args:
        path: the file.
        plain: arrays that must not hold objects.

    Raises:
        DataError: it cannot be read, or unpacks to more than the limit.
    """
    try:
        if not zipped(path):
            return {"": np.array(np.lib.format.open_memmap(path, mode="r"))}  # mapped: a lie about its size is seen
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: array for name in file.files if (array := _plain(file, name, name in plain)) is not None}
    except DataError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged files
        raise DataError(f"{path} cannot be read as {path.suffix}: {str(error) or type(error).__name__}") from error


def _plain(file: Any, name: str, must: bool) -> Any:
    """An array of an `.npz`; None if it could only be had by unpickling."""
    try:
        return file[name]
    except ValueError as error:
        if "Object arrays" in str(error) and not must:
            return None
        raise


class _Bounded(io.RawIOBase):
    """A decompressing file that stops at the limit."""

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path, self.count = file, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            read = int(self.file.readinto(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path} cannot be unpacked: {error}") from error
        self.count += read
        room(self.path, self.count)
        return read

    def close(self) -> None:
        self.file.close()
        super().close()


def gunzip(path: Path) -> io.BufferedReader:
    """A gzipped file, unpacked while it is read.

    Raises:
        DataError: while reading: it is damaged, or holds more than the limit.
    """
    return io.BufferedReader(_Bounded(gzip.open(path), path))


class _Type:
    """The type of a pickled array. numpy's own would let a file pass off bytes as pointers to objects."""

    def __init__(self, word: Any, *_: Any) -> None:
        self.word, self.order = word.decode("latin1") if isinstance(word, bytes) else word, "="

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def numpy(self) -> Any:
        if not isinstance(self.word, str) or self.word[:1] not in "biufcSU" or self.order not in "=<>|":
            raise DataError(f"an array of {self.word!r} holds more than numbers and text")
        return np.dtype(self.word).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array(np.ndarray):
    """A pickled array, built from bytes whose number was checked."""

    def __setstate__(self, state: Any) -> None:
        shape, kind, fortran, raw = state[-4:]
        made = _numbers(raw, kind, shape)
        super().__setstate__((1, made.shape, made.dtype, bool(fortran), made.tobytes()))  # type: ignore[arg-type]


def _numbers(raw: Any, kind: Any, shape: Any, order: str = "C") -> Any:
    if not isinstance(kind, _Type):
        raise DataError("an array in it has no type")
    raw = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    return np.frombuffer(raw, kind.numpy()).reshape(tuple(map(int, shape)), order=order)  # type: ignore[call-overload]


HARMLESS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type, ("numpy", "ndarray"): "ndarray",  # only ever handed on to _reconstruct
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
} | {(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: np.ndarray.__new__(_Array, (0,)) for core in ("core", "_core")
     } | {(f"numpy.{core}.numeric", "_frombuffer"): _numbers for core in ("core", "_core")}


class _Arrays(pickle._Unpickler):
    """Reads arrays and plain containers, and refuses to look up anything else.

    Python's own, not the one in C: there a few bytes that number an object make a table of as many entries.
    """

    def __init__(self, content: bytes, encoding: str, known: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(content), encoding=encoding)
        self.known = known

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise DataError(f"the pickle asks for {module}.{name}, which is no array; it is not opened")
        return self.known[module, name]


def unpickled(path: Path, encoding: str = "latin1", also: Mapping[tuple[str, str], Any] | None = None) -> Any:
    """What an old pickle of arrays and plain containers holds, by an unpickler that knows nothing else.

    Args:
        path: the file.
        encoding: of the text of Python 2: `latin1`, or `bytes` to leave it as it is.
        also: further (module, name) that it may ask for, and what it gets. They must be harmless for any state.

    Raises:
        DataError: it asks for more, or is no pickle.
    """
    try:
        return _Arrays(path.read_bytes(), encoding, HARMLESS | dict(also or {})).load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path} is no pickle of arrays: {type(error).__name__}: {error}") from error
