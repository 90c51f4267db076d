"""Build a Lightning trainer from the options of the run, and train."""
from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy

from ..batches import Batches
from ..checkpoints import LAST, Best
from ..contracts import Data, Progress
from ..distributed import launched
from ..errors import ConfigError
from ..methods import Method
from .faults import Finite
from .guards import AtomicCheckpoints, Checkpoints, Compiled, FirstBatch
from .logs import Bar, Metrics
from .module import Training
from .monitors import Monitors
from .options import TrainerOptions
from .troubles import said

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Fitted:
    """What is known after training: the last metrics, time, steps, and whether it was stopped."""

    metrics: dict[str, float]
    seconds: float
    steps: int
    interrupted: bool
    start: dict[str, float] = field(default_factory=dict)  # what the monitors measured before the first step


class Fit:
    """One training. Made before the data are moved, so that `device` is known.

    Args:
        options: of the trainer.
        epochs: passes over the data.
        folder: the run directory.
        size: training items in one epoch.
        callbacks: further Lightning callbacks.
        quiet: no progress bar.
        data: whose items are monitored; None for no monitors.
    """

    def __init__(self, options: TrainerOptions, epochs: int, folder: Path, size: int, callbacks: list[Any], quiet: bool,
                 data: Data | None = None) -> None:
        self.folder = folder
        self.metrics = Metrics(folder, size, options.log_every, options.tensorboard)
        best = Best(folder / "checkpoints", options.best, options.best_by, options.best_is == "highest")
        self.checkpoints = Checkpoints(best.folder / LAST, options.checkpoint_seconds, options.checkpoint_steps, self.metrics,
                                       best, options.max_seconds)
        self.finite = Finite(options.skip_bad, folder, self.metrics)
        self.monitors = [] if data is None else [
            Monitors(self.metrics, data, options.monitor_every, options.on_collapse, quiet)]
        own = [FirstBatch(), *self.monitors, self.metrics, self.finite, Bar(self.metrics, quiet), self.checkpoints]
        devices, nodes = spread(options)
        many = devices * nodes > 1
        with _less_noise(), _refusals():
            self.trainer = pl.Trainer(
                max_epochs=epochs, accelerator=options.accelerator, devices=devices, num_nodes=nodes,
                # every parameter is looked for, since a method may leave some unused; buffers are gathered alike by the
                # objectives that have them, and batch statistics by SyncBatchNorm
                strategy=DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if many else "auto",
                sync_batchnorm=many and torch.cuda.is_available() and options.accelerator != "cpu",
                use_distributed_sampler=False,
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
            try:
                self.trainer.fit(training, batches, ckpt_path=checkpoint, weights_only=True)
            except Exception as error:
                known = said(error, self.folder, training)
                if known is None:
                    raise
                raise known from error
        return Fitted(self.metrics.row, training.seconds, self.trainer.global_step, self.checkpoints.interrupted,
                      self.monitors[0].start if self.monitors else {})


def spread(options: TrainerOptions) -> tuple[int, int]:
    """Devices on each machine, and machines: what started the processes says, else what the user asked for."""
    known = launched()
    by_others = known is not None and options.devices * options.num_nodes == 1
    return (known.devices, known.nodes) if known is not None and by_others else (options.devices, options.num_nodes)


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
