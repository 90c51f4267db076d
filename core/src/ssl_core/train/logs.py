"""What a training says while it runs: metrics.csv, TensorBoard events and one progress bar."""
from __future__ import annotations

import csv
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ..distributed import average
from ..files import atomically
from .module import Training


class Metrics(pl.Callback):
    """Every `every` steps, one row of means since the last row. Losses stay on the device in between.

    Args:
        folder: the run directory.
        size: training items in one epoch.
        every: steps between rows.
        tensorboard: write TensorBoard events too.
    """

    def __init__(self, folder: Path, size: int, every: int, tensorboard: bool) -> None:
        self.folder, self.size, self.every, self.tensorboard = folder, size, every, tensorboard
        self.kept: list[dict[str, Tensor]] = []
        self.row: dict[str, float] = {}  # the last row written
        self.steps_since = 0  # the step of that row
        self.names: list[str] = []
        self.columns: list[str] = []  # what else a row may hold: blank where it was not measured
        self.extra: dict[str, Tensor | float] = {}  # measured since the last row
        self.waited = 0.0  # for data, at the last row
        self.events: Any = None

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        self.writes = trainer.is_global_zero
        if self.writes:
            self._drop_rows_after(trainer.global_step)
        if self.writes and self.tensorboard:
            from tensorboardX import SummaryWriter
            self.events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=trainer.global_step)
        self.since, self.waited = time.monotonic(), training.waited
        self.kept = [{name: loss.to(training.device) for name, loss in step.items()} for step in self.kept]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to write the rows that it would have written."""
        return {"kept": self.kept, "row": self.row, "steps_since": self.steps_since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.kept, self.row, self.steps_since = state_dict["kept"], state_dict["row"], state_dict["steps_since"]

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        self.kept.append(training.losses)
        stepped = trainer.global_step > self.steps_since  # not while gradients are accumulated
        if stepped and (trainer.global_step % self.every == 0 or not self.row):
            self._write(trainer, training)

    def on_train_end(self, trainer: pl.Trainer, training: Training) -> None:
        if self.kept:
            self._write(trainer, training)
        if self.events is not None:
            self.events.close()

    def _write(self, trainer: pl.Trainer, training: Training) -> None:
        names = list(self.kept[0])
        losses = torch.stack([torch.stack([step[name].float() for name in names]) for step in self.kept])  # (S, L)
        good = losses.isfinite().all(dim=1, keepdim=True)  # a step with a bad loss is not taken, see faults.py
        values, now = average(torch.where(good, losses, 0).sum(dim=0) / good.sum()).tolist(), time.monotonic()
        items = len(self.kept) * self.size / max(1, len(training.batches))
        self.row = {"step": trainer.global_step, "epoch": trainer.current_epoch, "seconds": round(training.seconds, 3),
                    "items_per_second": round(items / max(1e-9, now - self.since), 1),
                    "lr": trainer.optimizers[0].param_groups[0]["lr"], **dict(zip(names, values, strict=True))}
        self.extra["data_wait"] = (training.waited - self.waited) / max(1e-9, now - self.since)
        self.row |= {name: float(f"{value:.6g}") for name, value in self.extra.items() if name not in self.row}
        self.kept, self.since, self.steps_since, self.extra, self.waited = [], now, trainer.global_step, {}, training.waited
        if self.writes:
            self._append()

    def _append(self) -> None:
        path = self.folder / "metrics.csv"
        self.names = self.names or list(dict.fromkeys([*self.row, *self.columns]))
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.names, extrasaction="ignore", restval="")
            if not path.stat().st_size:
                writer.writeheader()
            writer.writerow(self.row)
        if self.events is not None:
            for name, value in self.row.items():
                if name not in ("step", "seconds"):
                    self.events.add_scalar(name, value, int(self.row["step"]))

    def _drop_rows_after(self, step: int) -> None:
        """A resumed run writes the rows after its checkpoint once more; a row cut short by a kill goes too."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        kept = [row for row in rows if len(row) == len(header) and row[0].isdigit() and int(row[0]) <= step]
        self.names = header
        text = StringIO(newline="")
        csv.writer(text).writerows([header, *kept] if header else [])
        atomically(path, lambda beside: beside.write_bytes(text.getvalue().encode()))


class Bar(pl.Callback):
    """One bar for the whole training, on standard error: loss, items per second, time left."""

    def __init__(self, metrics: Metrics, quiet: bool) -> None:
        self.metrics, self.quiet, self.shown = metrics, quiet, -1

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        from tqdm import tqdm
        self.bar = tqdm(total=training.total, initial=trainer.global_step, unit="step", file=sys.stderr, dynamic_ncols=True,
                        disable=self.quiet or not trainer.is_global_zero, mininterval=0.2 if sys.stderr.isatty() else 10)

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        row = self.metrics.row
        if row and row["step"] != self.shown:
            self.shown = int(row["step"])
            self.bar.set_postfix_str(f"loss {row['loss']:.4f}, {row['items_per_second']:,.0f} items/s", refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    def teardown(self, trainer: pl.Trainer, training: Training, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
