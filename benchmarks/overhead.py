"""What the runner costs: its step against a hand-written loop of the same method, data and optimizer.

Both run in this process, alternating; a step is the time from one start of a step to the next, logging included.

    python benchmarks/overhead.py [--steps 40] [--rounds 5]
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from ssl_core.assembly import Assembly, assemble
from ssl_core.batches import Batches, seed_all
from ssl_core.config import resolve
from ssl_core.optimizers import groups
from ssl_core.plugins import Plugins
from ssl_core.train.fit import Fit


class Clock(pl.Callback):
    """Notes when each step starts."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.starts.append(time.perf_counter())


def runner(assembly: Assembly, steps: int) -> list[float]:
    """Step times of the runner, as `sslrun` drives it."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        fit = Fit(replace(assembly.trainer, accelerator="cpu"), steps, Path(folder), assembly.data.size, [clock], quiet=False)
        fit.run(deepcopy(assembly.method), Batches(assembly.data.train, 0), assembly.optimizer, assembly.schedule, None)
    return clock.starts


def by_hand(assembly: Assembly, steps: int) -> list[float]:
    """Step times of the loop that one would write oneself."""
    method, starts = deepcopy(assembly.method), []
    method.train()
    optimizer = assembly.optimizer(groups(method))
    for _ in range(steps):
        for batch in assembly.data.train:
            starts.append(time.perf_counter())
            loss = method.step(batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            method.after_step()
    return starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugin", default="graph")
    parser.add_argument("--method", default="gcool")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    assembly = assemble(resolve(Plugins(), args.plugin, args.method))
    times: dict[str, list[float]] = {"sslrun": [], "by hand": []}
    for _ in range(args.rounds):
        for name, loop in (("sslrun", runner), ("by hand", by_hand)):
            seed_all(0)
            starts = loop(assembly, args.steps)
            times[name].append(statistics.median(b - a for a, b in zip(starts[2:], starts[3:], strict=False)))
    for name, found in times.items():
        print(f"{name:<8} {1000 * statistics.median(found):8.3f} ms a step")
    ratio = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
    print(f"{args.plugin}/{args.method}: the runner's step takes {ratio:.3f} times that of a loop by hand "
          f"(median of {args.rounds} rounds of {args.steps} steps)")


if __name__ == "__main__":
    main()
