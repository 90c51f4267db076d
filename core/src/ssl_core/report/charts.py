"""Small charts as SVG: lines over steps, points of a map. Colours come from the style sheet, so they follow dark mode."""
from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

import numpy as np

from .html import Html, joined, number, tag

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400, 210, 52, 10, 10, 26
COLOURS = 10  # --c0 .. --c9 in the style sheet
MOST = 400  # points of one line


class Line(NamedTuple):
    """One line of a chart. `x` ascending; `colour` is a number that the style sheet knows."""

    name: str
    colour: int
    x: Sequence[float]
    y: Sequence[float]


def lines(lines: Sequence[Line], across: str, title: str, log: bool = False) -> Html:
    """Lines over a common x. With `log`, y (all positive) is drawn on a logarithmic scale."""
    lines = [thinned(line) for line in lines]
    xs, ys = (np.concatenate([np.asarray(getattr(line, axis), float) for line in lines]) for axis in "xy")
    shown = np.log10 if log else np.asarray
    low, high = _room(shown(ys))
    left, right = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)

    def across_(x: Any) -> Any:
        return LEFT + (np.asarray(x, float) - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def up(y: Any) -> Any:
        return HEIGHT - BOTTOM - (np.asarray(y, float) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    grid = [_level(float(up(level)), number(10**level if log else level)) for level in ticks(low, high, 4)]
    grid += [tag("text", number(x), x=f"{float(across_(x)):.0f}", y=HEIGHT - 8, text_anchor="middle")
             for x in ticks(left, right, 5) if left <= x <= right]
    drawn = [_drawn(line, across_(line.x), up(shown(np.asarray(line.y, float)))) for line in lines]
    return tag("svg", joined(grid), joined(drawn), class_="lines", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
               aria_label=f"{title} over {across}", data_across=across)


def _drawn(line: Line, x: Any, y: Any) -> Html:
    colour = f"var(--c{line.colour % COLOURS})"
    if len(line.x) == 1:
        return tag("circle", cx=f"{x[0]:.1f}", cy=f"{y[0]:.1f}", r=3, fill=colour)
    return tag("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)), stroke=colour,
               data_name=line.name, data_x=" ".join(f"{a:.7g}" for a in line.x), data_y=" ".join(f"{b:.5g}" for b in line.y))


def _level(y: float, name: str) -> Html:
    return joined([tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}"),
                   tag("text", name, x=LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end")])


def thinned(line: Line) -> Line:
    """At most `MOST` points: of each stretch the smallest and the largest, so that no peak is lost."""
    if len(line.x) <= MOST:
        return line
    y, kept = np.asarray(line.y, float), {0, len(line.x) - 1}
    for part in np.array_split(np.arange(len(y)), MOST // 2):
        kept |= {int(part[y[part].argmin()]), int(part[y[part].argmax()])}
    places = sorted(kept)
    return line._replace(x=[line.x[i] for i in places], y=[line.y[i] for i in places])


def _room(values: Any) -> tuple[float, float]:
    """Lowest and highest with a little room, never equal."""
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.05 or max(abs(high) * 0.05, 1e-6)
    return low - room, high + room


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = min((step for step in (power, 2 * power, 5 * power, 10 * power)), key=lambda step: abs(step - rough))
    return [round(i * step, 12) for i in range(ceil(low / step), floor(high / step) + 1)]


def points(places: Any, colours: Sequence[str], texts: Sequence[str], title: str) -> Html:
    """A map: `places` (N, 2), a colour and a text to show for each."""
    low, high = places.min(axis=0), places.max(axis=0)
    xy = 8 + (places - low) / np.maximum(high - low, 1e-12) * 384  # (N, 2) in a square of 400
    dots = [tag("circle", cx=f"{x:.1f}", cy=f"{400 - y:.1f}", r=3.2, fill=colour, data_t=text, data_i=i)
            for i, ((x, y), colour, text) in enumerate(zip(xy, colours, texts, strict=True))]
    return tag("svg", joined(dots), class_="map", viewBox="0 0 400 400", role="img", aria_label=title)
