"""Writing files so that a reader, or the next start, never sees half of one."""
from __future__ import annotations

import errno
import json
import os
import platform
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from .errors import DataError, RunError

FULL = (errno.ENOSPC, errno.EDQUOT)  # no room, on the disk or in the user's share of it


def atomically(path: Path, write: Callable[[Path], Any], before: Path | None = None) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step: readers see the old one or the new one.

    Args:
        before: where what stood at `path` is kept. A kill between the two moves leaves it there, and nothing at `path`.

    Raises:
        RunError: it cannot be written. What stood at `path` is still there, whole.
    """
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        beside = Path(name)
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)
        if before is not None and path.exists():
            path.replace(before)
        beside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals are answered when the block has ended: an answer that raises inside, as Ctrl-C does, would break it off.

    Other answers than Python's own (to SIGKILL, say) are as ever.
    """
    inside = False
    came: list[int] = []
    answers: dict[int, Any] = {}

    def answer(number: int, frame: Any) -> None:
        if inside:
            came.append(number)
        else:  # between the block and the `signal.signal` before or after it
            answers[number](number, frame)

    if threading.current_thread() is threading.main_thread():  # no other thread answers signals
        answers = {number: found for number in signal.valid_signals() if callable(found := signal.getsignal(number))}
    try:
        for number in answers:
            signal.signal(number, answer)
        inside = True
        yield
    finally:
        inside = False
        for number, found in answers.items():
            signal.signal(number, found)
        for number in came:
            answers[number](number, None)


def unwritable(path: Path, error: OSError) -> RunError:
    """What to say of a file that could not be written."""
    full = "\n  Try: making room; what was there before is whole" if error.errno in FULL else ""
    return RunError(f"cannot write {path}: {error.strerror or error}{full}")


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while this one writes to it.

    The claim is a POSIX record lock on `.lock`: it ends with this process, however that ends, and forked loader workers
    that outlive it for a moment do not hold it.

    Raises:
        RunError: another process holds it, or the folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    try:
        file = (folder / ".lock").open("a+")
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror or error}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RunError(f"{folder} is in use by process {file.read().strip() or '?'}, which trains into it.\n"
                           f"  Try: another --out, or waiting until that process has ended") from None
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def fetch(url: str, path: Path) -> None:
    """Download one file, whole or not at all, with a progress bar. Only for a user who asked for it.

    Raises:
        DataError: it cannot be had.
    """
    from tqdm import tqdm

    def write(beside: Path) -> None:
        try:
            with urlopen(url, timeout=60) as answer, beside.open("wb") as file:
                size = int(answer.headers.get("Content-Length") or 0) or None
                with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, file=sys.stderr) as bar:
                    while chunk := answer.read(2**20):
                        file.write(chunk)
                        bar.update(len(chunk))
        except (URLError, TimeoutError, ConnectionError) as error:
            raise DataError(f"cannot fetch {url}: {error}\n  Try: fetching it by hand into {path.parent}") from error
    atomically(path, write)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(finite(content), indent=2, allow_nan=False) + "\n"
    atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def dumps(content: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(finite(content), allow_nan=False)


def finite(content: Any) -> Any:
    """Numbers that JSON does not know become null."""
    if isinstance(content, Mapping):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(item) for item in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def plain(content: Any) -> Any:
    """Only what YAML and JSON know: tuples become lists, anything else its text."""
    if isinstance(content, Mapping):
        return {str(key): plain(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(item) for item in content]
    return content if isinstance(content, (str, int, float, bool, type(None))) else str(content)
