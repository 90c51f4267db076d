"""How much an embedding still knows of how a view was drawn (SIE, arXiv:2302.10283, section 4; seq-JEPA, arXiv:2505.03176)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ssl_core import Data, DataError, Fold
from ssl_core.batches import seed_all, unnoticed
from ssl_core.probes.linear import STRENGTHS

from .images import Images
from .views import Traced, View


@torch.no_grad()
def equivariance(embed: Callable[[Any], Tensor], data: Data, augmentation: Traced, seed: int = 0) -> dict[str, float]:
    """R^2 of a ridge regression from the embeddings of two views to what was done differently to them.

    Two views of every item are drawn once. The penalty is the one of the core's linear probe that does best on the validation
    fold; the test fold is read once. Parameters that the augmentation leaves alone (flat hue, say) are not asked for.

    Args:
        embed: batch -> (B, D): `method.embed`, `lambda batch: encoder(batch).pooled`, or a part of its columns.
        data: with folds.
        augmentation: two views that say how they were drawn.
        seed: of the views, so that two encoders are asked about the same ones.

    Returns:
        `r2`: the mean over parameters; `r2_geometry` and `r2_colour`: over those of each kind, where there are any. 1 is
        perfect, 0 is what the mean of the training fold reaches.

    Raises:
        DataError: the data have no folds.
    """
    if not all(name in data.folds for name in ("train", "validation", "test")):
        raise DataError("equivariance is measured on a test fold, and these data have no folds.\n  Try: labelled data")
    with unnoticed():
        seed_all(seed)
        drawn = [once(embed, augmentation, batch) for batch in (data.train if data.items is None else data.items)]
    features, actions = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    rows = [data.folds[name].to(features.device) for name in ("train", "validation", "test")]
    found = r2(*(Fold(features[at], actions[at]) for at in rows))
    scores = {"r2": found, "r2_geometry": found[:6], "r2_colour": found[6:]}
    return {name: float(part[part.isfinite()].mean()) for name, part in scores.items() if part.isfinite().any()}


def once(embed: Callable[[Any], Tensor], augmentation: Traced, batch: Images) -> tuple[Tensor, Tensor]:
    """Embeddings of two views side by side, (B, 2 D), and by how much their parameters differ, (B, 10)."""
    a, b = augmentation(batch)[:2]
    return torch.cat([embed(a), embed(b)], dim=1), parameters(b) - parameters(a)


def parameters(view: View) -> Tensor:
    """The warp, six numbers, and the colours, four: (B, 10). Differences of them are what a linear probe can hope for."""
    return torch.cat([view.theta.flatten(1), view.colours], dim=1)


def r2(train: Fold, validation: Fold, test: Fold) -> Tensor:
    """R^2 on the test fold of each of P quantities, `labels` being (N, P): (P,), NaN for those that never change.

    One penalty serves all; features and quantities are standardised with the statistics of the training fold.
    """
    middle, spread = train.features.double().mean(dim=0), train.features.double().std(dim=0).clamp(min=1e-6)
    centre, size = train.labels.double().mean(dim=0), train.labels.double().std(dim=0)
    alive = size > 1e-6
    folds = [Fold((fold.features.double() - middle) / spread, (fold.labels.double() - centre) / size.clamp(min=1e-6))
             for fold in (train, validation, test)]
    x, y = folds[0]
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    image = vectors.T @ (x.T @ y) / len(x)  # (D, P)

    def explained(strength: float, fold: Fold) -> Tensor:
        guess = fold.features @ (vectors @ (image / (values.clamp(min=0) + strength)[:, None]))
        return 1 - (guess - fold.labels).square().sum(dim=0) / fold.labels.square().sum(dim=0).clamp(min=1e-12)

    best = max(STRENGTHS, key=lambda strength: float(explained(strength, folds[1])[alive].mean()))
    return torch.where(alive, explained(best, folds[2]), torch.nan)
