"""Rows of a table with an image each: the batch, its views, and where such pairs come from."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Data, DataError
from ssl_core.opening import arrays

from . import readers
from .augmentations import Corrupt
from .columns import Start
from .rows import RowBatches, Rows

ARRAYS = (".npz", ".npy")


class Pairs(NamedTuple):
    """Rows of a table and their images.

    Args:
        rows: (B rows).
        images: (B, C, H, W), uint8 from 0 to 255, or float from 0 to 1.
    """

    rows: Rows
    images: Tensor

    @property
    def size(self) -> int:
        """Number of rows. (`len` is that of the tuple.)"""
        return self.rows.size

    def take(self, index: Tensor | slice) -> Pairs:
        """Some of the pairs, in the order of `index`."""
        return Pairs(self.rows.take(index), self.images[index])


def unit(images: Tensor) -> Tensor:
    """Images as floats from 0 to 1."""
    return images if images.is_floating_point() else images.float() / 255


class PairViews:
    """Two views of a pair, each with a changed image: one with cells of other rows, one with cells left out.

    Args:
        corrupt: share of the cells that the first view takes from the column's marginal; 0 for none.
        hide: share of the cells that the second view lacks.
        zoom: largest enlargement of an image; the part that is shown lies anywhere.
        flip: probability of a flip from left to right.
        contrast: largest relative change of contrast and of brightness.
    """

    def __init__(self, corrupt: float = 0.3, hide: float = 0.5, zoom: float = 1.5, flip: float = 0.5, contrast: float = 0.4
                 ) -> None:
        if not (0 <= corrupt <= 1 and 0 < hide < 1 and 0 <= flip <= 1 and 0 <= contrast <= 1) or zoom < 1:
            raise ValueError(f"corrupt, flip and contrast should be shares, hide lie in (0, 1) and zoom be 1 or more, got "
                             f"{corrupt}, {flip}, {contrast}, {hide} and {zoom}")
        self.corrupt = Corrupt(corrupt, exact=False) if corrupt else None
        self.hide, self.zoom, self.flip, self.contrast = hide, zoom, flip, contrast

    def __call__(self, batch: Pairs) -> tuple[Pairs, Pairs]:
        rows = batch.rows
        mixed = rows if self.corrupt is None else self.corrupt.corrupted(rows)
        noise = torch.rand(rows.size, rows.numeric.shape[1] + rows.categorical.shape[1], device=rows.numeric.device)
        return Pairs(mixed, self.changed(batch.images)), Pairs(rows.hidden(noise < self.hide), self.changed(batch.images))

    def changed(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) enlarged, flipped, and of another contrast, each in its own way."""
        x = unit(images)
        one, device = (len(x), 1), x.device
        scale = 1 + (1 / self.zoom - 1) * torch.rand(one, device=device)  # of what is shown, as a share of the sides
        side = torch.where(torch.rand(one, device=device) < self.flip, -scale, scale)
        centre = (torch.rand(len(x), 2, device=device) * 2 - 1) * (1 - scale)
        zero = torch.zeros_like(scale)
        matrix = torch.cat([side, zero, centre[:, :1], zero, scale, centre[:, 1:]], dim=1).view(-1, 2, 3)
        grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        gain, lift = ((torch.rand(len(x), 1, 1, 1, device=device) * 2 - 1) * self.contrast for _ in range(2))
        return ((x - 0.5) * (1 + gain) + 0.5 + lift / 2).clamp(0, 1)


def joined(table: Data, images: Tensor, where: str) -> Data:
    """The record of a table and the images of its rows.

    Args:
        table: of the rows alone.
        images: (N, C, H, W).

    Raises:
        DataError: there are not as many images as rows, or images of another size than the encoder was trained on.
    """
    rows, batch_size = table.train.rows, table.train.batch_size  # type: ignore[attr-defined]
    if len(images) != rows.size:
        raise DataError(f"{where} holds {rows.size} rows and {len(images)} images; image i belongs to row i")
    facts = {"channels": images.shape[1], "image_size": list(images.shape[2:])}
    pairs, plain, shown = Pairs(rows, images), table.raw, table.preview
    assert plain is not None and shown is not None
    pixels = [f"pixel {i}" for i in range(images[0].numel())]
    return replace(
        table, train=RowBatches(pairs, table.train.positions, batch_size),  # type: ignore[arg-type, attr-defined]
        items=[pairs.take(slice(start, start + batch_size)) for start in range(0, rows.size, batch_size)],
        raw=lambda batch: torch.cat([plain(batch.rows), unit(batch.images).flatten(1)], dim=1),
        preview=lambda batch, chosen: shown(batch.rows, chosen), facts={**table.facts, **facts},
        columns=None if table.columns is None else [*table.columns, *pixels],
        fingerprint=f"{table.fingerprint}-{hashlib.sha256(images.numpy().tobytes()).hexdigest()[:8]}")


def halves(source: Any) -> tuple[Any, Any] | None:
    """The table and the images of a source that holds both: a folder with one file of each, or a pair; else None.

    Raises:
        DataError: a folder with more than one table, or more than one file of images.
    """
    if isinstance(source, tuple) and len(source) == 2 and getattr(source[1], "ndim", 0) >= 3:
        return source
    if not isinstance(source, (str, Path)) or not Path(source).is_dir():
        return None
    files = sorted(path for path in Path(source).iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.suffix.lower() in ARRAYS]
    tables = [path for path in files if path.suffix.lower() in (*readers.PARQUET, *readers.ARROW) or readers.is_text(path)]
    if not images:
        return None
    if len(images) > 1 or len(tables) != 1:
        raise DataError(f"{source} holds {len(tables)} tables and {len(images)} files of images ({', '.join(ARRAYS)}).\n"
                        f"  Try: one of each, image i being that of row i")
    return tables[0], images[0]


def images_of(source: Any, where: str) -> Tensor:
    """Images (N, C, H, W) of an `.npy`, of `images` in an `.npz`, or of an array: (N, H, W), (N, H, W, C) or (N, C, H, W).

    Raises:
        DataError: they have another shape, or values that are no brightness.
    """
    if isinstance(source, (str, Path)):
        held = arrays(Path(source), plain=["images"])
        if "images" not in held and "" not in held:
            raise DataError(f"{source} holds no `images`; it holds {', '.join(held) or 'nothing'}")
        source = held.get("", held.get("images"))
    x = source.detach().cpu() if isinstance(source, Tensor) else torch.as_tensor(np.array(source))
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] <= 4 < x.shape[1]:
        x = x.movedim(3, 1)
    if x.ndim != 4 or min(x.shape[2:]) < 4:
        raise DataError(f"{where}: images have the shape {tuple(x.shape)}; expected (N, H, W), (N, H, W, C) or (N, C, H, W), "
                        f"with sides of 4 or more")
    if x.dtype is torch.uint8:
        return x.contiguous()
    x = x.float()
    if not x.isfinite().all() or x.min() < 0 or x.max() > 1:
        raise DataError(f"{where}: images should hold bytes, or floats from 0 to 1; they hold {float(x.min()):g} to "
                        f"{float(x.max()):g}")
    return x.contiguous()


def digits(missing: float = 0.2, batch_size: int = 128, seed: int = 0) -> Data:
    """scikit-learn's 1,797 real digits of 8 x 8, and a synthetic table made from them, of which some cells are left out.

    Columns: ink, height, width, slant and the centre of the ink as numbers, the quadrant with most ink and whether there is
    more above or below as categories.

    Args:
        missing: share of the cells that are left out.
        batch_size, seed: see `ssl_tabular.data.read`.
    """
    from sklearn.datasets import load_digits

    from .data import Reading, from_table
    if not 0 <= missing < 1:
        raise ValueError(f"missing should lie in [0, 1), got {missing}")
    found = load_digits()
    ink = found.images / 16  # (N, 8, 8)
    draw, columns = np.random.default_rng(20), described(ink)
    arrow = {name: pa.array(values, mask=draw.random(len(ink)) < missing) for name, values in columns.items()}
    table = from_table(pa.table(arrow | {"digit": pa.array([str(label) for label in found.target])}), "the digits",
                       Reading(target="digit", task="classes"), batch_size=batch_size, seed=seed, first=Start())
    return joined(table, torch.from_numpy(ink.astype(np.float32))[:, None], "the digits")


def described(ink: np.ndarray) -> dict[str, Sequence[Any]]:
    """Columns that say what an image (N, 8, 8) looks like."""
    place, total = np.arange(8.0), ink.sum(axis=(1, 2))
    down, across = (ink.sum(axis=2) @ place / total, ink.sum(axis=1) @ place / total)
    y, x = place[None, :, None] - down[:, None, None], place[None, None, :] - across[:, None, None]
    spread = [np.sqrt((ink * part**2).sum(axis=(1, 2)) / total) for part in (y, x)]
    quadrants = np.stack([ink[:, :4, :4], ink[:, :4, 4:], ink[:, 4:, :4], ink[:, 4:, 4:]]).sum(axis=(2, 3))  # (4, N)
    names = np.array(["top left", "top right", "bottom left", "bottom right"])
    return {"ink": total, "height": spread[0], "width": spread[1], "slant": (ink * y * x).sum(axis=(1, 2)) / total,
            "down": down, "across": across, "darkest": names[quadrants.argmax(axis=0)],
            "heavy": np.where(quadrants[:2].sum(axis=0) > quadrants[2:].sum(axis=0), "above", "below")}
