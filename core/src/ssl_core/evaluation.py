"""One protocol for every domain: embed each item once with the frozen encoder, then score by folds."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .batches import move, seed_all, unnoticed
from .checks import attempt, need, shape
from .contracts import Data, Fold, Representation
from .errors import ContractError, DataError
from .metrics import rankme

FOLDS = ("train", "validation", "test")


@torch.no_grad()
def embed(encoder: Any, batches: Iterable[Any], device: torch.device | str = "cpu") -> Tensor:
    """Frozen features of every item, in order: (N, D) float32 on `device`. The encoder is left in the mode it was in.

    Raises:
        ContractError: the encoder fails on a batch, or returns something else than a representation.
    """
    training = encoder.training
    encoder.eval()
    try:
        with unnoticed():
            return torch.cat([_pooled(encoder, move(batch, device)) for batch in batches])
    finally:
        encoder.train(training)


def _pooled(encoder: Any, batch: Any) -> Tensor:
    who = f"encoder {type(encoder).__name__}"
    out = attempt(who, encoder, batch)
    need(isinstance(out, Representation), who, f"expected a Representation, got {type(out).__name__}")
    need(isinstance(out.pooled, Tensor) and out.pooled.ndim == 2, who, f"pooled should be (items, D), is {shape(out.pooled)}")
    return out.pooled.float()


@torch.no_grad()
def tokens(encoder: Any, batches: Iterable[Any], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Frozen features of every token of every item, (T, D) float32, and the item of each, (T,) long, ascending.

    Raises:
        DataError: the encoder has no tokens that belong to items: it pools, or its items are the tokens.
    """
    training = encoder.training
    encoder.eval()
    rows, owners, items = [], [], 0
    try:
        with unnoticed():
            for batch in batches:
                batch = move(batch, device)
                out = attempt(f"encoder {type(encoder).__name__}", encoder, batch)
                if out.tokens is None or not hasattr(encoder, "layout"):
                    raise DataError(f"{type(encoder).__name__} has no tokens, such as frames or patches, to write.\n"
                                    f"  Try: one row per item, without --tokens and --units")
                rows.append(out.tokens.float())
                owners.append(encoder.layout(batch).owner + items)
                items += len(out.pooled)
    finally:
        encoder.train(training)
    return torch.cat(rows), torch.cat(owners)


def raw(data: Data) -> Tensor | None:
    """The plain features of every item, (N, F), or None where the domain has none."""
    if data.raw is None or data.items is None:
        return None
    return torch.cat([data.raw(batch).float() for batch in data.items])


def folds(features: Tensor, data: Data) -> tuple[Fold, Fold, Fold]:
    """Features and labels of the three folds; items without a label (-1, NaN) are left out.

    Raises:
        ContractError: the data set has other labels than items, or no such fold.
        DataError: a fold is empty or the training fold has one class only.
    """
    assert data.labels is not None
    if len(data.labels) != len(features):
        raise ContractError(f"the data broke their contract: {len(data.labels)} labels for {len(features)} embedded items")
    known = data.labels.isfinite() if data.labels.is_floating_point() else data.labels >= 0
    found = []
    for name in FOLDS:
        if name not in data.folds:
            raise ContractError(f"the data broke their contract: labels but no fold {name!r} (folds: {', '.join(data.folds)})")
        rows = data.folds[name]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(features):
            raise ContractError(f"the data broke their contract: the fold {name!r} should hold positions from 0 to "
                                f"{len(features) - 1}, holds {int(rows.min())} to {int(rows.max())}")
        rows = rows[known[rows]]
        if not len(rows):
            raise DataError(f"no labelled item in the fold {name!r}, so there is nothing to score.\n"
                            f"  Try: probe= (no probes), or another split")
        found.append(Fold(features[rows.to(features.device)], data.labels[rows].to(features.device)))
    if not data.labels.is_floating_point() and len(found[0].labels.unique()) < 2:
        raise DataError("the training fold holds one class only; a probe needs two or more")
    return found[0], found[1], found[2]


def score(features: Tensor, data: Data, probes: Mapping[str, Any]) -> dict[str, float]:
    """Every score of every probe, flat, and of what the data ask; who draws numbers draws the same ones each time. Without
    labels there is nothing to probe."""
    if not features.isfinite().all():
        return {}
    found: dict[str, float] = {}
    for probe in probes.values() if data.labels is not None else ():
        with unnoticed():
            seed_all(0)
            found |= probe(*folds(features, data))
    return found | asked(features, data)


def asked(features: Tensor, data: Data) -> dict[str, float]:
    """The scores of what the data ask of the features of all items, {} where they ask nothing."""
    if data.asks is None:
        return {}
    with unnoticed():
        seed_all(0)
        return data.asks(features)


def is_scored(data: Data, probes: Mapping[str, Any]) -> bool:
    """Whether there is anything to score."""
    return data.asks is not None or data.labels is not None and bool(probes)


def evaluate(encoder: Any, data: Data, probes: Mapping[str, Any], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Scores of an encoder on a data set: {"scores": {...}, "rankme": 31.2, "width": 256}."""
    features = embed(encoder, data.train if data.items is None else data.items, device)
    rank = rankme(features) if features.isfinite().all() else 0.0
    return {"scores": score(features, data, probes), "rankme": rank, "width": features.shape[1]}


def baselines(encoder: Any, data: Data, probes: Mapping[str, Any], device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a trained encoder should beat: its own scores before training, and those of the raw features."""
    features = raw(data) if is_scored(data, probes) else None
    untrained = evaluate(encoder, data, probes, device)
    return {"untrained": untrained["scores"], "untrained_rankme": untrained["rankme"],
            "raw": {} if features is None else score(features.to(device), data, probes)}
