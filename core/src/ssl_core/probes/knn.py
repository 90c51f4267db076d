"""A k-nearest-neighbour probe."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..contracts import Fold
from .base import PerItem, mean

NEIGHBOURS = (1, 5, 10, 20, 50, 100)
BLOCK = 2**24  # similarities to hold at a time


@PerItem
def knn(train: Fold, validation: Fold, test: Fold) -> dict[str, Tensor]:
    """Accuracy (`knn`) of a plain vote of the k nearest training items by cosine; `knn_rmse` of their mean for a quantity.

    k is the one of `NEIGHBOURS` that scores best on validation; the largest of several equals.
    """
    counts = [k for k in NEIGHBOURS if k <= len(train.labels)][::-1]
    name, sign = ("knn_rmse", -1) if train.labels.is_floating_point() else ("knn", 1)
    scores = {k: sign * float(mean(name, _outcomes(train, validation, k))) for k in counts}
    return {name: _outcomes(train, test, max(counts, key=lambda count: scores[count]))}


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


def _outcomes(train: Fold, asked: Fold, k: int) -> Tensor:
    """(Q,) whether each class is right, or the square of each error."""
    guess = predict(train, asked.features, k)
    return (guess - asked.labels).square() if asked.labels.is_floating_point() else (guess == asked.labels).double()
