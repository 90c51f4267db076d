"""A k-nearest-neighbour probe."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..contracts import Fold

NEIGHBOURS = (1, 5, 10, 20, 50, 100)
BLOCK = 2**24  # similarities to hold at a time


def knn(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Accuracy (`knn`) of a plain vote of the k nearest training items by cosine; `knn_rmse` of their mean for a quantity.

    k is the one of `NEIGHBOURS` that scores best on validation; the largest of several equals.
    """
    counts = [k for k in NEIGHBOURS if k <= len(train.labels)][::-1]
    scores = {k: _score(predict(train, validation.features, k), validation.labels) for k in counts}
    k = max(counts, key=lambda count: scores[count])
    found = _score(predict(train, test.features, k), test.labels)
    return {"knn_rmse": -found} if train.labels.is_floating_point() else {"knn": found}


def predict(train: Fold, queries: Tensor, k: int) -> Tensor:
    """The vote of the k nearest training items by cosine: (Q, D) -> (Q,). Ties go to the smaller class."""
    known, asked = F.normalize(train.features, dim=1), F.normalize(queries, dim=1)
    guesses = []
    for block in asked.split(max(1, BLOCK // len(known))):
        neighbours = train.labels[(block @ known.T).topk(k, dim=1).indices]  # (Q, k)
        if train.labels.is_floating_point():
            guesses.append(neighbours.mean(dim=1))
        else:
            votes = torch.zeros(len(block), int(train.labels.max()) + 1, device=block.device)
            guesses.append(votes.scatter_add_(1, neighbours, torch.ones_like(neighbours, dtype=votes.dtype)).argmax(dim=1))
    return torch.cat(guesses)


def _score(guess: Tensor, labels: Tensor) -> float:
    """Accuracy, or minus the root mean squared error: more is better."""
    if labels.is_floating_point():
        return -float((guess - labels).square().mean().sqrt())
    return float((guess == labels).double().mean())
