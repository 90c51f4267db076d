"""What the embedding does while it is trained, measured now and then on a few fixed items, unnoticed by the training."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from .. import metrics as measures
from ..batches import seed_all, unnoticed
from ..contracts import Data
from ..methods import Method
from ..modules import Teacher
from ..stores import Prototypes
from ..verdict import collapsed
from .logs import Metrics
from .module import Training
from .panel import ITEMS, panel, probed

SHARE = 0.02  # of the forward and backward passes of training that the passes for measuring may cost
FEWEST = 25  # steps between two measurements, unless the user wants more


class Monitors(pl.Callback):
    """Adds columns to the rows of metrics.csv: see `measure`. Draws no number and changes no statistic of the training.

    Args:
        metrics: writes the rows.
        data: whose items are measured.
        every: steps between two measurements, rounded up to whole rows; 0 for never, None to stay under 3 % of the time.
        on_collapse: `warn` or `stop` when the embedding collapses, or `off`.
        quiet: no warning.
    """

    def __init__(self, metrics: Metrics, data: Data, every: int | None, on_collapse: Literal["off", "warn", "stop"],
                 quiet: bool) -> None:
        self.metrics, self.data, self.every, self.on_collapse, self.quiet = metrics, data, every, on_collapse, quiet
        self.start: dict[str, float] = {}  # before the first step
        self.probed = -1  # the last epoch in which the probes were asked
        self.seen = False  # whether a collapse was
        self.norm: Tensor | None = None
        self.used: Tensor | None = None  # how often each prototype was chosen
        self.spread: Tensor | None = None  # deviation of the rows that the objective compares
        self.hooks: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "probed": self.probed, "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.start, self.probed, self.seen = state_dict["start"], state_dict["probed"], state_dict["seen"]

    def on_train_start(self, trainer: pl.Trainer, training: Training) -> None:
        self.metrics.columns = ["grad_norm", "data_wait"]
        if self.every == 0:
            return
        with unnoticed(), modes(training.method):
            training.method.eval()
            self.panel = panel(training.method, self.data, training.batches, training.device)
        found = self.measure(trainer, training, probe=not self.start)
        self.start = self.start or found
        self.metrics.columns += [*self.start, "rows_std"]
        self.metrics.columns += ["perplexity"] if prototypes(training.method) is not None else []
        # counted, not timed: a run that is resumed measures where it would have
        every, row = self.every or max(FEWEST, ceil(self.passes / SHARE)), self.metrics.every
        self.step_between = ceil(every / row) * row

    def due(self, trainer: pl.Trainer, training: Training, step: int) -> bool:
        return self.every != 0 and (step % self.step_between == 0 or step == training.total)

    def on_train_batch_start(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        listens = self.every != 0 and trainer.global_step == 0 or self.due(trainer, training, trainer.global_step + 1)
        if not listens or self.hooks:
            return
        used, objective = prototypes(training.method), training.method.objective
        if used is not None:
            self.hooks.append(used.register_forward_hook(self._count))
        if isinstance(objective, nn.Module):
            self.hooks.append(objective.register_forward_pre_hook(self._compare, with_kwargs=True))

    @torch.no_grad()
    def _compare(self, module: nn.Module, rows: tuple[Any, ...], more: dict[str, Any]) -> None:
        """Keep the widest spread among what is compared: a guess may be one point while its target is not. Single numbers,
        such as the scores of a discriminator, have no direction to be alike in."""
        wide = [x.float() for x in (*rows, *(more.get("targets") or ()))
                if isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 2 and min(x.shape) > 1]
        if wide:
            spread = torch.stack([measures.deviations(x[:ITEMS]).mean() for x in wide]).amax()
            self.spread = spread if self.spread is None else torch.maximum(self.spread, spread)

    def _count(self, module: nn.Module, given: Any, scores: Tensor) -> None:
        scores = scores.detach().flatten(0, -2)
        # what all rows lean to alike is no choice: targets are balanced (a centre, Sinkhorn), their scores are not
        chosen = (scores - scores.mean(dim=0)).argmax(dim=1).bincount(minlength=scores.shape[-1])
        self.used = chosen if self.used is None else self.used + chosen

    def on_before_optimizer_step(self, trainer: pl.Trainer, training: Training, optimizer: torch.optim.Optimizer) -> None:
        step = trainer.global_step + 1
        if step == 1 or step % self.metrics.every == 0 or step == training.total:
            held = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self.norm = nn.utils.get_total_norm(held).detach()

    def on_train_batch_end(self, trainer: pl.Trainer, training: Training, *_: Any) -> None:
        if self.norm is not None:
            self.metrics.extra["grad_norm"], self.norm = self.norm, None
        if trainer.global_step == self.metrics.steps_since:  # gradients are being accumulated
            return
        heard = self._listened()
        self.metrics.extra |= heard
        if trainer.global_step == 1:
            self.start |= heard
        if self.due(trainer, training, trainer.global_step):
            found = heard | self.measure(trainer, training, probe=trainer.current_epoch != self.probed)
            self.probed = trainer.current_epoch
            self.metrics.extra |= found
            if "perplexity" in training.losses:  # the method's own codebook
                found["perplexity"] = float(training.losses["perplexity"])
            self._judge(trainer, training, found)

    def _listened(self) -> dict[str, float]:
        """What the hooks heard during this step."""
        for hook in self.hooks:
            hook.remove()
        heard = {"rows_std": self.spread, "perplexity": None if self.used is None else measures.perplexity(self.used)}
        self.hooks, self.spread, self.used = [], None, None
        return {name: float(value) for name, value in heard.items() if value is not None}

    def _judge(self, trainer: pl.Trainer, training: Training, found: dict[str, float]) -> None:
        """Say at once what the verdict will say at the end."""
        if self.on_collapse == "off" or self.seen:
            return
        row = found | {"step": float(trainer.global_step)}
        sign = collapsed(self.start, [row], [row], training.method.encoder.width)
        self.seen = trainer.strategy.reduce_boolean_decision(sign is not None, all=False)
        if sign is not None and not self.quiet and trainer.is_global_zero:
            print(f"\ncollapsed: {sign[0]}", file=sys.stderr)
        if self.seen and self.on_collapse == "stop":
            trainer.should_stop = True

    @torch.no_grad()
    def measure(self, trainer: pl.Trainer, training: Training, probe: bool) -> dict[str, float]:
        """`rankme`, `alpha_req`, `std`, `uniformity`, `norm` of the items; `weights`, the norm of all of the encoder's; of
        views of a training batch `alignment` and `lidar`; `agreement` with the teacher; where there are labels and `probe`,
        `val_knn` and `val_linear`."""
        method, panel = training.method, self.panel
        with unnoticed(), modes(method), trainer.precision_plugin.forward_context():
            method.eval()
            seed_all(0)  # the same views each time: what changes is the encoder
            parts = [method.kept(batch).pooled.float() for batch in panel.batches]
            views = self.views(method)
            teacher = slow(method)
            pair = [net(panel.batch).pooled.float() for net in (method.encoder, teacher)] if teacher is not None else []
        # a step goes forward over each of its views and, twice as dear, backward
        measured = sum(map(len, [*parts, *views, *pair]))
        self.passes = measured / (3 * panel.size * (len(views) if method.shown == "views" else 1))
        views, pair = ([part[:: max(1, panel.size // ITEMS)] for part in several] for several in (views, pair))
        rows = torch.cat(parts)[panel.rows].to(panel.home)
        if not all(part.isfinite().all() for part in (rows, *views, *pair)):
            return dict.fromkeys(self.start, float("nan"))
        found = label_free(rows) | {"weights": float(nn.utils.get_total_norm(method.encoder.parameters()))}
        if len(views) > 1:
            found |= {"alignment": measures.alignment(views[0], views[1]), "lidar": measures.lidar(torch.stack(views, dim=1))}
        if pair:
            found["agreement"] = measures.agreement(*pair)
        if probe and panel.train is not None and panel.validation is not None:
            found |= probed(rows, panel.train, panel.validation)
        return found

    def views(self, method: Method) -> list[Tensor]:
        """Features of the views of one training batch, (B, D) each: augmented, or shown in part, twice. None where an encoder
        has no representation of a part."""
        batch, encoder = self.panel.batch, method.kept
        if method.shown == "views":
            return [encoder(view).pooled.float() for view in method.augmentation(batch)]
        layout = encoder.layout(batch)
        try:
            return [encoder(batch, keep=~method.augmentation(layout)).pooled.float() for _ in range(2)]
        except ValueError:
            return []


@contextmanager
def modes(method: Method) -> Iterator[None]:
    """Every module comes out in the mode, training or not, in which it went in."""
    before = [(module, module.training) for module in method.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def slow(method: Method) -> Callable[[Any], Any] | None:
    """The teacher's copy of the encoder, if the method has one."""
    for part in method.children():
        if isinstance(part, Teacher):
            return next((m for m in part.copy.modules() if type(m) is type(method.encoder)), None)
    return None


def prototypes(method: Method) -> nn.Module | None:
    """The codebook of the objective, if it has one."""
    parts = method.objective.children() if isinstance(method.objective, nn.Module) else ()
    return next((part for part in parts if isinstance(part, Prototypes)), None)


def label_free(rows: Tensor) -> dict[str, float]:
    """Scores of rows (P, D) by themselves."""
    return {"rankme": measures.rankme(rows), "alpha_req": measures.alpha_req(rows),
            "std": float(measures.deviations(rows).mean()), "uniformity": measures.uniformity(rows),
            "norm": float(rows.norm(dim=1).mean())}
