"""A step whose loss or gradient is no number is never taken; a run with too many of them stops with a report."""
from __future__ import annotations

from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ..batches import Batches, size
from ..distributed import total
from ..errors import Diverged
from ..files import finite, write_json
from .logs import Metrics
from .module import Training

SHOWN = 20  # gradients and items that a report names


class Finite(pl.Callback):
    """Leave out a step whose loss or gradient holds nan or inf: weights, optimizer and buffers stay as they were.

    (A teacher goes on to follow the weights.) All of it happens on the device; the host looks when a row of metrics is
    written. So a run stops a few steps after the one that was too much, with the state of the last good one.

    Args:
        limit: how many steps of a run may be left out; the next one ends it.
        folder: the run directory, for the report.
        metrics: says when the host looks.
    """

    def __init__(self, limit: int, folder: Path, metrics: Metrics) -> None:
        self.limit, self.folder, self.metrics = limit, folder, metrics
        self.count = 0  # steps left out, as far as the host has looked
        self.flags: list[Tensor] = []  # of the steps since then: () bool each
        self.places: list[tuple[int, int, int]] = []  # of the same: step, epoch, batches of it seen
        self.seen: dict[str, Tensor] = {}  # of the step that is one too many: norm of each gradient, "loss: NAME" for each

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "flags": self.flags, "places": self.places, "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        device = training.device
        self.flags = [flag.to(device) for flag in self.flags]
        self.seen = {name: item.to(device) for name, item in self.seen.items()}
        self.so_far = torch.tensor(self.count + sum(map(int, self.flags)), device=device)
        self.trained = [(name, p) for name, p in training.method.named_parameters() if p.requires_grad]
        self.none = torch.zeros((), device=device)
        self.buffers = [(module._buffers, name) for module in training.method.modules() for name in module._buffers]
        self.bad: Tensor | None = None  # of the step in hand
        self.step, self.kept = trainer.global_step, self._state()
        self.on_host = device.type == "cpu" or not any(group.get("fused") for group in trainer.optimizers[0].param_groups)

    def _state(self) -> dict[torch.dtype, Tensor]:
        """Every buffer, end to end, one row per type: batch statistics, queues, centres."""
        return {kind: torch.cat([tensor.flatten() for tensor in group]) for kind, group in self._groups().items()}

    def _groups(self) -> dict[torch.dtype, list[Tensor]]:
        groups: dict[torch.dtype, list[Tensor]] = {}
        for held, name in self.buffers:
            tensor = held.get(name)
            if tensor is not None:
                groups.setdefault(tensor.dtype, []).append(tensor)
        return groups

    def on_train_batch_start(self, trainer: pl.Trainer, training: Training, batch: Any, index: int) -> None:
        if self.bad is None:  # not in the middle of an accumulated step
            self.kept = self._state()

    def on_before_optimizer_step(self, trainer: pl.Trainer, training: Training, optimizer: Any) -> None:
        losses = {f"loss: {name}": value.float() for name, value in training.losses.items()}  # not the same in every step
        found = iter(torch._foreach_norm([p.grad for _, p in self.trained if p.grad is not None]))
        # 0 for what has no gradient in this step: a method may train some parts later than others
        norms = torch.stack([self.none if p.grad is None else next(found).float() for _, p in self.trained])
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None  # it skips infinite gradients by itself
        whole = torch.stack(list(losses.values())).sum()
        bad = ~(whole if scaled else whole + norms.sum()).isfinite()
        self.bad = total(bad.float()) > 0
        self.so_far += self.bad
        one_too_many = self.bad & (self.so_far <= self.limit + 1)
        self.seen |= {name: torch.where(one_too_many, now, self.seen.get(name, now)) for name, now in
                      ({"norms": norms} | losses).items()}
        if scaled:
            return
        if not self.on_host:  # fused optimizers take no step where this is 1
            trainer.optimizers[0].grad_scale, trainer.optimizers[0].found_inf = None, self.bad.float()  # type: ignore[attr-defined]
        elif self.bad:
            for _, p in self.trained:  # what has no gradient is left alone by every optimizer
                p.grad = None

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        if trainer.global_step == self.step or self.bad is None:  # gradients are being accumulated
            return
        self.step = trainer.global_step
        self._undo(self.bad)
        self.flags.append(self.bad)
        self.places.append((self.step, trainer.current_epoch, training.seen))
        self.bad = None
        if self.metrics.row.get("step") == self.step:
            self.look(training)

    def on_train_end(self, trainer: pl.Trainer, training: Training) -> None:
        self.look(training)

    def _undo(self, bad: Tensor) -> None:
        """Buffers as they were before a bad step."""
        if bad.device.type == "cpu" and not bad:
            return
        now = self._state()
        for kind, group in self._groups().items():
            back = torch.where(bad, self.kept[kind], now[kind]).split([tensor.numel() for tensor in group])
            torch._foreach_copy_(group, [part.view_as(tensor) for part, tensor in zip(back, group, strict=True)])

    def look(self, training: Training) -> None:
        """Count the bad steps since the last look.

        Raises:
            Diverged: there were more than the limit; a report is written.
        """
        if not self.flags:
            return
        flags, places = torch.stack(self.flags).tolist(), self.places
        self.flags, self.places = [], []
        bad = [place for flag, place in zip(flags, places, strict=True) if flag]
        left = self.limit - self.count
        self.count += len(bad)
        if len(bad) > left:
            self._stop(training, *bad[left])

    def _stop(self, training: Training, step: int, epoch: int, seen: int) -> None:
        losses = {name.removeprefix("loss: "): value.item() for name, value in self.seen.items() if name != "norms"}
        names = [name for name, _ in self.trained]
        norms = sorted(zip(names, self.seen["norms"].tolist(), strict=True), reverse=True,
                       key=lambda pair: inf if isnan(pair[1]) else pair[1])
        path = self.folder / "faults" / f"step-{step}.json"
        if training.trainer.is_global_zero:
            write_json(path, finite({"step": step, "epoch": epoch, "batch": seen - 1,
                                     "losses": {name: str(value) for name, value in losses.items()},
                                     "largest gradients": [[name, str(norm)] for name, norm in norms[:SHOWN]],
                                     "items": describe(training.batches, epoch, seen - 1), "steps left out": self.count}))
        rate = training.trainer.optimizers[0].param_groups[0]["lr"]
        what = f"the gradient of {norms[0][0]} became {norms[0][1]}" if isfinite(losses["loss"]) else \
            f"the loss became {losses['loss']}"
        raise Diverged(f"{what} at step {step} (epoch {epoch}, batch {seen - 1} of it, learning rate {rate:.2g}); "
                       f"{self.limit} such steps are left out (trainer.skip_bad). The report is in {path}.\n"
                       f"  Try: a lower optimizer.lr, trainer.clip=1.0, or trainer.precision=32; sslrun doctor says more of "
                       f"the data")


def describe(batches: Batches, epoch: int, index: int) -> dict[str, Any]:
    """What is known of the items of one batch, which is read again: their ids, and which of them hold nan or inf."""
    try:
        batch, ids = batches.again(epoch, index)
    except Exception as error:  # a report is written in trouble already
        return {"unknown": f"{type(error).__name__}: {error}"}
    return {"count": size(batch), "ids": ids, "not finite": strange(batch)[:SHOWN]}


def strange(batch: Any) -> list[int]:
    """Positions of the items of a batch that hold nan or inf."""
    if isinstance(batch, Tensor):
        if not batch.is_floating_point() or not batch.ndim:
            return []
        return (~batch.isfinite()).flatten(1).any(dim=1).nonzero()[:, 0].tolist() if batch.ndim > 1 else \
            (~batch.isfinite()).nonzero()[:, 0].tolist()
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (tuple, list)) else ()
    return sorted({i for part in parts for i in strange(part)})
