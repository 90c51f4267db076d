"""Build a Lightning trainer from the options of the run, and train."""
from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from ..batches import Batches
from ..contracts import Progress
from ..errors import ConfigError
from ..methods import Method
from .guards import AtomicCheckpoints, Checkpoints, Compiled, FirstBatch
from .logs import Bar, Metrics
from .module import Training
from .options import TrainerOptions

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Fitted:
    """What is known after training: the last metrics, time, steps, and whether it was stopped."""

    metrics: dict[str, float]
    seconds: float
    steps: int
    interrupted: bool


class Fit:
    """One training. Made before the data are moved, so that `device` is known.

    Args:
        options: of the trainer.
        epochs: passes over the data.
        folder: the run directory.
        size: training items in one epoch.
        callbacks: further Lightning callbacks.
        quiet: no progress bar.
    """

    def __init__(self, options: TrainerOptions, epochs: int, folder: Path, size: int, callbacks: list[Any], quiet: bool
                 ) -> None:
        self.metrics = Metrics(folder, size, options.log_every, options.tensorboard)
        self.checkpoints = Checkpoints(folder / "checkpoints" / "last.ckpt", options.checkpoint_seconds,
                                       options.checkpoint_steps)
        own = [FirstBatch(), self.metrics, Bar(self.metrics, quiet), self.checkpoints]
        with _less_noise(), _refusals():
            self.trainer = pl.Trainer(
                max_epochs=epochs, accelerator=options.accelerator, devices=options.devices,
                precision=PRECISION[options.precision],  # type: ignore[arg-type]
                gradient_clip_val=options.clip or None, accumulate_grad_batches=options.accumulate,
                callbacks=[*own, *([Compiled()] if options.compile else []), *callbacks], plugins=[AtomicCheckpoints()],
                logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                default_root_dir=folder)

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    def run(self, method: Method, batches: Batches, optimizer: Callable[[Any], torch.optim.Optimizer],
            schedule: Callable[[Progress], float], checkpoint: Path | None) -> Fitted:
        """Train, from `checkpoint` if there is one."""
        training = Training(method, optimizer, schedule, batches)
        with _less_noise(), _interrupts():
            self.trainer.fit(training, batches, ckpt_path=checkpoint, weights_only=True)
        return Fitted(self.metrics.row, training.seconds, self.trainer.global_step, self.checkpoints.interrupted)


@contextmanager
def _refusals() -> Iterator[None]:
    """What Lightning cannot do here (a GPU that is not there) is the user's to mend."""
    try:
        yield
    except Exception as error:
        raise ConfigError(f"the trainer cannot be built: {error}\n"
                          f"  Try: trainer.accelerator=auto trainer.devices=1 trainer.precision=32") from error


@contextmanager
def _interrupts() -> Iterator[None]:
    """Lightning turns Ctrl-C into exit code 1; it stays what it was."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise


class _less_noise:
    """Silence Lightning's advice about loaders and loggers, which is not for users of `sslrun`."""

    def __enter__(self) -> None:
        names = "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"
        self.loggers = [logging.getLogger(name) for name in names]
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.filterwarnings("ignore", module=r"lightning\..*")

    def __exit__(self, *error: Any) -> None:
        self.caught.__exit__(*error)
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
