"""Views of each item, one embedding: SimCLR, BYOL, SimSiam, Barlow Twins, VICReg, GRACE, SCARF, ..."""
from __future__ import annotations

import inspect
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .. import mixers
from ..errors import ConfigError
from ..modules import Norm, Teacher, mlp
from ..objectives.rows import crossed
from .base import Method
from .pieces import pooled


class JointEmbedding(Method):
    """Embed two or more views of each item and compare them.

    A pairwise objective `f(a, b)` is averaged over all pairs of views; one that takes `f(*views)` gets them all. With a
    teacher, a predictor or a stopped gradient, predictions of each view are compared with the targets of the others: pair
    by pair, or at once by an objective that takes `f(*predictions, targets=...)`, target j being that of view j.

    Args:
        projector: widths of the head that the objective sees; empty for none.
        predictor: hidden widths of a second head on the student's side; empty for none (BYOL, SimSiam).
        predictor_rate: whether the predictor's learning rate follows the schedule or stays `constant` (SimSiam).
        norm: normalisation inside both heads.
        last_norm: normalise the projector's output too (SimSiam, MoCo v3).
        momentum: of the teacher; 0 for no teacher.
        stop_gradient: hold targets still where there is no teacher (SimSiam).
        teacher_views: how many of the views, the first ones, the teacher sees; 0 for all (DINO: the large crops).
        mixer: how the losses of several pairs meet in the encoder's rows: their `sum`, or without conflict by `mgda`,
            `pcgrad` or, item by item, `realign`; for views that are modalities.
        chunk: items that are embedded at a time, where a batch needs more memory than there is; 0: all. Every row is still
            compared with all others and the gradient is exact, for one more pass of the encoder. Heads see the whole
            batch; batch norms inside the encoder take the statistics of a piece.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 128),
                 predictor: tuple[int, ...] = (), predictor_rate: Literal["scheduled", "constant"] = "scheduled",
                 norm: Norm = "batch", last_norm: bool = False, momentum: float = 0.0, stop_gradient: bool = False,
                 teacher_views: int = 0, mixer: mixers.Name = "sum", chunk: int = 0) -> None:
        if chunk < 0:
            raise ValueError(f"chunk should be 0 or more, got {chunk}")
        width = projector[-1] if projector else encoder.width
        super().__init__(encoder, augmentation, objective, width)
        self.projector = mlp(encoder.width, *projector, norm=norm, last_norm=last_norm)
        self.predictor = mlp(width, *predictor, width, norm=norm) if predictor else nn.Identity()
        self.predictor.constant_rate = predictor_rate == "constant"  # type: ignore[assignment]  # see `optimizers.groups`
        branch = nn.ModuleDict({"encoder": encoder, "projector": self.projector})
        self.teacher = Teacher(branch, momentum) if momentum else None
        self.stop_gradient, self.teacher_views, self.mixer, self.chunk = stop_gradient, teacher_views, mixer, chunk
        self.symmetric = not (momentum or predictor or stop_gradient)
        taken = inspect.signature(getattr(objective, "forward", objective)).parameters
        self.takes_all = any(p.kind is p.VAR_POSITIONAL for p in taken.values())
        self.takes_targets, self.takes_labels = self.takes_all and "targets" in taken, "labels" in taken
        self.takes_ids = "ids" in taken
        if mixer != "sum" and self.takes_all and (self.symmetric or self.takes_targets):
            raise ValueError(f"mixer={mixer} mixes the losses of pairs of views; "
                             f"{type(objective).__name__} takes all views at once")

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        shared = [pooled(self.encoder, view, self.chunk) for view in views]
        rows = [self.projector(row) for row in shared]
        about = self.about(batch)
        if self.symmetric and self.takes_all:
            return {"loss": self.compare(*rows, **about)}
        if len(rows) < 2:
            raise ConfigError(f"{type(self).__name__} compares views with each other, and {type(self.augmentation).__name__} "
                              f"makes {len(views)}.\n  Try: an augmentation that makes two or more")
        if self.symmetric:
            pairs = list(combinations(rows, 2))
        else:
            guesses, targets = [self.predictor(row) for row in rows], self.targets(views, rows)
            if self.takes_targets:
                return {"loss": self.compare(*guesses, targets=targets, **about)}
            pairs = crossed(guesses, targets)
        losses = {str(i): self.compare(a, b, **about) for i, (a, b) in enumerate(pairs)}
        return {"loss": mixers.mix(losses, shared, self.mixer) / len(losses)}

    def about(self, batch: Any) -> dict[str, Any]:
        """What the objective wants to know of the items: their labels, and their numbers where the data have them."""
        found: dict[str, Any] = {"labels": self.labels(batch)} if self.takes_labels else {}
        return found | ({"ids": self.ids(batch)} if self.takes_ids and self.ids is not None else {})

    def targets(self, views: tuple[Any, ...], rows: list[Tensor]) -> list[Tensor]:
        """What the predictions are compared with: rows of the teacher, or the student's own, held still if asked."""
        if self.teacher is None:
            return [row.detach() for row in rows] if self.stop_gradient else rows
        slow: Any = self.teacher.copy
        with torch.no_grad():
            return [slow["projector"](pooled(slow["encoder"], view, self.chunk))
                    for view in views[: self.teacher_views or None]]

    def after_step(self) -> None:
        super().after_step()
        if self.teacher is not None:
            self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}), self.progress)
