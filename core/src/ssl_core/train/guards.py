"""What keeps a training safe: checkpoints in one step, a clean stop on Ctrl-C, the contracts on the first batch."""
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
from ..checks import first_batch
from ..errors import RunError
from ..files import atomically
from .module import Training


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there, and that run no code when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        atomically(Path(path), lambda beside: torch.save(checkpoint, beside))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunError(f"the checkpoint {path} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


class Checkpoints(pl.Callback):
    """Save `last.ckpt` every so many seconds or steps, at the end, and when asked to stop.

    SIGINT and SIGTERM end the step in hand, save and stop; a second one stops at once.

    Args:
        path: of the checkpoint.
        seconds: between two checkpoints.
        steps: between two checkpoints; 0 to go by time only.
    """

    def __init__(self, path: Path, seconds: float, steps: int) -> None:
        self.path, self.seconds, self.steps = path, seconds, steps
        self.interrupted = False
        self.before: dict[int, Any] = {}
        self.step = self.saved_step = -1

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        self.saved, self.step = time.monotonic(), trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        print("\nstopping after this step; once more to stop at once", file=sys.stderr)

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        if trainer.global_step == self.step:  # gradients are being accumulated, and a checkpoint holds none
            return
        self.step = trainer.global_step
        due = self.steps and self.step % self.steps == 0 or time.monotonic() - self.saved > self.seconds
        if due or self.interrupted:
            trainer.save_checkpoint(self.path)
            self.saved, self.saved_step = time.monotonic(), self.step
        if self.interrupted:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, training: Training) -> None:
        if not self.interrupted or self.saved_step != trainer.global_step:  # it may come after the last step
            trainer.save_checkpoint(self.path)

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
