"""Supervised contrast (SupCon, arXiv:2004.11362) on speech: before fine-tuning, or as a term of it."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp


class SupConSpeech(Method):
    """Recordings of one class are drawn together; with `naming`, a linear head names the classes at the same time.

    With naming=0 this is a step before fine-tuning; with naming=1 and a small `contrast`, fine-tuning with a contrast as
    regulariser. Recordings without a label have only their own views as positives and are not named.

    Args:
        classes: number of classes, from the data.
        projector: widths of the head that is contrasted.
        contrast: weight of the contrast (0.1 to 1 beside naming).
        naming: weight of the cross-entropy of the classes; 0 for no head.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, classes: int, projector: tuple[int, ...] = (128, 128),
                 contrast: float = 1.0, naming: float = 0.0) -> None:
        super().__init__(encoder, augmentation, objective)
        if not projector or min(contrast, naming) < 0 or contrast + naming == 0:
            raise ValueError(f"wanted: widths of the projector, weights of 0 or more and one above; got {projector}, "
                             f"{contrast=}, {naming=}")
        self.projector = mlp(encoder.width, *projector, norm="layer")
        self.head = nn.Linear(encoder.width, classes) if naming else None
        self.contrast, self.naming = contrast, naming

    def step(self, batch: Any) -> dict[str, Tensor]:
        labels = self.labels(batch)
        rows = [self.encoder(view).pooled for view in self.augmentation(batch)]
        found = {"contrast": self.compare(*map(self.projector, rows), labels=labels)}
        loss = self.contrast * found["contrast"]
        if self.head is not None:
            logits, right = self.head(torch.cat(rows)).float(), labels.repeat(len(rows))
            known = right >= 0
            named = F.cross_entropy(logits, right, ignore_index=-1, reduction="sum") / known.sum().clamp(min=1)
            found |= {"naming": named, "accuracy": ((logits.argmax(dim=1) == right) & known).sum() / known.sum().clamp(min=1)}
            loss = loss + self.naming * named
        return {"loss": loss, **found}
