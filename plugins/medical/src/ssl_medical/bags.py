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

from .paired import paired_with


class Bags(NamedTuple):
    """A batch of bags of any sizes, instance after instance, no padding.

    Args:
        features: (T, F) of the instances.
        owner: (T,) long, ascending: the bag of each instance.
        labels: (B,) long, of the bags; -1 where there is none.
        paired: (B, G), what is known of each bag besides: its expression, or the embedding of its text; or None.
    """

    features: Tensor
    owner: Tensor
    labels: Tensor
    paired: Tensor | None = None


class BagLoader:
    """Batches of whole bags.

    Args:
        features: (N, F) of all instances, bag after bag.
        sizes: (M,) instances of each bag.
        labels: (M,) long.
        rows: the bags to take.
        batch_size: bags per batch.
        shuffle: new order every epoch, from torch's generator; what does not fill a batch is left out.
        paired: (M, G) or None.
    """

    def __init__(self, features: Tensor, sizes: Tensor, labels: Tensor, rows: Tensor, batch_size: int, shuffle: bool,
                 paired: Tensor | None = None) -> None:
        self.features, self.sizes, self.labels, self.rows, self.shuffle = features, sizes, labels, rows, shuffle
        self.paired = paired
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
            yield Bags(self.features[index], owner, self.labels[chosen], None if self.paired is None else self.paired[chosen])


def of_bags(features: Tensor, sizes: Tensor, labels: Tensor, batch_size: int, seed: int, paired: Tensor | None = None) -> Data:
    """The record of a set of bags: 60 % for training, 20 % for validation, 20 % for the test.

    Args:
        labels: (M,) long; all of them -1 for none.
        paired: (M, G) or None.
    """
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    cut = [len(order) * 6 // 10, len(order) * 8 // 10]
    folds = dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True))
    train = BagLoader(features, sizes, labels, folds["train"], batch_size, True, paired)
    told = hashlib.sha256()
    for part in (features, sizes, labels, *(() if paired is None else (paired,))):
        told.update(part.contiguous().numpy().tobytes())
    known = bool((labels >= 0).any())
    facts = {"in_features": features.shape[1]} | ({"classes": int(labels.max()) + 1} if known else {})
    return Data(train=train, size=len(train) * train.batch_size, labels=labels if known else None, folds=folds if known else {},
                items=BagLoader(features, sizes, labels, torch.arange(len(sizes)), batch_size, False, paired),
                raw=lambda bags: scatter_mean(bags.features, bags.owner, len(bags.labels)),
                target=(lambda bags: bags.labels) if known else None,
                facts=facts | ({} if paired is None else {"paired_features": paired.shape[1]}),
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


def synthetic_slides(slides: int = 240, patches: int = 64, width: int = 16, paired: int = 60, batch_size: int = 32,
                     seed: int = 0) -> Data:
    """Made-up slides: bags of patches of four kinds, and numbers that depend on the shares of these kinds, with noise.

    The numbers stand for an expression profile or an embedded report. The label is the kind that most patches are of.

    Args:
        slides: how many.
        patches: of a slide.
        width: of a patch.
        paired: how many numbers go with a slide.
        batch_size: slides per step.
        seed: of the split.
    """
    draw = torch.Generator().manual_seed(21)
    kinds = 2.0 * torch.randn(4, width, generator=draw)
    share = (1.5 * torch.randn(slides, 4, generator=draw)).softmax(dim=1)
    which = torch.multinomial(share, patches, replacement=True, generator=draw)  # (slides, patches)
    features = kinds[which] + torch.randn(slides, patches, width, generator=draw)
    found = share.log() @ torch.randn(4, paired, generator=draw) + torch.randn(slides, paired, generator=draw)
    return of_bags(features.flatten(0, 1), torch.full((slides,), patches), share.argmax(dim=1), batch_size, seed, found)


def from_npz(held: Any, path: Path, batch_size: int, seed: int) -> Data:
    """Bags of an `.npz` with `features` (T, F), `bag` (T,) the number of each instance's bag, and `labels` (bags,).

    A `.csv` or an `.npy` of the same name beside it, or `paired` in it, holds what each bag is paired with; see `paired.py`.
    Then labels may be left out.

    Raises:
        DataError: these do not fit together.
    """
    beside = paired_with(held, path)
    if beside is not None and "labels" not in held and "bag" in held:
        held = {**held, "labels": np.full(len(beside), -1)}
    missing = [name for name in ("features", "bag", "labels") if name not in held]
    if missing:
        raise DataError(f"{path} holds bags without {', '.join(missing)}; it needs features (T, F), bag (T,), labels (bags,)")
    features, bag, labels = (np.asarray(held[name]) for name in ("features", "bag", "labels"))
    if features.ndim != 2 or bag.shape != features.shape[:1] or bag.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: features {features.shape} and bag {bag.shape} of whole numbers do not fit together")
    if not np.isfinite(features).all() or labels.size and labels.min() < 0 and beside is None:
        raise DataError(f"{path}: features should be finite and labels count from 0")
    sizes = np.bincount(bag.astype(np.int64), minlength=len(labels)) if len(bag) and bag.min() >= 0 else np.zeros(0)
    if len(sizes) != labels.size or not sizes.all():
        raise DataError(f"{path}: {labels.size} labels for bags numbered up to {bag.max() if len(bag) else 'none'}; each bag "
                        f"needs an instance and a label")
    if beside is not None and len(beside) != labels.size:
        raise DataError(f"{path} holds {labels.size} bags, and {len(beside)} rows are paired with them")
    order = np.argsort(bag, kind="stable")
    return of_bags(torch.from_numpy(features[order].astype(np.float32)), torch.from_numpy(sizes.astype(np.int64)),
                   torch.from_numpy(labels.reshape(-1).astype(np.int64)), batch_size, seed, beside)


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
