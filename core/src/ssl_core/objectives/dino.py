"""DINO: match the teacher's centred and sharpened distribution over prototypes (arXiv:2104.14294)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..contracts import Progress
from ..distributed import average
from ..modules import Teacher
from ..stores import Prototypes
from .bounds import at_least, positive, shares
from .rows import cross_entropy, held_still


class DINO(nn.Module):
    """Cross entropy of each view with the teacher's distribution of every other view.

    The last layer of the head, unit prototypes, belongs to the objective, with its own slow copy for the teacher.

    Args:
        prototypes: how many (K; the paper: 65536 for ImageNet).
        temperature: of the student.
        teacher_temperature: of the teacher at the start; below the student's: sharpening.
        final_temperature: of the teacher after `warmup`; the same unless training is long (the paper: 0.07).
        warmup: share of training over which the teacher's temperature moves, in a line.
        centre: share of the centre that stays each step.
        momentum: of the slow copy of the prototypes, as the composer's for the rest.
        frozen: share of training for which the prototypes are held still (the paper: one epoch).
        target_views: without a teacher, how many of the views, the first ones, are targets; 0 for all.
    """

    gathers = True
    progress = Progress()
    middle: Tensor

    def __init__(self, prototypes: int = 4096, temperature: float = 0.1, teacher_temperature: float = 0.04,
                 final_temperature: float = 0.04, warmup: float = 0.3, centre: float = 0.9, momentum: float = 0.996,
                 frozen: float = 0.01, target_views: int = 0) -> None:
        super().__init__()
        at_least(2, prototypes=prototypes)
        at_least(0, target_views=target_views)
        positive(temperature=temperature, teacher_temperature=teacher_temperature, final_temperature=final_temperature)
        shares(warmup=warmup, centre=centre, momentum=momentum, frozen=frozen)
        self.count, self.temperature, self.centre, self.momentum = prototypes, temperature, centre, momentum
        self.first, self.final, self.warmup = teacher_temperature, final_temperature, warmup
        self.frozen, self.target_views = frozen, target_views
        self.held: list[Tensor] = []

    def allocate(self, width: int) -> None:
        self.prototypes = Prototypes(self.count, width)
        self.slow = Teacher(self.prototypes, self.momentum)
        self.register_buffer("middle", torch.zeros(self.count))

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Student's rows V times (N, D), teacher's rows up to V times (N, D) -> ()."""
        still = held_still(views, targets, self.target_views)
        seen = self.slow(torch.cat(still)).unflatten(0, (len(still), -1))  # (T, N, K)
        if self.training:
            self.held.append(seen.mean(dim=(0, 1)))
        frozen = self.progress.fraction < self.frozen
        scores = self.prototypes(torch.cat(views), frozen, 1 / self.temperature).unflatten(0, (len(views), -1))
        return cross_entropy(scores, ((seen - self.middle) / self.sharpness).softmax(dim=2))

    @property
    def sharpness(self) -> float:
        """The teacher's temperature now."""
        share = min(1.0, self.progress.fraction / self.warmup) if self.warmup else 1.0
        return self.first + (self.final - self.first) * share

    @torch.no_grad()
    def after_step(self) -> None:
        if self.held:
            seen = average(torch.stack(self.held).mean(dim=0))
            self.middle.lerp_(seen.to(self.middle.dtype), 1 - self.centre)
        self.held = []
        self.slow.follow(self.prototypes, self.progress)
