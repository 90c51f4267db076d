"""One file to one volume: opened without running anything in it, checked, turned to RAS, resampled, normalised.

NIfTI and what else nibabel reads are opened by nibabel; NRRD, MetaImage and DICOM by MONAI's readers, where the library
that they need is installed. Large volumes are read in slabs, so that no more than a part of them is ever in memory.
"""
from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import nibabel as nib
import numpy as np

from ssl_core import ConfigError, DataError
from ssl_core.opening import room

Modality = Literal["auto", "ct", "mr", "none"]
NIBABEL = (".nii", ".nii.gz", ".mgz", ".mgh", ".hdr", ".img")
MONAI = {".nrrd": ("NrrdReader", "nrrd", "pynrrd"), ".mha": ("ITKReader", "itk", "itk"), ".mhd": ("ITKReader", "itk", "itk"),
         ".dcm": ("PydicomReader", "pydicom", "pydicom")}
SLAB = 2**26  # voxels that are worked on at a time


@dataclass(frozen=True)
class Wish:
    """How volumes should be prepared, whatever they are read from.

    Args:
        spacing: edges of a voxel in mm along R, A and S; one number for all three; 0 keeps the file's own.
        modality: `ct`: Hounsfield units, cut to `window`; `mr`: cut to `percentiles`; `none`: values from 0 to 1 (or bytes)
            as they are; `auto`: `ct` if the values look like Hounsfield units, else `mr`.
        window: lowest and highest Hounsfield unit, which become 0 and 1.
        percentiles: of a volume's own values, which become 0 and 1.
        orient: turn to RAS by the file's affine; without it axes stay as they are stored.
    """

    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    modality: Modality = "auto"
    window: tuple[float, float] = (-1000.0, 1000.0)
    percentiles: tuple[float, float] = (0.5, 99.5)
    orient: bool = True

    def __post_init__(self) -> None:
        if min(self.spacing) < 0:
            raise ValueError(f"spacing should be in mm, 0 for as it is, got {self.spacing}")
        for name, (low, high) in (("window", self.window), ("percentiles", self.percentiles)):
            if low >= high:
                raise ValueError(f"{name} should be two numbers, the smaller first, got {low}, {high}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles should lie between 0 and 100, got {self.percentiles}")


class Opened(NamedTuple):
    """A volume whose header was read: `data` gives voxels when sliced, axes as stored.

    Args:
        shape, spacing: along R, A and S; spacing in mm.
        axes: the stored axis behind each of R, A and S.
        flips: whether it runs the other way.
    """

    path: Path
    data: Any
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


def kind(path: Path) -> str:
    """The suffix of a volume, "" for what is none; `.dcm` for a folder that holds DICOM slices."""
    if path.is_dir():
        return ".dcm" if any(p.suffix.lower() == ".dcm" for p in path.iterdir()) else ""
    return next((end for end in (*NIBABEL, *MONAI) if path.name.lower().endswith(end)), "")


def opened(path: Path, orient: bool = True) -> Opened:
    """Read a header.

    Raises:
        DataError: it cannot be read, has no affine, is a series, or a single slice.
        ConfigError: its format needs a library that is not installed.
    """
    try:
        image = _nibabel(path) if kind(path) in NIBABEL else _monai(path)
    except (OSError, EOFError, ValueError, KeyError, nib.filebasedimages.ImageFileError) as error:
        raise DataError(f"{path} cannot be read as a volume: {error or type(error).__name__}") from error
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if path.name.lower().endswith(("gz", ".mgz")):
        room(path, math.prod(shape) * 4)  # a plain file is as large as it says, or is not read; a packed one may be anything
    if len(shape) != 3:
        raise DataError(f"{path} has the shape {tuple(image.shape)}: a series or several channels; expected (X, Y, Z)."
                        f"\n  Try: splitting it into one file per volume")
    if min(shape) < 2:
        raise DataError(f"{path} has the shape {shape}: a single slice is no volume")
    return _placed(path, image, shape, orient)


def _nibabel(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel's remarks on odd headers; what matters is checked here
        return nib.load(path)  # type: ignore[attr-defined]


def _monai(path: Path) -> Any:
    """NRRD, MetaImage or DICOM, as an image of nibabel."""
    reader, module, package = MONAI.get(kind(path), ("", "", ""))
    if not reader:
        raise ValueError(f"unknown format; read are {', '.join((*NIBABEL, *MONAI))} and folders of DICOM slices")
    from importlib.util import find_spec
    if find_spec(module) is None:
        raise ConfigError(f"{path} needs the library {module!r}, which is not installed.\n  Try: pip install {package}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import monai.data
        read = getattr(monai.data, reader)(**({"affine_lps_to_ras": True} if reader != "PydicomReader" else {}))
        try:
            values, about = read.get_data(read.read(str(path)))
        except Exception as error:  # each library raises its own
            raise ValueError(str(error) or type(error).__name__) from error
    return nib.Nifti1Image(np.asarray(values), np.asarray(about["affine"], np.float64), dtype=np.asarray(values).dtype)  # type: ignore[attr-defined]


def _placed(path: Path, image: Any, shape: tuple[int, ...], orient: bool) -> Opened:
    """Which stored axis is which, from the affine."""
    affine = np.asarray(image.affine)
    zooms = tuple(float(z) for z in image.header.get_zooms()[:3])
    if not orient:
        return Opened(path, image.dataobj, shape, zooms, (0, 1, 2), (False,) * 3)  # type: ignore[arg-type]
    header = image.header
    absent = "qform_code" in header and kind(path) in NIBABEL and not (int(header["qform_code"]) or int(header["sform_code"]))
    if absent or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{path} has {'no' if absent else 'a broken'} affine, so left, front and top are unknown.\n"
                        f"  Try: data.orient=false, to take its axes as they are stored")
    codes = nib.io_orientation(affine)  # type: ignore[attr-defined]  # (3, 2): for each stored axis its world axis and sign
    axes = tuple(int(np.where(codes[:, 0] == world)[0][0]) for world in range(3))
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return Opened(path, image.dataobj, tuple(shape[a] for a in axes), tuple(float(spacing[a]) for a in axes), axes,  # type: ignore[arg-type]
                  tuple(bool(codes[a, 1] < 0) for a in axes))  # type: ignore[arg-type]


def block(volume: Opened, start: int, stop: int) -> np.ndarray:
    """Slices `start` to `stop` along S of a volume in RAS, as stored values (X, Y, stop - start)."""
    along = volume.axes[2]
    length = volume.shape[2]
    part = slice(length - stop, length - start) if volume.flips[2] else slice(start, stop)
    index: list[Any] = [slice(None)] * 3 + [0] * (len(volume.data.shape) - 3)
    index[along] = part
    try:
        found = np.asarray(volume.data[tuple(index)]).transpose(volume.axes)
    except Exception as error:  # a damaged gzip raises zlib.error, EOFError, OSError or ValueError
        raise DataError(f"{volume.path} cannot be decoded: {str(error) or type(error).__name__}; is the file whole?") from error
    return np.flip(found, [i for i in range(3) if volume.flips[i]])


def looked_at(volume: Opened, wish: Wish) -> tuple[str, float, float]:
    """What kind of values a volume holds, and which of them become 0 and 1: ("ct" or "mr" or "none", low, high).

    Percentiles are those of at most about a million voxels, evenly spread. Every voxel is looked at for NaN.

    Raises:
        DataError: it holds NaN or infinite values, or one value only.
    """
    step = max(1, round((np.prod(volume.shape) / 1e6) ** (1 / 3)))
    low, high, some = np.inf, -np.inf, []
    for start, stop in slabs(volume.shape):
        values = block(volume, start, stop)
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise DataError(f"{volume.path} holds {bad} voxels that are NaN or infinite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        some.append(values[::step, ::step, ::step].ravel())
    if low == high:
        raise DataError(f"{volume.path} is constant: every voxel is {low:g}")
    found = wish.modality if wish.modality != "auto" else "ct" if low <= -500 and high >= 200 else "mr"
    if found == "ct":
        return found, *wish.window
    if found == "none":
        top = 255.0 if np.issubdtype(np.asarray(some[0]).dtype, np.unsignedinteger) else 1.0
        if low < 0 or high > top:
            raise DataError(f"{volume.path} holds values from {low:g} to {high:g}; modality=none takes 0 to {top:g}")
        return found, 0.0, top
    ends = np.percentile(np.concatenate(some), wish.percentiles)
    return (found, float(ends[0]), float(ends[1])) if ends[0] < ends[1] else (found, low, high)


def slabs(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Starts and stops along the last axis, so that no slab has more than `SLAB` voxels."""
    deep = max(1, SLAB // max(1, shape[0] * shape[1]))
    return ((start, min(shape[2], start + deep)) for start in range(0, shape[2], deep))


def target(volume: Opened, spacing: Sequence[float]) -> tuple[int, int, int]:
    """The shape of a volume when its voxels have these edges; 0 keeps an axis."""
    return tuple(max(1, round(n * here / there)) if there else n  # type: ignore[return-value]
                 for n, here, there in zip(volume.shape, volume.spacing, spacing, strict=True))


def decoded(volume: Opened, wish: Wish, low: float, high: float, out: np.ndarray | None = None) -> np.ndarray:
    """Voxels from 0 to 1 at the wanted spacing: (X, Y, Z) float16, slab by slab.

    Args:
        low, high: the values that become 0 and 1; see `looked_at`.
        out: where to put them, such as a file that is mapped into memory; default: a new array.
    """
    shape = target(volume, wish.spacing)
    out = np.empty(shape, np.float16) if out is None else out
    across = [weights(n, m) for n, m in zip(volume.shape[:2], shape[:2], strict=True)]
    along = weights(volume.shape[2], shape[2])
    for start, stop in slabs([max(a, b) for a, b in zip(volume.shape, shape, strict=True)][:2] + [shape[2]]):
        used = np.flatnonzero(along[start:stop].any(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        values = (block(volume, first, last).astype(np.float32) - low) / (high - low)
        for axis, matrix in ((0, across[0]), (1, across[1]), (2, along[start:stop, first:last])):
            if matrix.shape[0] != matrix.shape[1] or not np.array_equal(matrix, np.eye(len(matrix))):
                values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
        out[:, :, start:stop] = np.clip(values, 0, 1)
    return out


def weights(inputs: int, outputs: int) -> np.ndarray:
    """Linear interpolation along an axis, and a mean over what falls together where it shrinks: (outputs, inputs) float32.

    Both grids cover the same length, so that centres of voxels, not of the first and last ones, are matched.
    """
    ratio = inputs / outputs
    reach = max(1.0, ratio)
    centre = (np.arange(outputs) + 0.5) * ratio - 0.5
    matrix = np.maximum(0, 1 - np.abs(np.arange(inputs)[None] - centre[:, None]) / reach)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def classes(volume: Opened, wish: Wish) -> np.ndarray:
    """The classes of a segmentation at the wanted spacing, by the nearest voxel: (X, Y, Z) uint8.

    Raises:
        DataError: it holds something else than whole numbers from 0 to 255.
    """
    shape = target(volume, wish.spacing)
    values = block(volume, 0, volume.shape[2])
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and 0 <= values.min() and values.max() <= 255):
        raise DataError(f"{volume.path} is no segmentation: expected whole numbers from 0 to 255")
    nearest = [np.minimum(((np.arange(m) + 0.5) * n / m).astype(int), n - 1) for n, m in zip(volume.shape, shape, strict=True)]
    return values[np.ix_(*nearest)].astype(np.uint8)
