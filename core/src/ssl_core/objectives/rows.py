"""What objectives share about rows and views."""
from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from ..distributed import world
from ..errors import DataError


def need(rows: Tensor, count: int, who: str) -> None:
    """Raise a DataError unless the batch, over all processes, holds at least `count` items."""
    if len(rows) * world() < count:
        raise DataError(f"{who} compares the items of a batch with each other and needs {count} or more; it got {len(rows)}.\n"
                        f"  Try: a larger data.batch_size, or a loader that drops the last, short batch")


def held_still(views: Sequence[Tensor], targets: Sequence[Tensor], count: int = 0) -> list[Tensor]:
    """The targets; without any, the first `count` views (0: all). Neither takes a gradient."""
    return [row.detach() for row in (targets or views[: count or None])]


def crossed(views: Sequence[Tensor], targets: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Every view with the target of every other view."""
    return [(view, target) for i, view in enumerate(views) for j, target in enumerate(targets) if i != j]


def cross_entropy(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean cross entropy of each view's logits with the distribution of every other view's target: V x (N, K), T x (N, K).

    One pass over each matrix instead of one for each of the T (V - 1) pairs: with s the logits and p the targets,
    sum over pairs = sum_v c_v LSE(s_v) - <sum_t p_t, sum_v s_v> + sum_t <p_t, s_t>, c_v the targets paired with view v.
    """
    pairs = len(targets) * (len(logits) - 1)
    loss = sum((len(targets) - (v < len(targets))) * s.logsumexp(dim=1).sum() for v, s in enumerate(logits))
    loss = loss - (reduce(torch.add, targets) * reduce(torch.add, logits)).sum()
    loss = loss + sum((p * s).sum() for p, s in zip(targets, logits, strict=False))
    return loss / (pairs * len(logits[0]))
