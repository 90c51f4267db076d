"""Prepared volumes in files, so that nothing is decoded twice and a crop reads its own part only.

MONAI's persistent data sets keep whole volumes as pickles; plain arrays can be mapped, and opening them runs nothing.
"""
from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_core import DataError
from ssl_core.files import atomically, write_json

from . import decoding
from .decoding import Opened, Wish


def looked_at(volume: Opened, wish: Wish, keep: Path | None) -> tuple[str, float, float]:
    """As `decoding.looked_at`, of a file that was looked at before from what was written down then."""
    if keep is None:
        return decoding.looked_at(volume, wish)
    path = keep / f"{key(volume, wish)}.json"
    if not path.is_file():
        write_json(path, dict(zip(("kind", "low", "high"), decoding.looked_at(volume, wish), strict=True)))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return str(found["kind"]), float(found["low"]), float(found["high"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not what was written there: {error}.\n  Try: removing it") from error


def key(volume: Opened, wish: Wish, *more: float) -> str:
    """A name for what is made of a file in this way."""
    told = f"{volume.path.resolve()} {stamp(volume.path)} {wish} {more}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def voxels_of(volume: Opened, wish: Wish, low: float, high: float, keep: Path | None) -> Tensor:
    """The prepared voxels of a file (X, Y, Z): in memory, or mapped from `keep`, where they are put at the first time."""
    if keep is None:
        return torch.from_numpy(decoding.decoded(volume, wish, low, high))
    path = keep / f"{key(volume, wish, low, high)}.npy"
    if not path.is_file():
        def write(beside: Path) -> None:
            shape = decoding.target(volume, wish.spacing)
            mapped = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float16, shape=shape)
            decoding.decoded(volume, wish, low, high, mapped)
            mapped.flush()
        atomically(path, write)
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))  # nothing written there reaches the file


def stamp(path: Path) -> str:
    """Changes when a file, or a file of a folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return " ".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files if file.is_file())
