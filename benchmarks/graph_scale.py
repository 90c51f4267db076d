"""Time and memory of an epoch as a graph grows, from 10^4 to 10^6 nodes, as a table and a picture: the section "graph-scale"
of docs/results.md.

    python benchmarks/graph_scale.py [--nodes 10000,30000,100000,300000,1000000] [--methods bgrl,graphmae,gcool]
        [--steps 20] [--sampler clusters] [--cache FILE] [--piece 20]

The graphs are synthetic: random edges, 10 per node on average, and random features, which stay in a file. Each size is
trained on in a process of its own, which is not given more than `--gib` of memory. A cell that is in the cache is not
repeated, so the command can be stopped and given again.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from budget import Cells, Out
from page import PAGE, write_section
from rank_vs_accuracy import COLOURS

PICTURE = PAGE.parent / "images" / "graph_scale.svg"
OPTIONS = {"probe": "", "baselines": False, "encoder.width": 128, "trainer.tensorboard": False,
           "trainer.checkpoint_seconds": 1e9, "trainer.monitor_every": 0}
OF_METHOD = {"bgrl": {"encoder.hidden": 128, "method.predictor": (128,)}, "graphmae": {"encoder.heads": 2},
             "gcool": {"method.communities": 10}}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--nodes", default="10000,30000,100000,300000,1000000")
    ask.add_argument("--methods", default=",".join(OF_METHOD))
    ask.add_argument("--features", type=int, default=128)
    ask.add_argument("--steps", type=int, default=0, help="of an epoch, the rest extrapolated; 0 for all of it")
    ask.add_argument("--sampler", default="clusters", help="as data.sampler; none for the whole graph at every step")
    ask.add_argument("--batch", type=int, default=10_000, help="nodes of a batch")
    ask.add_argument("--gib", type=float, default=20.0, help="memory that a process gets")
    ask.add_argument("--cache", type=Path, default=Path("runs/graph-scale.json"))
    ask.add_argument("--piece", type=float, default=0.0, help="minutes after which no further cell is begun; 0 for no end")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    ask.add_argument("--one", help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.one:
        print(json.dumps(measured(*given.one.split(":"), given)))
        return
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    cells, sizes = Cells(given.cache, given.piece), [int(size) for size in given.nodes.split(",")]
    found: dict[tuple[str, int], dict[str, Any]] = {}
    try:
        for size in sizes:
            for method in given.methods.split(","):
                key = f"{method} {size} {given.sampler} {given.batch} {given.features} {given.steps}"
                found[method, size] = cells.get(key, lambda m=method, n=size: apart(m, n))
    except Out:
        print("the time of this piece is over; give the same command again to go on", file=sys.stderr)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn(found), encoding="utf-8")
    write_section("graph-scale", text(found, given), given.out)
    print("\n".join(table(found)))


def apart(method: str, size: int) -> dict[str, Any]:
    """One cell, in a process of its own."""
    words = [sys.executable, __file__, *sys.argv[1:], "--one", f"{method}:{size}"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"failed": done.returncode}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(method: str, size: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train for an epoch, or some steps of one: processor time, and the most memory that the process ever held."""
    from ssl_core.assembly import assemble
    from ssl_core.batches import seed_all
    from ssl_core.config import resolve
    from ssl_core.evaluation import embed
    from ssl_core.optimizers import groups
    from ssl_core.plugins import Plugins
    resource.setrlimit(resource.RLIMIT_DATA, (int(given.gib * 2**30),) * 2)
    with tempfile.TemporaryDirectory() as folder:
        edges = synthetic(Path(folder), int(size), given.features)
        start = time.process_time()
        run = assemble(resolve(Plugins(), "graph", method, OPTIONS | OF_METHOD.get(method, {}) | {
            "data": folder, "data.sampler": given.sampler, "data.batch_size": given.batch}))
        read = time.process_time() - start
        learner, optimizer, steps = run.method.train(), run.optimizer(groups(run.method)), len(run.data.train)
        seed_all(0)
        spent = []
        start = time.process_time()
        for batch in run.data.train:
            optimizer.zero_grad()
            learner.step(batch)["loss"].backward()
            optimizer.step()
            learner.after_step()
            spent.append(time.process_time() - start)
            start = time.process_time()
            if len(spent) == given.steps:
                break
        training = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows = embed(learner.kept, run.data.items)
        embedding = time.process_time() - start
    return {"edges": edges, "seconds": sum(spent) * steps / len(spent), "steps": steps, "done": len(spent), "read": read,
            "gib": training, "embed": embedding, "all_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "finite": bool(rows.isfinite().all())}


def synthetic(folder: Path, nodes: int, features: int) -> int:
    """Write a random graph with 10 directed edges per node on average; the number of edges drawn."""
    draw = np.random.default_rng(0)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (nodes, features))
    for start in range(0, nodes, 2**16):
        x[start: start + 2**16] = draw.standard_normal((min(2**16, nodes - start), features), dtype=np.float32)
    x.flush()
    np.save(folder / "edge_index.npy", draw.integers(nodes, size=(2, 5 * nodes)))
    return 10 * nodes


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of a straight line through logarithms: the b of a N^b."""
    return float(np.polyfit(*(np.log(column) for column in zip(*points, strict=True)), 1)[0])


def whole(found: dict[tuple[str, int], dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Cells that came to an end, by method, in the order of their sizes."""
    kept: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for (method, size), cell in sorted(found.items(), key=lambda item: item[0][1]):
        if "failed" not in cell:
            kept.setdefault(method, []).append((size, cell))
    return kept


COLUMNS = {"seconds": 1, "read": 1, "gib": 2, "embed": 1, "all_gib": 2}  # and digits behind the point


def table(found: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
    lines = ["| method | nodes | edges | steps measured | seconds an epoch | seconds to read and cut | memory of training, GiB "
             "| seconds to embed all | with embedding, GiB |", "|---|" + "--:|" * 8]
    for (method, size), cell in found.items():
        if "failed" in cell:
            lines.append(f"| {method} | {size:,} | did not end within the memory (exit {cell['failed']}) | | | | | | |")
        else:
            numbers = [f"{cell[key]:.{digits}f}" for key, digits in COLUMNS.items()]
            lines.append(f"| {method} | {size:,} | {cell['edges']:,} | {cell['done']} of {cell['steps']} | "
                         f"{' | '.join(numbers)} |")
    return lines


def text(found: dict[tuple[str, int], dict[str, Any]], given: argparse.Namespace) -> str:
    """The section: what was done, the picture, the table and how fast time and memory grow."""
    cut = (f"`data.sampler={given.sampler} data.batch_size={given.batch}`" if given.sampler != "none" else
           "the whole graph at every step")
    some = any(cell.get("done", 0) < cell.get("steps", 0) for cell in found.values())
    lines = ["## Scale of graphs", "", f"Made by `{' '.join(['python benchmarks/graph_scale.py', *sys.argv[1:]])}`. Synthetic "
             f"graphs: random edges, 10 per node on average, {given.features} random features, which stay in a file. "
             f"Trained with {cut}, width 128; seconds are of processor time ({torch.get_num_threads()} threads, "
             f"{platform.machine()}, {os.cpu_count()} cores) for one epoch" + (
                 ", extrapolated from the steps that were measured" if some else "") +
             f"; memory is the most that the process ever held, of {given.gib:g} GiB that it was given. All nodes are embedded "
             "at the end, layer by layer.", "", f"![Time and memory as a graph grows](images/{PICTURE.name})", "",
             *table(found), ""]
    for method, cells in whole(found).items():
        if len(cells) > 1:
            growth = [exponent([(size, cell[key]) for size, cell in cells]) for key in ("seconds", "gib")]
            lines.append(f"- {method}: time grows as N^{growth[0]:.2f}, memory of training as N^{growth[1]:.2f}, "
                         f"between {cells[0][0]:,} and {cells[-1][0]:,} nodes.")
    return "\n".join(lines)


def drawn(found: dict[tuple[str, int], dict[str, Any]], width: int = 360, height: int = 240, margin: int = 60) -> str:
    """Two panels, both axes logarithmic: seconds an epoch, and memory, against nodes; one line per method."""
    methods, parts = whole(found), []
    for column, (key, title) in enumerate((("seconds", "seconds an epoch"), ("gib", "memory of training, GiB"))):
        points = {name: [(math.log10(size), math.log10(cell[key])) for size, cell in cells] for name, cells in methods.items()}
        parts += panel(margin + column * (width + margin), 30, width, height, title, points)
    names = "".join(f'<tspan fill="{COLOURS[i]}" dx="{14 * (i > 0)}">{name}</tspan>' for i, name in enumerate(methods))
    parts.append(f'<text x="{margin}" y="{height + 72}">{names}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {margin + 2 * (width + margin)} {height + 84}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) +
            "\n</svg>\n")


def panel(left: int, top: int, width: int, height: int, title: str, points: dict[str, list[tuple[float, float]]]) -> list[str]:
    """A frame with a mark at every power of ten, and one line per method through logarithms (x, y)."""
    xs, ys = ([point[axis] for line in points.values() for point in line] or [0.0] for axis in (0, 1))
    (x0, x1), (y0, y1) = ((math.floor(min(v)), max(math.ceil(max(v)), math.floor(min(v)) + 1)) for v in (xs, ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * (x - x0) / (x1 - x0), top + height * (y1 - y) / (y1 - y0)
    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>',
             f'<text x="{left}" y="{top - 8}">{title}</text>',
             f'<text x="{left + width / 2}" y="{top + height + 32}" text-anchor="middle">nodes</text>']
    for power in range(x0, x1 + 1):
        parts.append(f'<text x="{place(power, y0)[0]:.0f}" y="{top + height + 15}" text-anchor="middle">{10**power:,}</text>')
    for power in range(y0, y1 + 1):
        parts.append(f'<text x="{left - 5}" y="{place(x0, power)[1] + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    for i, line in enumerate(points.values()):
        marks = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in marks)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[i]}"/>' for x, y in marks]
    return parts


if __name__ == "__main__":
    main()
