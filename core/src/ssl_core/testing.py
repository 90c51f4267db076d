"""For the tests of plugins: trainings that die, and whether anything was lost."""
from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .checkpoints import BEFORE
from .train.guards import AtomicCheckpoints, Checkpoints

#: Where in a step a training can die: before and after the gradient, before and after the optimizer's part, after the
#: checkpoint, and inside the writing of that: with half of the file written, and between its two moves.
MOMENTS = {
    "start": "on_train_batch_start", "forward": "on_before_backward", "backward": "on_after_backward",
    "update": "on_before_optimizer_step", "end": "on_train_batch_end", "half": "", "moved": "",
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@contextmanager
def killed_at(step: int, moment: str = "end") -> Iterator[None]:
    """A training inside dies in this step of the optimizer, and what it then raises ends here.

        with killed_at(5):
            pretrain("graph", "gcool", out="cut", trainer={"checkpoint_steps": 1})
        resumed = resume("cut")

    Args:
        step: counted from 1.
        moment: one of `MOMENTS`; `half` and `moved` wait for the first checkpoint from this step on.

    Raises:
        AssertionError: no training reached that step.
    """
    patched = _writing(step, moment) if moment in ("half", "moved") else _stepping(step, MOMENTS[moment])
    try:
        with patched:
            yield
    except Killed:
        return
    raise AssertionError(f"no training reached step {step}")


@contextmanager
def _stepping(step: int, hook: str) -> Iterator[None]:
    own, whole = vars(Checkpoints).get(hook), getattr(Checkpoints, hook)

    def dies(self: Checkpoints, trainer: Any, *rest: Any) -> None:
        whole(self, trainer, *rest)
        if trainer.global_step + (hook != "on_train_batch_end") == step:
            raise Killed
    setattr(Checkpoints, hook, dies)
    try:
        yield
    finally:
        if own is not None:
            setattr(Checkpoints, hook, own)
        else:
            delattr(Checkpoints, hook)


@contextmanager
def _writing(step: int, moment: str) -> Iterator[None]:
    whole = AtomicCheckpoints.save_checkpoint

    def dies(self: AtomicCheckpoints, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if checkpoint["global_step"] < step:
            return whole(self, checkpoint, path)
        if moment == "half":
            file = BytesIO()
            torch.save(checkpoint, file)
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".{path.name}.half").write_bytes(file.getvalue()[: file.tell() // 2])
        elif path.exists():  # the last one has become the one before, and the new one is not yet in place
            path.replace(path.with_name(BEFORE))
        raise Killed
    AtomicCheckpoints.save_checkpoint = dies  # type: ignore[method-assign]
    try:
        yield
    finally:
        AtomicCheckpoints.save_checkpoint = whole  # type: ignore[method-assign]


def crash_loop(train: Callable[[Path], Any], resume: Callable[[Path], Any], folder: Path, kills: int, seed: int = 0
               ) -> dict[str, int]:
    """Kill trainings at random steps and moments, resume them, and compare what comes out with one that was let be.

    Args:
        train: trains into a new directory, with `checkpoint_steps=1` or 2 and `log_every=1`.
        resume: goes on with one.
        folder: for the runs.
        kills: how many, spread over as many runs as it takes.
        seed: of the moments.

    Returns:
        {"kills": ..., "runs": ..., one count for each moment}

    Raises:
        AssertionError: something was lost.
    """
    train(folder / "whole")
    total, draw = int(rows(folder / "whole")[-1][0]), random.Random(seed)
    counts = {"kills": 0, "runs": 0} | dict.fromkeys(MOMENTS, 0)
    while counts["kills"] < kills:
        path, step = folder / f"cut-{counts['runs']}", 0
        counts["runs"] += 1
        while counts["kills"] < kills and step < total:
            step = min(total, step + draw.randint(1, max(1, total // 3)))
            moment = draw.choice(list(MOMENTS))
            with killed_at(step, moment):
                resume(path) if path.exists() else train(path)
            counts["kills"] += 1
            counts[moment] += 1
        resume(path)
        same(path, folder / "whole")
    return counts


def same(run: Path, whole: Path) -> None:
    """Two runs left the same rows of losses and the same weights, bit for bit.

    Raises:
        AssertionError: they did not.
    """
    assert rows(run) == rows(whole), f"{run}: other rows in metrics.csv than {whole}"
    ours, theirs = load_file(run / "encoder.safetensors"), load_file(whole / "encoder.safetensors")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs), \
        f"{run}: other weights than {whole}"


def rows(run: Path) -> list[tuple[str, ...]]:
    """Step, epoch, learning rate and losses of every row of metrics.csv, and all else but times."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return [(row["step"], *(value for name, value in row.items() if name not in ("step", *TIMES))) for row in found]


TIMES = ("seconds", "items_per_second", "data_wait")
