"""Fetching public graphs. Nothing here runs unless a user says `data.download=true`."""
from __future__ import annotations

import zipfile
from pathlib import Path

from ssl_core.files import fetch
from ssl_core.opening import zipped

PLANETOID = "https://github.com/kimiyoung/planetoid/raw/master/data"
BENCHMARK = "https://github.com/shchur/gnn-benchmark/raw/master/data/npz"
WIKICS = "https://github.com/pmernyei/wiki-cs-dataset/raw/master/dataset/data.json"
TU = "https://www.chrsmrrs.com/graphkerneldatasets"


def planetoid(name: str, folder: Path) -> None:
    """The eight files of a Planetoid data set."""
    for key in ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"):
        fetch(f"{PLANETOID}/ind.{name}.{key}", folder / f"ind.{name}.{key}")


def npz(file: str, folder: Path) -> None:
    """One file of gnn-benchmark."""
    fetch(f"{BENCHMARK}/{file}", folder / file)


def wikics(folder: Path) -> None:
    """The one file of WikiCS."""
    fetch(WIKICS, folder / "wikics.json")


def tu(name: str, folder: Path) -> None:
    """The text files of a TU collection; only those, whatever the archive holds."""
    fetch(f"{TU}/{name}.zip", folder / f"{name}.zip")
    zipped(folder / f"{name}.zip")  # refuses one that unpacks to too much
    with zipfile.ZipFile(folder / f"{name}.zip") as archive:
        for member in archive.namelist():
            plain = Path(member).name  # a member's path is not followed
            if plain.startswith(name) and plain.endswith(".txt"):
                (folder / plain).write_bytes(archive.read(member))
