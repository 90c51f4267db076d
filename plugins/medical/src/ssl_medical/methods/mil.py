"""SC-MIL: learn from bags by supervised contrast at first and by classification in the end (arXiv:2303.13405)."""
from __future__ import annotations

from math import cos, pi
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from ..bags import Bags


class SCMIL(Method):
    """From contrast of bags to their classification, along a training: w SupCon + (1 - w) cross entropy.

    Args:
        classes: of the bags; from the data.
        projector: widths of the head that the contrast sees.
        curve: how w falls from 1 to 0: along half a `cosine`, or `parabolic`, 1 - t^2.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, classes: int, projector: tuple[int, ...] = (128, 64),
                 curve: Literal["cosine", "parabolic"] = "cosine") -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        self.projector, self.classifier, self.curve = mlp(encoder.width, *projector), nn.Linear(encoder.width, classes), curve

    def step(self, batch: Bags) -> dict[str, Tensor]:
        labels, pooled = self.labels(batch), [self.encoder(view).pooled for view in self.augmentation(batch)]
        contrast = self.compare(*(self.projector(row) for row in pooled), labels=labels)
        known = F.cross_entropy(torch.cat([self.classifier(row) for row in pooled]).float(), labels.repeat(len(pooled)),
                                ignore_index=-1)
        t = self.progress.fraction
        w = (1 + cos(pi * t)) / 2 if self.curve == "cosine" else 1 - t * t
        return {"loss": w * contrast + (1 - w) * known, "contrast": contrast, "classify": known}
