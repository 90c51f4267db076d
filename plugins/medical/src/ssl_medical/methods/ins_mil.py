"""INS: name single instances, from labels of bags, by contrast and by prototypes of the classes (arXiv:2307.02249)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher, mlp, scatter_mean

from ..bags import Bags


class INSMIL(Method):
    """Instances of a negative bag are negative; those of another bag are negative or of its class: which, is learned.

    A label is guessed by a classifier among these candidates. Instances of one guessed label are positives of each other;
    their rows move a prototype of the class; the classifier learns from its own slow copy mixed with the nearest prototype's
    class, ever more of the latter; and bags are classified too. The published code keeps a target for every instance of the
    set, where here stands the slow copy, and a queue of rows, where here stand all instances of a batch of bags; it
    classifies the mean of a bag, here its attention.

    Args:
        encoder: of bags, with a token for each instance.
        augmentation: two views.
        objective: contrast of instances with labels: `supcon`.
        classes: of the bags, 0 the negative ones; from the data.
        projector: widths of the head of the contrast.
        momentum: of the slow copies.
        follow: share of a prototype that stays each step.
        trust: share of the slow copy in a target, at the start and at the end.
        contrast, bag: weights of these terms.
    """

    prototypes: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, classes: int, projector: tuple[int, ...] = (64, 64),
                 momentum: float = 0.99, follow: float = 0.9, trust: tuple[float, float] = (0.95, 0.8), contrast: float = 0.5,
                 bag: float = 0.5) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if not 0 <= follow < 1 or not 0 <= trust[1] <= trust[0] <= 1:
            raise ValueError(f"follow should lie in [0, 1) and trust be two falling shares, got {follow} and {trust}")
        self.projector, self.classifier = mlp(encoder.width, *projector, norm="layer"), nn.Linear(encoder.width, classes)
        self.teacher = Teacher(self.student(), momentum)
        self.follow, self.trust, self.weights = follow, trust, (contrast, bag)
        self.register_buffer("prototypes", F.normalize(torch.randn(classes, projector[-1]), dim=1))
        self.seen: list[tuple[Tensor, Tensor]] = []  # rows and labels of the step in hand

    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector, "classifier": self.classifier})

    def step(self, batch: Bags) -> dict[str, Tensor]:
        labels, (view, other) = self.labels(batch), self.augmentation(batch)[:2]
        found, slow = self.encoder(view), self.teacher.copy
        score, row = self.classifier(found.tokens).float(), F.normalize(self.projector(found.tokens).float(), dim=1)
        may = self.candidates(labels)[view.owner]  # (T, K)
        guess = score.detach().masked_fill(~may, -torch.inf).argmax(dim=1)
        with torch.no_grad():
            tokens = slow["encoder"](other).tokens
            key, target = slow["projector"](tokens), self.targets(slow["classifier"](tokens).float(), row, may)
        if self.training:
            self.seen.append((row.detach(), guess))
        classify = -(target * score.log_softmax(dim=1)).sum(dim=1).mean()
        contrast = self.compare(row, key, labels=guess)
        bag = F.cross_entropy(self.classifier(found.pooled).float(), labels, ignore_index=-1)
        return {"loss": classify + self.weights[0] * contrast + self.weights[1] * bag, "classify": classify,
                "contrast": contrast, "bag": bag}

    def candidates(self, labels: Tensor) -> Tensor:
        """Which labels an instance of each bag may have, (B, K) bool: 0 and the bag's; all where that is unknown."""
        classes = torch.arange(len(self.prototypes), device=labels.device)
        return (classes == 0) | (classes == labels[:, None]) | (labels < 0)[:, None]

    def targets(self, score: Tensor, row: Tensor, may: Tensor) -> Tensor:
        """Distributions over the labels that an instance may have, (T, K): the slow copy's and the nearest prototype's."""
        slow = score.masked_fill(~may, -torch.inf).softmax(dim=1)
        nearest = (row @ self.prototypes.T).masked_fill(~may, -torch.inf).argmax(dim=1)
        high, low = self.trust
        trust = high + (low - high) * self.progress.fraction
        return trust * slow + (1 - trust) * F.one_hot(nearest, len(self.prototypes))

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.student(), self.progress)
        for row, guess in self.seen:  # the mean of a class's rows at once, where the published code goes row by row
            count = torch.bincount(guess, minlength=len(self.prototypes))[:, None]
            mean = scatter_mean(row, guess, len(self.prototypes))
            moved = F.normalize(torch.lerp(mean, self.prototypes, self.follow), dim=1)
            self.prototypes.copy_(torch.where(count > 0, moved, self.prototypes))
        self.seen = []
