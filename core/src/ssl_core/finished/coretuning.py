"""Core-tuning: fine-tuning with mixed hard pairs and a focal contrast (Zhang et al., NeurIPS 2021, arXiv:2102.06605)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CoreTuning(nn.Module):
    """Cross-entropy of features, of mixtures of them and of mixed hard pairs, and a contrast of all three.

    Args:
        width: of the features.
        weight: of the contrast (eta).
        alpha: of the Beta distribution that the shares of mixtures are drawn from.
        floor: smallest share of the first part of a mixture.
        temperature: of the contrast.
        inner: width of the rows that are contrasted.
    """

    def __init__(self, width: int, weight: float = 0.1, alpha: float = 1.0, floor: float = 0.8, temperature: float = 0.07,
                 inner: int = 256) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, inner))
        self.weight, self.alpha, self.floor, self.temperature = weight, alpha, floor, temperature

    def forward(self, features: Tensor, labels: Tensor, classifier: nn.Linear) -> Tensor:
        """The loss of features (N, D) with labels (N,)."""
        shares = torch.distributions.Beta(self.alpha, self.alpha).sample((2, len(labels))).to(features).clamp(min=self.floor)
        rows, targets = mixed(features, F.one_hot(labels, classifier.out_features).to(features), shares,
                              torch.randperm(len(labels), device=labels.device))
        return (F.cross_entropy(classifier(rows), targets)
                + self.weight * focal_contrast(self.head(rows), targets, self.temperature))


def mixed(x: Tensor, y: Tensor, shares: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Features and soft labels (3 N, .) of the items, of mixtures with `other` items, and of mixed hard pairs: the least
    similar item of an item's class with the most similar item of another class.

    An item alone in its class is its own positive; where there is one class only, pairs are not mixed.

    Args:
        x: features (N, D).
        y: labels (N, C), one column per class.
        shares: (2, N), of the first part of both mixtures.
        other: (N,) positions to mix with.
    """
    unit = F.normalize(x.detach(), dim=1)
    near, same = unit @ unit.T, (y @ y.T) > 0.5
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    positive = near.masked_fill(~same | itself, torch.inf).argmin(dim=1)
    alone = (same & ~itself).sum(dim=1) == 0
    positive = torch.where(alone, torch.arange(len(x), device=x.device), positive)
    negative = torch.where(same.all(dim=1), positive, near.masked_fill(same, -torch.inf).argmax(dim=1))
    a, b = shares[0][:, None], shares[1][:, None]
    rows = torch.cat([x, a * x + (1 - a) * x[other], b * x[positive] + (1 - b) * x[negative]])
    return rows, torch.cat([y, a * y + (1 - a) * y[other], b * y[positive] + (1 - b) * y[negative]])


def focal_contrast(rows: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean over rows, and over the other rows with exactly the same soft label, of -(1 - p) log p; p is the softmax of the
    cosine over all other rows. Rows without such another take no part."""
    unit = F.normalize(rows, dim=1)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    log_p = logits.log_softmax(dim=1).masked_fill(itself, 0.0)
    same = (torch.cdist(targets, targets, p=1) < 1e-6) & ~itself
    terms = (1 - log_p.exp()) * -log_p * same
    counted = same.sum(dim=1)
    per_row = terms.sum(dim=1) / counted.clamp(min=1)
    return per_row.sum() / (counted > 0).sum().clamp(min=1)
