"""Which volumes there are: in a folder, in a tree of classes, in a BIDS tree, in a manifest, or as arrays. Opens no volume."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_core import DataError
from ssl_core.errors import listed, nearest
from ssl_core.opening import arrays

from .decoding import kind

FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
           "test": "test", "testing": "test"}
IMAGES, MASKS = ("images", "imagestr"), ("labels", "labelstr")  # the Medical Segmentation Decathlon's, and like it
UNKNOWN = ("", "n/a", "na", "nan", "none")


class Case(NamedTuple):
    """One volume of a data set.

    Args:
        name: what messages and results call it.
        image: the file, or a folder of DICOM slices.
        segmentation: the file of its voxel classes, or None.
        label: a class or a number, as it is written; "" where unknown.
        fold: "train", "validation", "test", or "" where nothing is said.
        subject: whose volume it is; folds never share a subject.
    """

    name: str
    image: Path
    segmentation: Path | None = None
    label: str = ""
    fold: str = ""
    subject: str = ""


def cases(source: Path, label: str = "", suffix: str = "") -> list[Case]:
    """Every volume of a folder, a manifest or a BIDS tree, sorted by name; `source` may be one volume too.

    Args:
        source: a folder of volumes, one folder per class or `images` beside `labels`; a BIDS tree; a `.csv` or `.tsv`
            manifest; one volume.
        label: the column that holds labels, of a manifest (default `label`) or of `participants.tsv`.
        suffix: of the images of a BIDS tree that are wanted, such as T1w; "" for all.

    Raises:
        DataError: there is nothing to read.
    """
    if source.suffix.lower() in (".csv", ".tsv"):
        return manifest(source, label)
    if kind(source):
        return [Case(source.name, source, subject=source.name)]
    if not source.is_dir():
        raise DataError(f"{source} is no set of volumes.\n  Try: a folder of .nii.gz, a .csv manifest, a BIDS tree, or .npz")
    if (source / "participants.tsv").is_file() or (source / "dataset_description.json").is_file():
        found = bids(source, label, suffix)
    else:
        found = folder(source)
    if not found:
        raise DataError(f"there are no volumes in {source}\n  Try: a folder of .nii.gz, of DICOM folders, or one per class")
    return found


def volumes(source: Path) -> list[Path]:
    """The volumes below a folder, sorted; a folder of DICOM slices is one. Hidden ones are left out."""
    found = []
    for path in sorted(source.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(source).parts):
            continue
        if path.is_dir() and kind(path) or path.is_file() and kind(path) not in ("", ".dcm", ".img"):
            found.append(path)
    return found


def folder(source: Path) -> list[Case]:
    """Volumes below a folder: `train/sick/1.nii.gz`, `sick/1.nii.gz`, `1.nii.gz`, or `images/1.nii.gz` with `labels`."""
    beside = {path.name.lower(): path for path in source.iterdir() if path.is_dir()}
    pictures = next((beside[name] for name in IMAGES if name in beside), None)
    masks = next((beside[name] for name in MASKS if name in beside), None)
    if pictures is not None and masks is not None:
        known = {stem(path): path for path in volumes(masks)}
        return [Case(path.name, path, known.get(stem(path)), subject=stem(path)) for path in volumes(pictures)]
    found = []
    for path in volumes(source):
        parts = list(path.relative_to(source).parts[:-1])
        fold = FOLDERS.get(parts[0].lower(), "") if parts else ""
        parts = parts[1:] if fold else parts
        found.append(Case(path.relative_to(source).as_posix(), path, label=parts[0] if parts else "", fold=fold,
                          subject=path.relative_to(source).as_posix()))
    return found if any(case.label for case in found) and len({case.label for case in found}) > 1 else \
        [case._replace(label="") for case in found]


def stem(path: Path) -> str:
    """The name without the suffixes, and without the _0000 of nnU-Net's first channel."""
    return path.name[: len(path.name) - len(kind(path))].removesuffix("_0000")


def bids(source: Path, label: str, suffix: str) -> list[Case]:
    """Images of a BIDS tree, `sub-*/[ses-*/]anat/*.nii.gz`; labels from a column of `participants.tsv`."""
    table = source / "participants.tsv"
    people = {row["participant_id"]: row for row in rows(table, ("participant_id",))} if table.is_file() else {}
    if label and people:
        have(label, next(iter(people.values())), table)
    found = []
    for path in volumes(source):
        subject = path.relative_to(source).parts[0]
        if subject.startswith("sub-") and "derivatives" not in path.parts and (not suffix or stem(path).endswith(f"_{suffix}")):
            known = people.get(subject, {}).get(label, "") if label else ""
            found.append(Case(path.relative_to(source).as_posix(), path, label=known or "", subject=subject))
    return found


def manifest(path: Path, label: str) -> list[Case]:
    """A table with one row per volume: `image`, and if they are known `label`, `segmentation`, `split` and `subject`.

    Paths are relative to the table and may not leave its folder.
    """
    found = []
    for row in rows(path, ("image",)):
        if label:
            have(label, row, path)
        fold = (row.get("split") or "").strip().lower()
        if fold and fold not in FOLDERS:
            raise DataError(f"{path}: the split of {row['image']} is {fold!r}; expected {listed(FOLDERS)}")
        mask = (row.get("segmentation") or "").strip()
        found.append(Case(row["image"], inside(path, row["image"]), inside(path, mask) if mask else None,
                          (row.get(label or "label") or "").strip(), FOLDERS.get(fold, ""),
                          (row.get("subject") or row["image"]).strip()))
    return found


def rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a .csv or .tsv file, which must have these columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            found = list(table)
            columns = table.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    for name in needed:
        have(name, columns, path)
    if not found:
        raise DataError(f"{path} has no rows")
    return found


def have(column: str, columns: Any, path: Path) -> None:
    if column not in columns:
        raise DataError(f"{path} has no column {column!r}{nearest(column, columns)}\n  It has: {listed(columns)}")


def inside(table: Path, name: str) -> Path:
    """A path that a table names, which must lie below the table's folder."""
    found = (table.parent / name).resolve()
    if not found.is_relative_to(table.parent.resolve()):
        raise DataError(f"{table} names {name}, which lies outside of its folder.\n  Try: moving the table above the volumes")
    return found


class Known(NamedTuple):
    """Labels of all items, (N,) long or float or None; the names of classes; positions by fold."""

    labels: Tensor | None
    classes: list[str] | None
    folds: Mapping[str, Tensor]


def known(found: Sequence[Case]) -> Known:
    """Labels and folds of cases, as numbers. Labels that all are numbers with a point are quantities, others classes."""
    given = [case.label for case in found]
    names = sorted({name for name in given if name.lower() not in UNKNOWN})
    folds = {fold: torch.tensor([i for i, case in enumerate(found) if case.fold == fold])
             for fold in dict.fromkeys(case.fold for case in found) if fold}
    if not names:
        return Known(None, None, folds)
    numbers = [_number(name) for name in names]
    if None not in numbers and any("." in name or "e" in name.lower() for name in names):
        return Known(torch.tensor([float("nan") if n is None else n for n in map(_number, given)]), None, folds)
    if None not in numbers:
        names.sort(key=lambda name: _number(name) or 0.0)
    place = {name: i for i, name in enumerate(names)}
    return Known(torch.tensor([place.get(name, -1) for name in given]), names, folds)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


class Arrays(NamedTuple):
    """Volumes in memory: (N, C, X, Y, Z), and what is known of them."""

    voxels: Tensor
    labels: Tensor | None = None
    folds: Mapping[str, Tensor] = {}


def array(held: Any, where: str = "the array given as data") -> Arrays:
    """Volumes in memory: (N, C, X, Y, Z) or (N, X, Y, Z), alone or in a pair with labels; bytes, or floats from 0 to 1.

    Raises:
        DataError: it has another shape, or values that are no brightness.
    """
    voxels, labels = (*held, None)[:2] if isinstance(held, tuple) and 1 <= len(held) <= 2 else (held, None)
    try:
        x = voxels if isinstance(voxels, Tensor) else torch.as_tensor(np.array(voxels))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is no array of numbers: {error}") from error
    x = x[:, None] if x.ndim == 4 else x
    if x.ndim != 5 or 0 in x.shape or min(x.shape[2:]) < 2:
        raise DataError(f"{where} has the shape {tuple(x.shape)}; expected (N, C, X, Y, Z) or (N, X, Y, Z) with sides above 1")
    x = x.detach().cpu()
    if x.dtype is not torch.uint8:
        x = x.float()
        bad = int((~x.isfinite()).sum())
        if bad or x.min() < 0 or x.max() > 1:
            raise DataError(f"{where} holds " + (f"{bad} voxels that are NaN or infinite" if bad else
                            f"values from {float(x.min()):g} to {float(x.max()):g}; expected bytes, or floats from 0 to 1.\n"
                            f"  Try: (x - x.min()) / (x.max() - x.min())"))
    if labels is None:
        return Arrays(x)
    y = torch.as_tensor(np.asarray(labels)).reshape(-1)
    if len(y) != len(x):
        raise DataError(f"{where}: {len(y)} labels for {len(x)} volumes")
    return Arrays(x, y.float() if y.is_floating_point() else y.long())


def loaded(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz` by name; that of an `.npy` as `images`. Never unpickled."""
    words = [f"{part}{kind}" for part in ("", "train_", "val_", "test_") for kind in ("images", "labels")]
    held = arrays(path, plain=[*words, "features", "bag"])
    return {"images": held[""]} if "" in held else held


def volumes_of(held: Mapping[str, Any], path: Path) -> Arrays:
    """Volumes from `images` and `labels`, or from MedMNIST's `train_images`, `val_images`, ...; see `loaded`."""
    parts = [(part, held[f"{word}_images"], held.get(f"{word}_labels")) for word, part in
             (("train", "train"), ("val", "validation"), ("test", "test")) if f"{word}_images" in held]
    if not parts:
        if "images" not in held:
            raise DataError(f"{path} holds neither `images` nor `train_images`; it holds {listed(held)}")
        return array((held["images"], held["labels"]) if "labels" in held else held["images"], str(path))
    found = [array((x, y) if y is not None else x, str(path)) for _, x, y in parts]
    counts = [len(part.voxels) for part in found]
    folds = dict(zip((name for name, _, _ in parts), torch.arange(sum(counts)).split(counts), strict=True))
    labels = [part.labels for part in found if part.labels is not None]
    return Arrays(torch.cat([part.voxels for part in found]), torch.cat(labels) if len(labels) == len(found) else None, folds)
