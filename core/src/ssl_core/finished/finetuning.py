"""Fine-tuning: train all of an encoder, and a linear layer on top, with the labels of the training fold."""
from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from math import cos, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batches import move, seed_all, unnoticed
from ..contracts import Data
from ..errors import DataError
from ..evaluation import embed, folds
from .coretuning import CoreTuning


def finetune(encoder: Any, data: Data, epochs: int, seed: int = 0, device: str = "cpu", core: bool = False,
             lr: float = 1e-3, body: float = 0.1) -> dict[str, float]:
    """Accuracy (`finetune`), or root mean squared error (`finetune_rmse`), on the test fold at the epoch that is best on
    validation. The encoder that is given stays as it is.

    AdamW, the rate falling along half a cosine. Batches are those of `data.items`, in their order; items outside the
    training fold and without a label take no part in the loss.

    Args:
        core: with mixed hard pairs and a contrast: see `coretuning`.
        lr: of the linear layer.
        body: share of it that the encoder gets.

    Raises:
        DataError: there are no labels, or no classes for Core-tuning.
    """
    if data.labels is None or data.items is None:
        raise DataError("these data have no labels, so there is nothing to fine-tune for")
    folds(torch.zeros(len(data.labels), 1), data)  # refuses folds that cannot be learned from
    with unnoticed(), torch.enable_grad():
        seed_all(seed)
        net = _Classifier(deepcopy(encoder), data.labels, core).to(device)
        optimizer = torch.optim.AdamW([{"params": net.encoder.parameters(), "lr": lr * body, "peak": lr * body},
                                       {"params": net.heads(), "lr": lr, "peak": lr}], weight_decay=1e-4)
        best, found = -float("inf"), 0.0
        for epoch in range(epochs):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * (1 + cos(pi * epoch / epochs)) / 2
            net.train()
            for rows, labels in _labelled(net, data, device):
                optimizer.zero_grad()
                net.loss(rows, labels).backward()
                optimizer.step()
            validation, test = net.scores(data, device)
            if validation > best:
                best, found = validation, test
    return {"finetune_rmse": -found} if data.labels.is_floating_point() else {"finetune": found}


class _Classifier(nn.Module):
    """An encoder and a linear layer; a quantity is learned in units of its deviation."""

    def __init__(self, encoder: Any, labels: Tensor, core: bool) -> None:
        super().__init__()
        self.quantity = labels.is_floating_point()
        known = labels[labels.isfinite()] if self.quantity else labels
        self.encoder = encoder.requires_grad_(True)
        self.head = nn.Linear(encoder.width, 1 if self.quantity else int(known.max()) + 1)
        if core and self.quantity:
            raise DataError("Core-tuning contrasts classes, and the labels are a quantity.\n  Try: --finetune without --core")
        self.core = CoreTuning(encoder.width) if core else None
        self.centre, self.scale = (float(known.mean()), float(known.std()) or 1.0) if self.quantity else (0.0, 1.0)

    def heads(self) -> list[nn.Parameter]:
        """What is trained from scratch."""
        return [*self.head.parameters(), *(self.core.parameters() if self.core is not None else ())]

    def loss(self, rows: Tensor, labels: Tensor) -> Tensor:
        if self.core is not None:
            return self.core(rows, labels, self.head)
        out = self.head(rows)
        if self.quantity:
            return F.mse_loss(out[:, 0], (labels - self.centre) / self.scale)
        return F.cross_entropy(out, labels)

    @torch.no_grad()
    def scores(self, data: Data, device: str) -> tuple[float, float]:
        """On validation and test: accuracy, or minus the error; more is better."""
        assert data.items is not None
        _, *asked = folds(embed(self.encoder, data.items, device), data)
        found = []
        for fold in asked:
            out = self.head(fold.features)
            if self.quantity:
                found.append(-float((out[:, 0] * self.scale + self.centre - fold.labels).square().mean().sqrt()))
            else:
                found.append(float((out.argmax(dim=1) == fold.labels).double().mean()))
        return found[0], found[1]


def _labelled(net: _Classifier, data: Data, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the training fold that have a label, batch by batch, with the gradient."""
    assert data.items is not None and data.labels is not None
    known = data.labels.isfinite() if data.labels.is_floating_point() else data.labels >= 0
    learn = torch.zeros(len(data.labels), dtype=torch.bool).index_fill(0, data.folds["train"], True) & known
    place = 0
    for batch in data.items:
        rows = net.encoder(move(batch, device)).pooled
        here = slice(place, place := place + len(rows))
        chosen = learn[here].nonzero()[:, 0]
        if len(chosen) > 1:
            yield rows[chosen.to(rows.device)].float(), data.labels[here][chosen].to(rows.device)
