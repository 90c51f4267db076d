"""The one LightningModule: it calls a method's `step` and `after_step`, and knows no domain."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ..batches import Batches, random_state, restore_random
from ..contracts import Progress
from ..distributed import of_all, rank
from ..methods import Method
from ..optimizers import groups


class Training(pl.LightningModule):
    """Optimizer, schedule, random state and time around a method.

    Args:
        method: what is trained.
        optimizer: parameter groups -> optimizer.
        schedule: progress -> factor of each group's learning rate.
        batches: the training batches, told here which epoch it is.
    """

    def __init__(self, method: Method, optimizer: Callable[[Any], torch.optim.Optimizer],
                 schedule: Callable[[Progress], float], batches: Batches) -> None:
        super().__init__()
        self.method, self.make_optimizer, self.schedule, self.batches = method, optimizer, schedule, batches
        self.timed = [module for module in method.modules() if hasattr(type(module), "progress")]
        self.losses: dict[str, Tensor] = {}  # of the last step, detached, on the device
        self.total, self.spent, self.started, self.seen = 1, 0.0, time.monotonic(), 0
        self.waited, self.idle_since = 0.0, time.monotonic()  # seconds without a batch since training began here
        self.resumed_state: dict[str, Any] | None = None

    @property
    def progress(self) -> Progress:
        return Progress(self.global_step, self.total)

    @property
    def seconds(self) -> float:
        """Time spent in training, resumed parts included."""
        return self.spent + time.monotonic() - self.started

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(groups(self.method))

    def on_fit_start(self) -> None:
        planned = int(self.trainer.estimated_stepping_batches) // max(1, self.trainer.max_epochs or 1)  # of one epoch
        self.total = self.batches.begun.step + planned * ((self.trainer.max_epochs or 0) - self.batches.begun.epoch)
        self.started = time.monotonic()

    def on_train_start(self) -> None:
        self.idle_since = time.monotonic()
        for group in self.trainer.optimizers[0].param_groups:
            group.setdefault("peak", group["lr"])

    def on_train_epoch_start(self) -> None:
        self.batches.epoch, self.seen = self.current_epoch, self.batches.skip

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        self.waited += time.monotonic() - self.idle_since
        if self.resumed_state is not None:  # everything between loading and here may have drawn numbers
            restore_random(self.resumed_state)
            self.resumed_state = None
        progress = self.progress
        for module in self.timed:
            module.progress = progress  # type: ignore[assignment]
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["peak"] * (1.0 if group.get("constant") else self.schedule(progress))

    def training_step(self, batch: Any, index: int) -> Tensor:
        self.seen += 1
        losses = self.method.step(batch)
        self.losses = {name: loss.detach() for name, loss in losses.items()}
        return losses["loss"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.method.after_step()

    def on_train_batch_end(self, *_: Any) -> None:
        self.idle_since = time.monotonic()

    def on_train_epoch_end(self) -> None:
        self.batches.skip = self.seen = 0
        self.batches.epoch = self.current_epoch + 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        ended = self.seen >= len(self.batches)
        place = {"epoch": self.current_epoch + 1, "seen": 0} if ended else {"epoch": self.current_epoch, "seen": self.seen}
        checkpoint["ssl_core"] = place | {
            "random": of_all(random_state()), "seconds": self.seconds, "stream": self.batches.states.get(place["seen"])}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["ssl_core"]
        self.resumed_state, self.spent = dict(enumerate(state["random"])).get(rank()), state["seconds"]
        self.batches.states = {state["seen"]: state["stream"]} if state["stream"] else {}
        self.batches.epoch, self.batches.skip, self.seen = state["epoch"], state["seen"], state["seen"]
