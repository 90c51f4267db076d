"""What `Data.preview` gives, as HTML: pictures as PNG within the page, rows as tables, drawings as SVG."""
from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..contracts import Drawing
from .html import Html, joined, number, tag

SIDE = 160  # pixels of a picture at most
COLUMNS = 12  # of a row that are shown


class Hidden(NamedTuple):
    """What a mask hides of one item.

    Args:
        places: (L, K) in [0, 1], the centres of its tokens.
        hidden: (L,) bool.
    """

    places: Any
    hidden: Any

    def over(self, picture: Any) -> Any:
        """The picture with the cells of hidden tokens in plain gray.

        Of a volume's tokens those of the middle slice along its third axis: rows run against the second, columns along the
        first (axial, front above, for volumes in RAS).
        """
        places, hidden = self.places, self.hidden
        if places.shape[1] == 3:
            middle = np.abs(places[:, 2] - 0.5)
            chosen = middle <= middle.min() + 1e-6
            places, hidden = np.stack([1 - places[chosen, 1], places[chosen, 0]], axis=1), hidden[chosen]
        if places.shape[1] == 1:  # time runs from left to right
            places = np.concatenate([np.full_like(places, 0.5), places], axis=1)
        sides = np.array([1 / len(np.unique(places[:, axis].round(4))) for axis in (0, 1)])
        cells = np.concatenate([places - sides / 2, places + sides / 2], axis=1) * np.tile(picture.shape[:2], 2)
        picture = picture.copy()
        for top, left, bottom, right in cells[hidden].round().astype(int):
            picture[max(top, 0):bottom, max(left, 0):right] = 128
        return picture

    def columns(self, count: int) -> tuple[int, ...]:
        """Which columns of a row are hidden, where every column is one token."""
        return tuple(self.hidden.nonzero()[0].tolist()) if len(self.hidden) == count else ()


def strip(found: Sequence[tuple[str, Any, Hidden | None]], changes: bool = False) -> Html:
    """Items side by side, each with its title and what a mask hides of it; with `changes`, rows are compared with the first."""
    if all(isinstance(thing, Mapping) for _, thing, _ in found):
        return rows([(title, thing, () if hidden is None else hidden.columns(len(thing))) for title, thing, hidden in found],
                    changes)
    return tag("div", [tag("figure", look(thing, title, hidden), tag("figcaption", title)) for title, thing, hidden in found],
               class_="strip")


def look(thing: Any, title: str, hidden: Hidden | None = None) -> Html | None:
    """A picture or a drawing; nothing for None."""
    if thing is None:
        return None
    if isinstance(thing, Drawing):
        return drawing(thing, title)
    picture = np.asarray(thing)
    return image(picture if hidden is None else hidden.over(picture), title)


def image(picture: Any, title: str = "") -> Html:
    """A picture (uint8, (H, W) or (H, W, 3)), at most `SIDE` pixels a side."""
    small = shrunk(picture, SIDE)
    return tag("img", src="data:image/png;base64," + b64encode(png(small)).decode(), alt=title,
               style=f"aspect-ratio:{picture.shape[1]}/{picture.shape[0]}",
               class_="tiny" if max(small.shape[:2]) <= 64 else None)


def png(picture: Any) -> bytes:
    """uint8 (H, W) or (H, W, 3) as a PNG file (RFC 2083): every line unfiltered."""
    pixels = np.ascontiguousarray(picture, dtype=np.uint8)
    height, width = pixels.shape[:2]
    body = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body, 6)) + chunk(b"IEND", b"")


def shrunk(picture: Any, side: int) -> Any:
    """A picture of at most `side` pixels a side, each the mean of the pixels that fall into it."""
    for axis in (0, 1):
        length = picture.shape[axis]
        if length > side:
            starts = np.arange(side) * length // side
            sums = np.add.reduceat(picture.astype(np.float32), starts, axis=axis)
            counts = np.diff(np.append(starts, length)).reshape([-1 if a == axis else 1 for a in range(picture.ndim)])
            picture = (sums / counts).astype(np.uint8)
    return picture


def sheet(pictures: Sequence[Any], side: int, across: int) -> Any:
    """Many small pictures as one, `across` in a line, each in a cell of `side` pixels."""
    colour = any(np.asarray(p).ndim == 3 for p in pictures)
    cells = np.zeros((-(-len(pictures) // across), side, across, side, *((3,) if colour else ())), np.uint8)
    for i, picture in enumerate(pictures):
        small = shrunk(np.asarray(picture), side)
        small = np.repeat(small[..., None], 3, axis=2) if colour and small.ndim == 2 else small
        times = max(1, side // max(small.shape[:2]))
        small = small.repeat(times, axis=0).repeat(times, axis=1)
        cells[i // across, : small.shape[0], i % across, : small.shape[1]] = small
    return cells.reshape(cells.shape[0] * side, across * side, *cells.shape[4:])


def rows(found: Sequence[tuple[str, Mapping[str, Any], Sequence[int]]], changes: bool) -> Html:
    """Rows of a table side by side, standing: one line per column, the first `COLUMNS` and the others behind a word.

    Args:
        found: title, row, and the numbers of the columns that a mask hides.
        changes: mark the cells that differ from the first row.
    """
    def cell(i: int, name: str, k: int) -> Html:
        _, row, hidden = found[k]
        changed = changes and k > 0 and str(row.get(name)) != str(found[0][1].get(name))
        return tag("td", "hidden" if i in hidden else number(row.get(name)),
                   class_="changed" if changed or i in hidden else None)
    lines = [tag("tr", tag("th", name), [cell(i, name, k) for k in range(len(found))]) for i, name in enumerate(found[0][1])]
    head = tag("tr", tag("th"), [tag("th", title) for title, _, _ in found])
    more = tag("details", tag("summary", f"{len(lines) - COLUMNS} more columns"), tag("table", lines[COLUMNS:]))
    return tag("div", tag("table", head, lines[:COLUMNS]), more if len(lines) > COLUMNS else None, class_="wide row")


def drawing(found: Drawing, title: str = "") -> Html:
    """Points and edges; the item itself stands out."""
    places = np.asarray(found.points, float).reshape(-1, 2)
    low, high = (places.min(axis=0), places.max(axis=0)) if len(places) else (np.zeros(2), np.ones(2))
    xy = 8 + (places - low) / max(float((high - low).max()), 1e-9) * 84
    edges = [tag("line", x1=f"{xy[a, 0]:.1f}", y1=f"{xy[a, 1]:.1f}", x2=f"{xy[b, 0]:.1f}", y2=f"{xy[b, 1]:.1f}")
             for a, b in found.edges]
    dots = [tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.4 if i else 5, class_=None if i else "itself")
            for i, (x, y) in enumerate(xy)]
    return tag("svg", joined(edges), joined(dots), class_="drawing", viewBox="0 0 100 100", role="img", aria_label=title)
