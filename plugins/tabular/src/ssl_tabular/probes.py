"""Probes that people use on tables: a small perceptron, and gradient-boosted trees."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Fold
from ssl_core.batches import seed_all, unnoticed


def mlp(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Accuracy (`mlp`) or root mean squared error (`mlp_rmse`) of a perceptron with two hidden layers of 256.

    AdamW, 1e-3, batches of 256, at most 100 epochs; it stops after 12 epochs without a better validation score and keeps
    the best. Features are standardised with the statistics of the training fold. Always the same seed.
    """
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    folds = [Fold((fold.features - mean) / deviation, fold.labels) for fold in (train, validation, test)]
    quantity = train.labels.is_floating_point()
    outputs = 1 if quantity else int(train.labels.max()) + 1
    with unnoticed(), torch.enable_grad():
        seed_all(0)
        net = _perceptron(train.features.shape[1], outputs).to(train.features.device)
        found = _fit(net, folds, quantity)
    return {"mlp_rmse": -found} if quantity else {"mlp": found}


def _perceptron(inputs: int, outputs: int, hidden: int = 256, dropout: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
                         nn.Dropout(dropout), nn.Linear(hidden, outputs))


def _fit(net: nn.Module, folds: list[Fold], quantity: bool, epochs: int = 100, patience: int = 12, size: int = 256) -> float:
    """Train with early stopping; the score of the test fold at the best validation score."""
    train, validation, test = folds
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    best, found, waited = -float("inf"), 0.0, 0
    for _ in range(epochs):
        net.train()
        for part in torch.randperm(len(train.labels)).to(train.labels.device).split(size):
            optimizer.zero_grad()
            out, wanted = net(train.features[part]), train.labels[part]
            loss = F.mse_loss(out[:, 0], wanted) if quantity else F.cross_entropy(out, wanted)
            loss.backward()
            optimizer.step()
        score = _score(net, validation, quantity)
        if score > best:
            best, found, waited = score, _score(net, test, quantity), 0
        else:
            waited += 1
        if waited == patience:
            break
    return found


@torch.no_grad()
def _score(net: nn.Module, fold: Fold, quantity: bool) -> float:
    """Accuracy, or minus the root mean squared error: more is better."""
    net.eval()
    out = net(fold.features)
    return -_rmse(out[:, 0], fold.labels) if quantity else float((out.argmax(dim=1) == fold.labels).double().mean())


def _rmse(guess: Tensor, labels: Tensor) -> float:
    return float((guess - labels).square().mean().sqrt())


def boosted(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Accuracy (`boosted`) or root mean squared error (`boosted_rmse`) of scikit-learn's histogram gradient boosting.

    Learning rate 0.1 or 0.05 with 31 or 15 leaves, at most 300 trees; setting and number of trees by the validation fold.
    On wide features it is slow.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    quantity = train.labels.is_floating_point()
    kind = HistGradientBoostingRegressor if quantity else HistGradientBoostingClassifier
    (x, y), (x_held, y_held), (x_test, y_test) = ((f.features.cpu().numpy(), f.labels.cpu().numpy()) for f in
                                                  (train, validation, test))
    best, found = -np.inf, 0.0
    for rate, leaves in ((0.1, 31), (0.05, 15)):
        trees = kind(learning_rate=rate, max_leaf_nodes=leaves, max_iter=300, early_stopping=False, random_state=0).fit(x, y)

        def scores(rows: np.ndarray, labels: np.ndarray, trees: object = trees) -> list[float]:
            guesses = trees.staged_predict(rows)  # type: ignore[attr-defined]
            return [-float(np.sqrt(np.mean((guess - labels) ** 2))) if quantity else float(np.mean(guess == labels))
                    for guess in guesses]

        held = scores(x_held, y_held)
        count = int(np.argmax(held))
        if held[count] > best:
            best, found = held[count], scores(x_test, y_test)[count]
    return {"boosted_rmse": -found} if quantity else {"boosted": found}
