"""Area under the ROC curve of the linear and the nearest-neighbour probe: what is reported where one class is rare."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Fold
from ssl_core.probes.linear import STRENGTHS, fit

NEIGHBOURS = (5, 10, 20, 50, 100)


def auc(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`linear_auc` and `knn_auc`: one class against the rest, mean over classes (MedMNIST's protocol).

    The penalty of the logistic regression and the number of neighbours are those that score best on validation. Empty for
    a quantity.
    """
    if train.labels.is_floating_point():
        return {}
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    known, asked, final = (Fold((fold.features - mean) / deviation, fold.labels) for fold in (train, validation, test))
    classes = int(train.labels.max()) + 1
    weight = train.features.new_zeros(train.features.shape[1] + 1, classes)
    best, chosen = -1.0, weight
    for strength in STRENGTHS:  # each starts from the solution of the one before
        weight = fit(known.features, known.labels, weight, strength)
        score = area(logits(weight, asked), asked.labels)
        if score > best:
            best, chosen = score, weight
    counts = [k for k in NEIGHBOURS if k <= len(train.labels)] or [len(train.labels)]
    k = max(counts, key=lambda count: area(votes(train, validation, classes, count), validation.labels))
    return {"linear_auc": area(logits(chosen, final), final.labels),
            "knn_auc": area(votes(train, test, classes, k), test.labels)}


def logits(weight: Tensor, fold: Fold) -> Tensor:
    return fold.features @ weight[:-1] + weight[-1]


def votes(train: Fold, asked: Fold, classes: int, k: int) -> Tensor:
    """How many of the k nearest by cosine are of each class, weighed by their likeness: (N, classes)."""
    likeness = F.normalize(asked.features, dim=1) @ F.normalize(train.features, dim=1).T
    near, index = likeness.topk(k, dim=1)
    found = torch.zeros(len(near), classes, device=near.device)
    return found.scatter_add_(1, train.labels[index], (near - near[:, -1:]) + 1e-3)


def area(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve, mean over classes that are there: (N, K), (N,); of two classes, the second's."""
    from sklearn.metrics import roc_auc_score

    margin = scores.double() if scores.shape[1] == 2 else scores.double().softmax(dim=1)
    columns = [margin[:, 1] - margin[:, 0]] if scores.shape[1] == 2 else list(margin.unbind(dim=1))
    first = 1 if scores.shape[1] == 2 else 0
    found = [float(roc_auc_score((labels == first + i).cpu(), column.cpu())) for i, column in enumerate(columns)
             if 0 < int((labels == first + i).sum()) < len(labels)]
    return sum(found) / len(found) if found else float("nan")
