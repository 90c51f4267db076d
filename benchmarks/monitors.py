"""What the monitors cost: processor time in their hooks against that of everything else in the same training.

Both are counted in one run, side by side, so other programs on the machine do not matter. What is built before the first
step (choosing the items, the first measurement) is told apart.

    python benchmarks/monitors.py [--only graph/gcool,vision/simclr] [--measurements 3]
"""
from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from ssl_core.assembly import assemble
from ssl_core.batches import Batches, seed_all
from ssl_core.config import resolve
from ssl_core.plugins import Plugins
from ssl_core.train.fit import Fit

METHODS = ("graph/gcool", "vision/simclr", "tabular/tjepa", "speech/wav2vec2")
HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")


class Clock(pl.Callback):
    """Processor time between the first step and the last; stops after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.first, self.last = steps, 0.0, 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.first = self.first or time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.last = time.process_time()
        trainer.should_stop = trainer.global_step >= self.steps


def timed(monitor: Any, hook: str, spent: dict[str, float]) -> None:
    """Add up the processor time of one hook."""
    whole = getattr(monitor, hook)

    def call(*args: Any) -> None:
        start = time.process_time()
        whole(*args)
        spent[hook] = spent.get(hook, 0.0) + time.process_time() - start
    setattr(monitor, hook, call)


def measure(plugin: str, method: str, measurements: int) -> str:
    """One line: the share at default settings over whole intervals between two measurements."""
    assembly = assemble(resolve(Plugins(), plugin, method))
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(10**9)
        fit = Fit(assembly.trainer, 10**6, Path(folder), assembly.data.size, [clock], True, assembly.data)
        monitor = fit.monitors[0]
        for hook in ("on_train_start", *HOOKS):
            timed(monitor, hook, spent)
        begin = monitor.on_train_start

        def start(trainer: pl.Trainer, training: Any) -> None:
            begin(trainer, training)
            clock.steps = measurements * monitor.step_between
        monitor.on_train_start = start
        seed_all(0)
        fit.run(assembly.method, Batches(assembly.data.train, 0), assembly.optimizer, assembly.schedule, None)
    whole, ours = clock.last - clock.first, sum(spent[hook] for hook in HOOKS)
    share, step = 100 * ours / (whole - ours), 1000 * (whole - ours) / clock.steps
    return (f"{plugin + '/' + method:16} {share:5.2f} % of {step:8.1f} ms a step, measured every {monitor.step_between} steps; "
            f"{spent['on_train_start']:.2f} s before the first")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", default=",".join(METHODS), help="some methods, as PLUGIN/METHOD")
    ask.add_argument("--measurements", type=int, default=1, help="intervals to time, each with one measurement")
    given = ask.parse_args()
    for name in filter(None, given.only.split(",")):
        print(measure(*name.split("/"), given.measurements), flush=True)


if __name__ == "__main__":
    main()
