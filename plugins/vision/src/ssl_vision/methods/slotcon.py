"""SlotCon: group the places of an image by prototypes, and contrast the groups (arXiv:2205.15288)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError, Method, Representation
from ssl_core.modules import Teacher, mlp
from ssl_core.objectives.infonce import InfoNCE
from ssl_core.stores import Prototypes

from ..images import Images
from ..views import View, common, maps, sampled


class SlotCon(Method):
    """The objective, DINO, makes the same places of two views choose the same prototype; slots are told from each other.

    Its prototypes are the groups. Places of two views are brought together by undoing crop and flip over the box that both
    show: their features are resampled there, where the paper resamples the scores.

    Args:
        projector: widths of the head on every place.
        predictor: hidden widths of the head on the student's slots.
        grid: places along each side of the shared box.
        sharpness: temperature at which places are given to slots.
        temperature: of the contrast of slots.
        grouping: share of the grouping in the loss.
        momentum: of the teacher; the objective has its own for the prototypes.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (4096, 256),
                 predictor: tuple[int, ...] = (4096,), grid: int = 7, sharpness: float = 0.07, temperature: float = 0.2,
                 grouping: float = 0.5, momentum: float = 0.99) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if not hasattr(objective, "slow"):
            raise ConfigError(f"slotcon groups by prototypes and a slow copy of them; {type(objective).__name__} has none.\n"
                              f"  Try: objective=dino")
        self.projector = mlp(encoder.width, *projector)
        self.predictor = mlp(projector[-1], *predictor, projector[-1])
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "projector": self.projector}), momentum)
        self.contrast = InfoNCE(temperature, symmetric=False)
        self.grid, self.sharpness, self.temperature, self.grouping = grid, sharpness, temperature, grouping

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = self.augmentation(batch)
        student = [self.places(self.encoder, self.projector, view) for view in (a, b)]
        with torch.no_grad():
            teacher = [self.places(self.teacher.copy["encoder"], self.teacher.copy["projector"], view) for view in (a, b)]
        grouping = self.grouped(a, b, student, teacher)
        with torch.autocast(student[0].device.type, enabled=False):
            mine = [slots(x, self.objective.prototypes, self.sharpness) for x in student]
            theirs = [slots(x, self.objective.slow.copy, self.sharpness) for x in teacher]
        contrast = (self.told(*mine[0], *theirs[1]) + self.told(*mine[1], *theirs[0])) / 2
        return {"loss": self.grouping * grouping + (1 - self.grouping) * contrast, "grouping": grouping, "slots": contrast}

    def places(self, encoder: Any, projector: Any, view: View) -> Tensor:
        """Unit features of every place, (B, D, h, w)."""
        found = encoder(view)
        rows = None if found.tokens is None else F.normalize(projector(found.tokens).float(), dim=1)
        return maps(Representation(found.pooled, rows), view.pixels)

    def grouped(self, a: View, b: View, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The objective of the places that two views share; items whose views share none are left out."""
        at = common(a.theta, b.theta, self.grid)
        chosen = at.shared | ~at.shared.any()
        rows = [sampled(x, place)[chosen].flatten(0, 1) for pair in (student, teacher)
                for x, place in zip(pair, (at.a, at.b), strict=True)]
        return self.compare(*rows[:2], targets=rows[2:])

    def told(self, mine: Tensor, seen: Tensor, theirs: Tensor, also: Tensor) -> Tensor:
        """Which slot of the other view is it? Slots (B, P, D), and those that won a place (B, P), of student and teacher."""
        both = seen & also
        both = both | ~both.any()
        found = self.compare(self.predictor(mine[both]), theirs[both], by=self.contrast)
        return 2 * self.temperature * found

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}), self.progress)


def slots(x: Tensor, prototypes: Prototypes, sharpness: float) -> tuple[Tensor, Tensor]:
    """What each prototype gathers from unit places (B, D, h, w): (B, P, D), and whether it won a place, (B, P)."""
    rows = x.flatten(2).mT  # (B, L, D)
    scores = prototypes(rows.flatten(0, 1)).view(*rows.shape[:2], -1)  # (B, L, P)
    shares = (scores / sharpness).softmax(dim=2) + 1e-6
    won = torch.zeros_like(scores, dtype=torch.bool).scatter_(2, scores.argmax(dim=2, keepdim=True), True).any(dim=1)
    return (shares / shares.sum(dim=1, keepdim=True)).mT @ rows, won
