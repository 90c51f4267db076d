"""Does the effective rank tell which encoder is good? RankMe and linear accuracy over the epochs of several methods, on three
kinds of data, as a picture and as rank correlations: the section "rank" of docs/results.md.

    python benchmarks/rank_vs_accuracy.py [--cache FOLDER]

Both are measured by the monitors, on items outside the test fold. A run that is in the cache is not repeated.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from page import PAGE, write_section
from scipy.stats import spearmanr

from ssl_core import Run, pretrain
from ssl_core.verdict import rows

PICTURE = PAGE.parent / "images" / "rank_vs_accuracy.svg"
METHODS = {  # data: plugin, epochs, methods
    "graph of digits": ("graph", "digits", 60, ("gcool", "grace", "bgrl", "graph-barlow")),
    "images of digits": ("vision", "digits", 8, ("simclr", "byol", "barlow-twins")),
    "breast cancer table": ("tabular", "breast-cancer", 40, ("scarf", "tabular-barlow", "vime")),
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


class Curve(NamedTuple):
    """What was measured during one training.

    Args:
        epochs: at which, from 0 to the last.
        ranks: RankMe.
        scores: linear accuracy on validation items.
        test: linear accuracy on test items, after training.
        seconds: of training.
    """

    method: str
    epochs: list[float]
    ranks: list[float]
    scores: list[float]
    test: float
    verdict: str
    seconds: float


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--cache", type=Path, default=Path("runs/rank"), help="one run directory per method")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    curves = {}
    for title, (plugin, data, epochs, methods) in METHODS.items():
        curves[title] = [curve(plugin, data, method, epochs, given.cache) for method in methods]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn(curves), encoding="utf-8")
    write_section("rank", text(curves), given.out)


def curve(plugin: str, data: str, method: str, epochs: int, cache: Path) -> Curve:
    """Train one method, measuring about twenty times, or read the run in the cache."""
    path, start = cache / f"{plugin}-{method}", time.perf_counter()
    if not (path / "result.json").exists():
        batches = {"graph": 1, "vision": 5, "tabular": 2}[plugin]
        every = max(1, epochs * batches // 20)
        pretrain(plugin, method, data=data, out=path, quiet=True, epochs=epochs, probe="linear", trainer={
            "monitor_every": every, "log_every": every, "tensorboard": False, "checkpoint_seconds": 1e9, "on_collapse": "off"})
        print(f"{plugin}/{method} {time.perf_counter() - start:.0f} s", file=sys.stderr)
    run = Run.load(path)
    seen = [row for row in rows(path / "metrics.csv") if "rankme" in row and "val_linear" in row]
    when, ranks, scores = ([row[name] for row in seen] for name in ("epoch", "rankme", "val_linear"))
    result = run.result
    return Curve(method, when, ranks, scores, result["scores"]["linear"], result["verdict"], result["seconds"])


def text(curves: dict[str, list[Curve]]) -> str:
    """The section: what was done, the picture, a table, and the correlations."""
    whole = [c for found in curves.values() for c in found]
    minutes = sum(c.seconds for c in whole) / 60
    lines = ["## Effective rank and accuracy", "",
             f"Made by `python benchmarks/rank_vs_accuracy.py`: {len(whole)} trainings by their recipes, shortened, one seed, "
             f"{minutes:.0f} minutes. RankMe and linear accuracy (ridge regression) are those of the "
             "monitors, on items outside the test fold; `test` is the linear probe on test items after training. "
             "`within` is Spearman's rank correlation of RankMe and accuracy over the measurements of one training.", "",
             f"![RankMe and linear accuracy over training](images/{PICTURE.name})", "",
             "| data | method | RankMe, first to last | accuracy, first to last | within | test | verdict |",
             "|---|---|--:|--:|--:|--:|---|"]
    for title, found in curves.items():
        lines += [f"| {title} | {c.method} | {c.ranks[0]:.1f} to {c.ranks[-1]:.1f} | {c.scores[0]:.3f} to {c.scores[-1]:.3f} | "
                  f"{correlation(c.ranks, c.scores)} | {c.test:.3f} | {c.verdict} |" for c in found]
    lines += ["", "Between methods, RankMe at the end against accuracy on test items: " + "; ".join(
        f"{title} {correlation([c.ranks[-1] for c in found], [c.test for c in found])} ({len(found)} methods)"
        for title, found in curves.items()) + ".", ""]
    inside = [value for c in whole if (value := rho(c.ranks, c.scores)) is not None]
    lines.append(f"Within a training the correlation is positive for {sum(value > 0 for value in inside)} of {len(inside)} "
                 f"methods; its median is {sorted(inside)[len(inside) // 2]:+.2f}.")
    return "\n".join(lines)


def rho(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None where one of them never changes or there are fewer than three."""
    return float(spearmanr(a, b)[0]) if len(a) > 2 and len(set(a)) > 1 and len(set(b)) > 1 else None


def correlation(a: Sequence[float], b: Sequence[float]) -> str:
    found = rho(a, b)
    return "undefined" if found is None else f"{found:+.2f}"


def drawn(curves: dict[str, list[Curve]], width: int = 300, height: int = 190, margin: int = 46) -> str:
    """One picture: a column per kind of data; above RankMe, below accuracy, over the share of training."""
    parts, columns = [], len(curves)
    for column, (title, found) in enumerate(curves.items()):
        shown = ("RankMe", [c.ranks for c in found]), ("linear accuracy", [c.scores for c in found])
        for row, (name, values) in enumerate(shown):
            left, top = margin + column * (width + margin), 30 + row * (height + 50)
            low, high = (0.0, 1.1 * max(map(max, values))) if not row else (min(map(min, values)) - 0.02, 1.0)
            parts += panel(left, top, width, height, low, high, f"{title}: {name}", [c.epochs for c in found], values)
        names = "".join(f'<tspan fill="{COLOURS[i]}" dx="{14 * (i > 0)}">{c.method}</tspan>' for i, c in enumerate(found))
        parts.append(f'<text x="{margin + column * (width + margin)}" y="{2 * height + 112}">{names}</text>')
    size = margin + columns * (width + margin), 2 * height + 122
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


def panel(left: int, top: int, width: int, height: int, low: float, high: float, title: str, xs: list[list[float]],
          ys: list[list[float]]) -> list[str]:
    """A frame with three marks on its axis, and one line per method."""
    last = max(max(x) for x in xs) or 1.0

    def place(x: float, y: float) -> str:
        return f"{left + width * x / last:.1f},{top + height * (high - y) / (high - low):.1f}"
    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>',
             f'<text x="{left}" y="{top - 8}">{title}</text>',
             f'<text x="{left + width}" y="{top + height + 15}" text-anchor="end">epoch {last + 1:.0f}</text>']
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = top + height * (1 - share) + 4
        parts.append(f'<text x="{left - 5}" y="{y:.0f}" text-anchor="end">{value:.{0 if high > 2 else 2}f}</text>')
    for i, (x, y) in enumerate(zip(xs, ys)):
        points = " ".join(place(*pair) for pair in zip(x, y))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>')
    return parts


if __name__ == "__main__":
    main()
