"""For scripts that train many times: how many epochs fit into some minutes, and cells that are kept when they are done."""
from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_core.assembly import assemble
from ssl_core.batches import move
from ssl_core.config import resolve
from ssl_core.files import write_json
from ssl_core.optimizers import groups
from ssl_core.plugins import Plugins

CUDA = torch.cuda.is_available()
CLOCK = "of one GPU" if CUDA else "of processor time"


class Out(Exception):
    """The time of this piece is over."""


class Cells:
    """What is done, in a file, and when to stop.

    Args:
        path: of the file.
        piece: minutes after which no further cell is begun; 0 for no end.
    """

    def __init__(self, path: Path, piece: float = 0.0) -> None:
        self.path, self.end = path, time.monotonic() + 60 * piece if piece else float("inf")
        self.done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of a cell, made now if it is not there."""
        if key not in self.done:
            if time.monotonic() > self.end:
                raise Out
            start = clock()
            self.done[key] = make()
            write_json(self.path, self.done)
            print(f"{key}: {clock() - start:.0f} s  {self.done[key]}", file=sys.stderr, flush=True)
        return self.done[key]


def clock() -> float:
    """Seconds of the processor, so that other programs do not count; of the wall where a GPU does the work."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() if CUDA else time.process_time()


def epochs_within(minutes: float, plugin: str, method: str, options: Mapping[str, Any], held: Any = None, steps: int = 4
                  ) -> int:
    """How many whole epochs fit, by the median of a few steps without the first, or fewer where steps are that dear; one at
    least.

    Args:
        held: the data, where they are in memory.
    """
    parts = assemble(resolve(Plugins(), plugin, method, options), held)
    device = torch.device("cuda" if CUDA else "cpu")
    learner, spent = parts.method.to(device), []
    optimizer = parts.optimizer(groups(learner))
    learner.prepare([move(next(iter(parts.data.train)), device)])
    enough = False
    while not enough:
        for batch in parts.data.train:
            start = clock()
            learner.step(move(batch, device))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            learner.after_step()
            spent.append(clock() - start)
            enough = len(spent) == steps or len(spent) > 1 and sum(spent) > 60 * minutes
            if enough:
                break
    return max(1, int(60 * minutes / (statistics.median(spent[1:]) * len(parts.data.train))))
