"""The checkpoints of a run on disk: the last one and the one before it, and which of them is whole."""
from __future__ import annotations

import os
import shutil
from math import isfinite
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from .errors import RunError
from .files import atomically, undisturbed

LAST, BEFORE, SPOILT = "last.ckpt", "before.ckpt", "spoilt.ckpt"


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all; the last one so far becomes the one before it. Signals wait until it is there.

    Raises:
        RunError: it cannot be written (a full disk, say). Both that were there are still there.
    """
    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch has one of its own for a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    with undisturbed():  # torch aborts the process where an answer to a signal raises while it writes
        atomically(path, write, before=path.with_name(BEFORE) if path.name == LAST else None)


def fault(path: Path) -> str:
    """What is wrong with a checkpoint, "" if it is whole. Nothing in it is decoded: torch stores a checksum with each part."""
    try:
        with ZipFile(path) as parts:
            if any(part.compress_type != ZIP_STORED for part in parts.infolist()):
                return "it was not written by torch"
            broken = parts.testzip()
    except (OSError, BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        return str(error)
    return f"the checksum of its part {broken} is wrong" if broken else ""


def newest(folder: Path, mend: bool = True) -> tuple[Path | None, str]:
    """The newest checkpoint that is whole, None where there is none yet, and a message if the last one was not.

    A last one that is spoilt is moved aside to `spoilt.ckpt`, so that it never takes the place of the one before.

    Args:
        mend: whether this process moves it.

    Raises:
        RunError: there are checkpoints, and none is whole.
    """
    last, before = folder / LAST, folder / BEFORE
    wrong = fault(last) if last.exists() else ""
    if last.exists() and not wrong:
        return last, ""
    earlier = fault(before) if before.exists() else "there is none"
    if not earlier:
        if not last.exists():  # killed between the two moves of `save`
            return before, ""
        if mend:
            last.replace(folder / SPOILT)
        return before, (f"the checkpoint {last} cannot be read ({wrong}) and is now called {SPOILT}; "
                        f"going on from the one before it")
    if not last.exists() and not before.exists():
        return None, ""
    path, why = (last, wrong) if last.exists() else (before, earlier)
    raise RunError(f"the checkpoint {path} cannot be read: {why}; the one before it: {earlier}.\n"
                   f"  Try: removing the folder {folder}, to start from the beginning")


class Best:
    """The `count` best of the checkpoints that are written, by a column of metrics.csv, beside the last.

    What is known of them stands in their names, `best-STEP-VALUE.ckpt`, so a resumed run knows it too.

    Args:
        folder: of the checkpoints.
        count: how many to keep; 0 for none.
        column: of metrics.csv.
        highest: whether a high value is a good one.
    """

    def __init__(self, folder: Path, count: int, column: str, highest: bool) -> None:
        self.folder, self.count, self.column, self.sign = folder, count, column, -1.0 if highest else 1.0

    def kept(self) -> list[Path]:
        """The best first; of equal ones the earlier."""
        return sorted(self.folder.glob("best-*.ckpt"), key=self._rank)

    def _rank(self, path: Path) -> tuple[float, int]:
        _, step, value = path.stem.split("-", 2)
        return self.sign * float(value), int(step)

    def consider(self, last: Path, step: int, value: float) -> None:
        """Keep the checkpoint just written at `last` if it is among the best; drop what no longer is."""
        for old in self.folder.glob(f"best-{step}-*.ckpt"):  # of the same step, before the run was resumed
            old.unlink()
        if isfinite(value):
            atomically(self.folder / f"best-{step}-{value:.6g}.ckpt", lambda beside: _same(last, beside))
        for worse in self.kept()[self.count:]:
            worse.unlink()


def _same(source: Path, target: Path) -> None:
    """One file under a second name; a copy where the file system has no such thing."""
    try:
        target.unlink()
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
