"""What scripts that compare two versions in one process share: alternating runs, their times, the most memory they hold."""
from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

CPU = torch.profiler.ProfilerActivity.CPU


class Measured(NamedTuple):
    """Of one version.

    Args:
        seconds: median of all turns.
        memory: MiB held at once beyond what was there before.
    """

    seconds: float
    memory: float


def alternating(sides: Mapping[str, Callable[[], Any]], turns: int, device: str) -> dict[str, Measured]:
    """Each version once in every turn, the order reversed from turn to turn; the first turn warms up.

    On a CPU the time is that of the processor, so that what else runs on the machine counts as little as may be.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, call in list(sides.items())[:: -1 if turn % 2 else 1]:
            seconds = timed(call, device)
            if turn:
                times[name].append(seconds)
    return {name: Measured(statistics.median(times[name]), most(call, device)) for name, call in sides.items()}


def timed(call: Callable[[], Any], device: str) -> float:
    """Seconds that a call takes, of the processor or of the wall clock."""
    if device == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def most(call: Callable[[], Any], device: str) -> float:
    """MiB that a call holds at once, as the allocator counts them."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[CPU], profile_memory=True, acc_events=True) as profile:
        call()
    moves = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for move in sorted(moves, key=lambda event: event.start_ns()):
        held += move.nbytes()
        peak = max(peak, held)
    return peak / 2**20


def where(device: str) -> str:
    """The machine in words."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def absent(package: str) -> None:
    """End with what to install: rivals are no part of what this project needs."""
    sys.exit(f"{package} is not installed.\n  Try, in an environment of its own: pip install -r benchmarks/requirements.txt")
