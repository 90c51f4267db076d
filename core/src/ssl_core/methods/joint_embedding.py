"""Views of each item, one embedding: SimCLR, BYOL, SimSiam, Barlow Twins, VICReg, GRACE, SCARF, ..."""
from __future__ import annotations

import inspect
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from ..modules import Norm, Teacher, mean, mlp
from .base import Method


class JointEmbedding(Method):
    """Embed two or more views of each item and compare them.

    A pairwise objective `f(a, b)` is averaged over all pairs of views; one that takes `f(*views)` gets them all. With a
    teacher, a predictor or a stopped gradient, predictions of each view are compared with the targets of the others.

    Args:
        projector: widths of the head that the objective sees; empty for none.
        predictor: hidden widths of a second head on the student's side; empty for none (BYOL, SimSiam).
        norm: normalisation inside both heads.
        last_norm: normalise the projector's output too (SimSiam, MoCo v3).
        momentum: of the teacher; 0 for no teacher.
        stop_gradient: hold targets still where there is no teacher (SimSiam).
        teacher_views: how many of the views, the first ones, the teacher sees; 0 for all (DINO: the large crops).
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 128),
                 predictor: tuple[int, ...] = (), norm: Norm = "batch", last_norm: bool = False, momentum: float = 0.0,
                 stop_gradient: bool = False, teacher_views: int = 0) -> None:
        super().__init__(encoder, augmentation, objective)
        self.projector = mlp(encoder.width, *projector, norm=norm, last_norm=last_norm)
        width = projector[-1] if projector else encoder.width
        self.predictor = mlp(width, *predictor, width, norm=norm) if predictor else nn.Identity()
        branch = nn.ModuleDict({"encoder": encoder, "projector": self.projector})
        self.teacher = Teacher(branch, momentum) if momentum else None
        self.stop_gradient, self.teacher_views = stop_gradient, teacher_views
        self.symmetric = not (momentum or predictor or stop_gradient)
        self.takes_all = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(
            getattr(objective, "forward", objective)).parameters.values())

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        rows = [self.projector(self.encoder(view).pooled) for view in views]
        if not self.symmetric:
            pairs = [(self.predictor(row), target) for i, row in enumerate(rows)
                     for j, target in enumerate(self.targets(views, rows)) if i != j]
        elif self.takes_all:
            return {"loss": self.compare(*rows)}
        else:
            pairs = list(combinations(rows, 2))
        return {"loss": mean(self.compare(a, b) for a, b in pairs)}

    def targets(self, views: tuple[Any, ...], rows: list[Tensor]) -> list[Tensor]:
        """What the predictions are compared with: rows of the teacher, or the student's own, held still if asked."""
        if self.teacher is None:
            return [row.detach() for row in rows] if self.stop_gradient else rows
        slow: Any = self.teacher.copy
        with torch.no_grad():
            return [slow["projector"](slow["encoder"](view).pooled) for view in views[: self.teacher_views or None]]

    def after_step(self) -> None:
        super().after_step()
        if self.teacher is not None:
            self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}), self.progress)
