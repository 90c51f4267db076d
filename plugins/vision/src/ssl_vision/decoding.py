"""Image files to tensors, by Pillow: any common format and mode, and nothing that only pretends to be an image."""
from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ssl_core import DataError
from ssl_core.opening import room

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that runs another program, as EPS does
PIXELS = 2**26  # of one image; more is taken for a decompression bomb
GRAY = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class Header(NamedTuple):
    """What an image says about itself before it is decoded."""

    height: int
    width: int
    gray: bool


def header(image: Image.Image) -> Header:
    """Height, width (as it should be seen) and whether it has one channel."""
    width, height = image.size[::-1] if orientation(image) >= 5 else image.size
    return Header(height, width, image.mode in GRAY)


def orientation(image: Image.Image) -> int:
    """How the camera was held, from 1 (upright) to 8. (Of a PNG without this mark, Pillow would decode the pixels to look.)"""
    marked = image.format != "PNG" or "exif" in image.info
    found = image.getexif().get(0x0112, 1) if marked else 1
    return found if found in range(1, 9) else 1


def pixels(image: Image.Image, channels: int, size: tuple[int, int]) -> Tensor:
    """A decoded image, (channels, *size): uint8, or float from 0 to 1 where it has more than 8 bits.

    It is turned as its camera says, laid over white where it is transparent, scaled (antialiased) to cover `size`, and cut
    to its centre.
    """
    image = ImageOps.exif_transpose(image) if orientation(image) > 1 else image
    if image.mode in GRAY[3:]:
        deep = _deep(image)
        image = Image.fromarray(deep)
    elif "A" in image.mode or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB" if channels == 3 else "L")
    else:
        image = image.convert("RGB" if channels == 3 else "L")
    if (image.height, image.width) != size:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(image))  # (H, W) or (H, W, C)
    planes = array.permute(2, 0, 1) if array.ndim == 3 else array[None]
    planes = planes.expand(channels, *size) if len(planes) == 1 else planes
    return planes.clamp(0, 1) if planes.is_floating_point() else planes


def _deep(image: Image.Image) -> Any:
    """A gray image of 16 bits or of floats, as float32 from 0 to 1."""
    array = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        array /= 65535
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise ValueError(f"values of mode {image.mode} from {array.min():g} to {array.max():g}: expected 16 bits, or 0 to 1")
    return array


class Files:
    """Images by position: in a folder, in a zip archive (read in place, never extracted), or in a list of decoded ones.

    Args:
        where: a folder, a zip archive, or a sequence of Pillow images.
        names: of the images; paths inside `where`.
        channels, size: of what `self(i)` gives: (channels, *size).
    """

    def __init__(self, where: Path | Sequence[Image.Image], names: Sequence[str], channels: int = 3,
                 size: tuple[int, int] = (0, 0)) -> None:
        self.where, self.names, self.channels, self.size = where, names, channels, size
        self.rows: Sequence[int] = range(len(names))  # of `where`, if that is a sequence
        self.archive: tuple[int, zipfile.ZipFile] | None = None  # with the process that opened it

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"archive": None}

    def open(self, i: int) -> Image.Image:
        """The image with its header read; its pixels are decoded when asked for."""
        if not isinstance(self.where, Path):
            return self.where[self.rows[i]]
        image = Image.open(io.BytesIO(self.content(i)), formats=FORMATS)
        if image.width * image.height > PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; more than {PIXELS} are refused")
        return image

    def content(self, i: int) -> bytes:
        """The bytes of a file."""
        assert isinstance(self.where, Path)
        if self.where.is_dir():
            return (self.where / self.names[i]).read_bytes()
        if self.archive is None or self.archive[0] != os.getpid():  # an open file must not be shared by processes
            self.archive = os.getpid(), zipfile.ZipFile(self.where)
        entry = self.archive[1].getinfo(self.names[i])
        room(entry.filename, entry.file_size)
        return self.archive[1].read(entry)

    def header(self, i: int) -> Header:
        """Raises: DataError with the name of the file."""
        try:
            return header(self.open(i))
        except Exception as error:  # Pillow raises a dozen kinds on damaged files
            raise DataError(self.complaint(i, error)) from error

    def look(self, i: int, channels: int, size: tuple[int, int] | None, like: Header) -> tuple[Header, Tensor | None]:
        """Header and pixels in one go; gray images have one channel if `channels` is 0. None for the pixels of an image
        that is not as large as `like`, where no `size` is given. Raises: DataError with the name of the file."""
        try:
            image = self.open(i)
            head = header(image)
            if size is None and head[:2] != like[:2]:
                return head, None
            return head, pixels(image, channels or (1 if head.gray else 3), size or (head.height, head.width))
        except Exception as error:
            raise DataError(self.complaint(i, error)) from error

    def __call__(self, i: int) -> Tensor:
        """Decode one: (C, H, W). Raises: DataError with the name of the file."""
        try:
            return pixels(self.open(i), self.channels, self.size)
        except Exception as error:
            raise DataError(self.complaint(i, error)) from error

    def complaint(self, i: int, error: Exception) -> str:
        where = f"{self.where}: " if isinstance(self.where, Path) else ""
        return f"{where}{self.names[i]} cannot be read as an image: {str(error) or type(error).__name__}"


def folder(path: Path) -> list[str]:
    """The image files below a folder, as paths relative to it, sorted; hidden ones are left out."""
    found = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(name for name in found if visible(name))


def archived(path: Path) -> list[str]:
    """The image files in a zip archive, sorted."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(n for n in archive.namelist() if n.lower().endswith(SUFFIXES) and visible(n))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be opened as a zip archive: {error}") from error


def visible(name: str) -> bool:
    """Whether no part of a path is hidden or an artefact of an operating system."""
    return not any(part.startswith(".") and part not in (".", "..") or part == "__MACOSX" for part in name.split("/"))
