"""What keeps a training safe: checkpoints in one step, a clean stop when asked, the contracts on the first batch."""
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..batches import move
from ..checkpoints import Best, save
from ..checks import first_batch
from ..distributed import total, world
from ..errors import ConfigError, RunError, listed, nearest
from .logs import Metrics
from .module import Training

#: What asks a run to stop: Ctrl-C, the end of a machine, and the warning that a cluster sends before it.
STOP = ("SIGINT", "SIGTERM", "SIGUSR1")


COUNTERS = ("ready", "started", "processed", "completed")


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there, and that run no code when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunError(f"the checkpoint {path} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


class Checkpoints(pl.Callback):
    """Save `last.ckpt` every so many seconds or steps, at the end, and when asked to stop.

    A signal of `STOP` ends the step in hand, saves and stops; a second one stops at once, or as soon as the checkpoint that
    is being written is there. Several processes agree on both every `every` steps, since what each of them is told, and its
    clock, may differ.

    Args:
        path: of the checkpoint.
        seconds: between two checkpoints.
        steps: between two checkpoints; 0 to go by time only.
        metrics: the rows that `best` looks at, and its `every`.
        best: keeps some of the checkpoints beside the last.
        limit: stop after so many seconds of training; 0 for never.
    """

    def __init__(self, path: Path, seconds: float, steps: int, metrics: Metrics, best: Best, limit: float = 0.0) -> None:
        self.path, self.seconds, self.steps, self.metrics, self.best = path, seconds, steps, metrics, best
        self.limit = limit
        self.asked = self.interrupted = False
        self.before: dict[int, Any] = {}
        self.step = self.saved_step = -1
        self.value: float | None = None  # of the best column

    def setup(self, trainer: pl.Trainer, training: Training, stage: str) -> None:
        """Note who answers signals before Lightning does: it takes them later, and gives them back before us."""
        if threading.current_thread() is threading.main_thread():  # Windows has no SIGUSR1
            numbers = [getattr(signal, name) for name in STOP if hasattr(signal, name)]
            self.before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        self.saved, self.step = time.monotonic(), trainer.global_step
        self.begun = self.saved
        for number in self.before:
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step; once more to stop at once", file=sys.stderr)

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        if trainer.global_step == self.step:  # gradients are being accumulated, and a checkpoint holds none
            return
        self.step = trainer.global_step
        late = time.monotonic() - self.saved > self.seconds
        self.asked = self.asked or bool(self.limit) and time.monotonic() - self.begun > self.limit
        if world() == 1 or self.step % self.metrics.every == 0:
            self.interrupted, late = self._agreed(training, self.asked, late)
        else:
            late = False
        if self.best.count:
            self._measured()
        if self.steps and self.step % self.steps == 0 or late or self.interrupted:
            self._save(trainer)
        if self.interrupted:
            trainer.should_stop = True

    def _agreed(self, training: Training, *mine: bool) -> tuple[bool, ...]:
        """What any process wants, all do."""
        if world() == 1:
            return mine
        return tuple(bool(item) for item in total(torch.tensor(mine, dtype=torch.float32, device=training.device)).tolist())

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.saved, self.saved_step = time.monotonic(), self.step
        if self.best.count and trainer.is_global_zero and self.value is not None:
            self.best.consider(self.path, self.step, self.value)

    def _measured(self) -> None:
        """The last value of the column that says which checkpoints are best."""
        row, column = self.metrics.row, self.best.column
        if column in row:
            self.value = row[column]
        elif row and column not in self.metrics.columns:
            raise ConfigError(f"metrics.csv has no column {column!r} to keep the best checkpoints by (trainer.best_by)"
                              f"{nearest(column, [*row, *self.metrics.columns])}\n"
                              f"  It has: {listed([*row, *self.metrics.columns])}")

    def on_save_checkpoint(self, trainer: pl.Trainer, training: Training, checkpoint: dict[str, Any]) -> None:
        """Lightning's own counters, as a run that was never resumed has them: they drift with every resume otherwise."""
        epoch, seen, batches = trainer.current_epoch, training.seen, len(training.batches)
        inside = {"ready": 1, "started": 1, "processed": 0, "completed": 0} if seen else dict.fromkeys(COUNTERS, 0)
        loop, reached = checkpoint["loops"]["fit_loop"], seen or batches
        for place in ("total", "current"):
            loop["epoch_progress"][place] |= {name: epoch + more for name, more in inside.items()}
        place = loop["epoch_loop.batch_progress"]
        place["current"] |= dict.fromkeys(COUNTERS, reached) | ({"completed": reached - 1} if seen else {})
        place["is_last_batch"] = reached == batches

    def on_train_end(self, trainer: pl.Trainer, training: Training) -> None:
        self.interrupted = self._agreed(training, self.asked)[0]
        if not self.interrupted or self.saved_step != trainer.global_step:  # it may come after the last step
            self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, training: Training, exception: BaseException) -> None:
        self.teardown(trainer, training, "fit")  # Lightning calls no teardown after an error

    def teardown(self, trainer: pl.Trainer, training: Training, stage: str) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


class FirstBatch(pl.Callback):
    """Check the cheap half of the contracts on the first batch, on the device, on a copy."""

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        if trainer.global_step == 0:
            batch = next(iter(training.batches), None)
            first_batch(training.method, move(batch, training.device), trainer.precision_plugin.forward_context)


class Compiled(pl.Callback):
    """Compile the encoder with torch.compile, in place, so that the names of its weights stay."""

    def setup(self, trainer: pl.Trainer, training: Training, stage: str) -> None:
        training.method.encoder.compile()


def process() -> Callable[[], float]:
    """A function that tells the peak memory of this process, in MiB: of the device if there is one, else resident."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return lambda: torch.cuda.max_memory_allocated() / 2**20
    if os.name == "posix":
        import resource
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return lambda: 0.0
