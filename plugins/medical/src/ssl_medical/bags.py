"""Bags of instances: patches of a slide or of a volume, embedded before, of which only the bag's label is known."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ssl_core import Data, DataError, Representation
from ssl_core.modules import scatter_mean


class Bags(NamedTuple):
    """A batch of bags of any sizes, instance after instance, no padding.

    Args:
        features: (T, F) of the instances.
        owner: (T,) long, ascending: the bag of each instance.
        labels: (B,) long, of the bags.
    """

    features: Tensor
    owner: Tensor
    labels: Tensor


class BagLoader:
    """Batches of whole bags.

    Args:
        features: (N, F) of all instances, bag after bag.
        sizes: (M,) instances of each bag.
        labels: (M,) long.
        rows: the bags to take.
        batch_size: bags per batch.
        shuffle: new order every epoch, from torch's generator; what does not fill a batch is left out.
    """

    def __init__(self, features: Tensor, sizes: Tensor, labels: Tensor, rows: Tensor, batch_size: int, shuffle: bool) -> None:
        self.features, self.sizes, self.labels, self.rows, self.shuffle = features, sizes, labels, rows, shuffle
        self.starts, self.batch_size = sizes.cumsum(0) - sizes, min(batch_size, len(rows))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size if self.shuffle else -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Bags]:
        order = self.rows[torch.randperm(len(self.rows))] if self.shuffle else self.rows
        for chosen in order.split(self.batch_size)[: len(self)]:
            sizes = self.sizes[chosen]
            owner = torch.arange(len(chosen)).repeat_interleave(sizes)
            within = torch.arange(len(owner)) - (sizes.cumsum(0) - sizes)[owner]
            index = self.starts[chosen][owner] + within
            yield Bags(self.features[index], owner, self.labels[chosen])


def of_bags(features: Tensor, sizes: Tensor, labels: Tensor, batch_size: int, seed: int) -> Data:
    """The record of a set of bags: 60 % for training, 20 % for validation, 20 % for the test."""
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    cut = [len(order) * 6 // 10, len(order) * 8 // 10]
    folds = dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True))
    train = BagLoader(features, sizes, labels, folds["train"], batch_size, True)
    told = hashlib.sha256(features.numpy().tobytes() + sizes.numpy().tobytes() + labels.numpy().tobytes())
    return Data(train=train, size=len(train) * train.batch_size, labels=labels, folds=folds,
                items=BagLoader(features, sizes, labels, torch.arange(len(sizes)), batch_size, False),
                raw=lambda bags: scatter_mean(bags.features, bags.owner, len(bags.labels)), target=lambda bags: bags.labels,
                facts={"in_features": features.shape[1], "classes": int(labels.max()) + 1},
                schema={"in_features": features.shape[1]}, fingerprint=told.hexdigest()[:16])


def synthetic_bags(bags: int = 240, instances: int = 64, width: int = 16, share: float = 0.05, batch_size: int = 32,
                   seed: int = 0) -> Data:
    """Made-up bags: normal instances, and in half of the bags a few that are shifted.

    Args:
        bags: how many.
        instances: of a bag.
        width: of an instance.
        share: of the instances of a positive bag that are shifted; one at least.
        batch_size: bags per step.
        seed: of the split.
    """
    draw = torch.Generator().manual_seed(20)
    labels = torch.arange(bags) % 2
    features = torch.randn(bags, instances, width, generator=draw)
    shifted = max(1, round(share * instances))
    features[labels == 1, :shifted] += 3.0 * torch.eye(width)[0] + 1.5 * torch.eye(width)[1]
    return of_bags(features.flatten(0, 1), torch.full((bags,), instances), labels, batch_size, seed)


def from_npz(held: Any, path: Path, batch_size: int, seed: int) -> Data:
    """Bags of an `.npz` with `features` (T, F), `bag` (T,) the number of each instance's bag, and `labels` (bags,).

    Raises:
        DataError: these do not fit together.
    """
    missing = [name for name in ("features", "bag", "labels") if name not in held]
    if missing:
        raise DataError(f"{path} holds bags without {', '.join(missing)}; it needs features (T, F), bag (T,), labels (bags,)")
    features, bag, labels = (np.asarray(held[name]) for name in ("features", "bag", "labels"))
    if features.ndim != 2 or bag.shape != features.shape[:1] or bag.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: features {features.shape} and bag {bag.shape} of whole numbers do not fit together")
    if not np.isfinite(features).all() or labels.size and labels.min() < 0:
        raise DataError(f"{path}: features should be finite and labels count from 0")
    sizes = np.bincount(bag.astype(np.int64), minlength=len(labels)) if len(bag) and bag.min() >= 0 else np.zeros(0)
    if len(sizes) != labels.size or not sizes.all():
        raise DataError(f"{path}: {labels.size} labels for bags numbered up to {bag.max() if len(bag) else 'none'}; each bag "
                        f"needs an instance and a label")
    order = np.argsort(bag, kind="stable")
    return of_bags(torch.from_numpy(features[order].astype(np.float32)), torch.from_numpy(sizes.astype(np.int64)),
                   torch.from_numpy(labels.reshape(-1).astype(np.int64)), batch_size, seed)


class AttentionMIL(nn.Module):
    """Gated attention over the instances of a bag (arXiv:1802.04712).

    Args:
        in_features: of an instance; from the data.
        width: of an instance's and the bag's representation.
        hidden: of the attention.
    """

    def __init__(self, in_features: int, width: int = 64, hidden: int = 32) -> None:
        super().__init__()
        self.width = width
        self.body = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.looks, self.gate, self.score = nn.Linear(width, hidden), nn.Linear(width, hidden), nn.Linear(hidden, 1)

    def forward(self, bags: Bags) -> Representation:
        rows = self.body(bags.features)
        share = softmax(self.score(self.looks(rows).tanh() * self.gate(rows).sigmoid())[:, 0], bags.owner, len(bags.labels))
        pooled = rows.new_zeros(len(bags.labels), self.width).index_add(0, bags.owner, share[:, None].to(rows.dtype) * rows)
        return Representation(pooled, rows)


def softmax(scores: Tensor, owner: Tensor, bags: int) -> Tensor:
    """The softmax of scores (T,) within each bag."""
    scores = scores.float()
    top = scores.new_full((bags,), -torch.inf).scatter_reduce(0, owner, scores.detach(), "amax")
    weight = (scores - top[owner]).exp()
    return weight / weight.new_zeros(bags).index_add(0, owner, weight)[owner]


class Jitter:
    """Views of bags whose features are noisy and partly left out.

    Args:
        views: how many.
        noise: standard deviation of what is added, as a share of the features' own over the batch.
        drop: probability that a feature of an instance is set to zero.
    """

    def __init__(self, views: int = 2, noise: float = 0.1, drop: float = 0.1) -> None:
        if views < 1 or noise < 0 or not 0 <= drop < 1:
            raise ValueError(f"views should be 1 or more, noise 0 or more, drop a share, got {views}, {noise} and {drop}")
        self.views, self.noise, self.drop = views, noise, drop

    def __call__(self, bags: Bags) -> tuple[Bags, ...]:
        spread = bags.features.std(dim=0, correction=0)
        views = []
        for _ in range(self.views):
            x = bags.features + self.noise * spread * torch.randn_like(bags.features)
            views.append(bags._replace(features=x * (torch.rand_like(x) >= self.drop)))
        return tuple(views)
