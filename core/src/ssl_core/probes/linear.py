"""A linear probe: multinomial logistic regression for classes, ridge regression for a quantity."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..contracts import Fold
from .base import PerItem

STRENGTHS = tuple(10.0**k for k in range(2, -6, -1))  # of the penalty, per training item; strong to weak


@PerItem
def linear(train: Fold, validation: Fold, test: Fold) -> dict[str, Tensor]:
    """Accuracy (`linear`) of logistic regression by L-BFGS, or root mean squared error (`rmse`) of ridge regression.

    Features are standardised with the statistics of the training fold. The penalty is the one of `STRENGTHS` that
    scores best on validation; the strongest of several equals.
    """
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    folds = [Fold((fold.features - mean) / deviation, fold.labels) for fold in (train, validation, test)]
    return _ridge(*folds) if train.labels.is_floating_point() else _logistic(*folds)


def _logistic(train: Fold, validation: Fold, test: Fold) -> dict[str, Tensor]:
    classes = int(train.labels.max()) + 1
    weight = train.features.new_zeros(train.features.shape[1] + 1, classes)
    best, chosen = -1.0, weight
    for strength in STRENGTHS:  # each starts from the solution of the one before
        weight = fit(train.features, train.labels, weight, strength)
        score = float(right(weight, validation).mean())
        if score > best:
            best, chosen = score, weight
    return {"linear": right(chosen, test)}


def fit(x: Tensor, y: Tensor, start: Tensor, strength: float, steps: int = 100) -> Tensor:
    """Minimise mean cross-entropy + strength / 2 * |w|^2; the bias, the last row of (D + 1, C), is free."""
    weight = start.clone().requires_grad_(True)
    search = torch.optim.LBFGS([weight], max_iter=steps, history_size=10, line_search_fn="strong_wolfe",
                               tolerance_grad=1e-5, tolerance_change=1e-9)

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(x @ weight[:-1] + weight[-1], y) + strength / 2 * weight[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
    return weight.detach()


def right(weight: Tensor, fold: Fold) -> Tensor:
    """(N,) 1 where the class is right, else 0."""
    return ((fold.features @ weight[:-1] + weight[-1]).argmax(dim=1) == fold.labels).double()


def _ridge(train: Fold, validation: Fold, test: Fold) -> dict[str, Tensor]:
    x, centre = train.features.double(), train.labels.double().mean()
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    image = vectors.T @ (x.T @ (train.labels.double() - centre)) / len(x)

    def errors(strength: float, fold: Fold) -> Tensor:
        weight = vectors @ (image / (values.clamp(min=0) + strength))
        guess = fold.features.double() @ weight + centre
        return (guess - fold.labels.double()).square()

    return {"rmse": errors(min(STRENGTHS, key=lambda s: float(errors(s, validation).mean())), test)}
