"""The few fixed items that the monitors look at again and again, and what their labels say of an embedding."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batches import Batches, move
from ..contracts import Data, Fold
from ..methods import Method
from ..probes import knn

ITEMS = 1024  # to measure on, where batches are small
SPAN = 64  # batches among which they are chosen, where going through all might take long


class Panel(NamedTuple):
    """The items that are measured again and again, and a training batch whose views are compared.

    Args:
        batches: of items, in order.
        rows: (P,) which of their rows to take; none of the test fold.
        train, validation: positions within those rows of items with a label, and the labels; None without labels.
        batch, size: for views, and how many items it holds.
        home: where to compute: the device, if it knows 64 bits.
    """

    batches: list[Any]
    rows: Tensor
    train: Fold | None
    validation: Fold | None
    batch: Any
    size: int
    home: torch.device


def panel(method: Method, data: Data, batches: Batches, device: torch.device) -> Panel:
    """Choose items that are evenly spaced and not of the test fold: among all, or, where items can neither be asked for by
    number nor lie in a list of batches, among the first `SPAN` batches that hold some."""
    source = data.train if data.items is None else data.items
    first = next(iter(Batches(batches.batches, batches.seed)))
    with torch.no_grad():
        few = move(first, device)
        size = len(method.kept(few).pooled)
        span = len(source) if isinstance(source, list) else min(SPAN, _length(source))
        step = max(1, span // max(1, ceil(ITEMS / size)))
        found = _taken(data, source, size) if hasattr(source, "items_at") else \
            islice(_open(method, data, source, device), 0, span, step)
        kept, places = [], []
        for batch, place in found:
            kept.append(move(batch, device))
            places.append(torch.arange(_count(method, data, batch, device)) if place is None else place)
            if sum(map(len, places)) >= ITEMS:
                break
    positions = torch.cat(places)  # in the data
    rows = (~_tested(data, positions)).nonzero()[:, 0]
    rows = rows[:: max(1, len(rows) // ITEMS)]
    home = torch.device("cpu") if device.type == "mps" else device
    train, validation = (_fold(data, name, positions[rows], home) for name in ("train", "validation"))
    return Panel(kept, rows.to(device), train, validation, few, size, home)


def _taken(data: Data, source: Any, size: int) -> Iterator[tuple[Any, Tensor]]:
    """Batches of evenly spaced items outside of the test fold, and their positions in the data."""
    rows = torch.arange(source.count)
    rows = rows[~_tested(data, rows)]
    for place in rows[:: max(1, len(rows) // ITEMS)][:ITEMS].split(size):
        yield source.items_at(place), place


def _open(method: Method, data: Data, source: Iterable[Any], device: torch.device) -> Iterator[tuple[Any, Tensor | None]]:
    """Batches with items outside of the test fold, and the positions of all their items in the data, if those have labels."""
    if data.labels is None:  # nothing is counted for nothing
        yield from ((batch, None) for batch in source)
        return
    start = 0
    for batch in source:
        place = torch.arange(start, start + _count(method, data, batch, device))
        start += len(place)
        if not _tested(data, place).all():
            yield batch, place


def _tested(data: Data, positions: Tensor) -> Tensor:
    """Which of these positions belong to the test fold: (N,) -> (N,) bool."""
    known = data.labels is not None and "test" in data.folds
    return torch.isin(positions, data.folds["test"]) if known else torch.zeros(len(positions), dtype=torch.bool)


def _length(source: Iterable[Any]) -> int:
    try:
        return len(source)  # type: ignore[arg-type]
    except TypeError:
        return SPAN


def _count(method: Method, data: Data, batch: Any, device: torch.device) -> int:
    """How many items a batch holds: as many as it has plain features, if those are at hand."""
    return len(method.kept(move(batch, device)).pooled if data.raw is None else data.raw(batch))


def _fold(data: Data, name: str, positions: Tensor, device: torch.device) -> Fold | None:
    """Which of these positions belong to a fold and have a label, with the labels; None where they cannot be probed."""
    if data.labels is None or name not in data.folds or len(positions) and int(positions.max()) >= len(data.labels):
        return None
    labels = data.labels[positions]
    known = labels.isfinite() if labels.is_floating_point() else labels >= 0
    here = (torch.isin(positions, data.folds[name]) & known).nonzero()[:, 0]
    enough = len(here) > 9 and len(labels[here].unique()) > 1
    return Fold(here.to(device), labels[here].to(device)) if enough else None


def probed(rows: Tensor, train: Fold, validation: Fold) -> dict[str, float]:
    """Vote of the 10 nearest, and ridge regression on the labels: accuracy, or root mean squared error of a quantity."""
    known, asked = Fold(rows[train.features], train.labels), rows[validation.features]
    guesses = {"val_knn": knn.predict(known, asked, min(10, len(known.labels))), "val_linear": ridge(known, asked)}
    if train.labels.is_floating_point():
        return {f"{name}_rmse": float((guess - validation.labels).square().mean().sqrt()) for name, guess in guesses.items()}
    return {name: float((guess == validation.labels).double().mean()) for name, guess in guesses.items()}


def ridge(train: Fold, asked: Tensor, strength: float = 1e-2) -> Tensor:
    """Least squares on labels, or on one column per class, with a penalty per item: (Q, D) -> (Q,) guesses."""
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    x, queries = ((part - mean).div(deviation).double() for part in (train.features, asked))
    quantity = train.labels.is_floating_point()
    y = (train.labels[:, None] if quantity else F.one_hot(train.labels)).double()
    gram = x.T @ x + strength * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    guess = queries @ torch.linalg.solve(gram, x.T @ (y - y.mean(dim=0))) + y.mean(dim=0)
    return guess[:, 0] if quantity else guess.argmax(dim=1)
