"""What objectives share about rows and views."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of each view's logits with the distribution of every other view's target: (V, N, K), (T, N, K).

    One pass over each matrix instead of one for each of the T (V - 1) pairs: with q the logarithms of the views' own
    distributions and p the targets, the sum over pairs is sum_t <p_t, q_t> - <sum_t p_t, sum_v q_v>. Targets take no gradient.
    """
    return _CrossEntropy.apply(logits, targets)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        own, whole, count = logits.log_softmax(dim=2), targets.sum(dim=0), len(targets)
        ctx.save_for_backward(own, targets, whole)
        ctx.terms = count * (len(own) - 1) * own.shape[1]
        paired = torch.dot(own[:count].flatten(), targets.flatten()) - (own.flatten(1) @ whole.flatten()).sum()
        return paired / ctx.terms

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        own, targets, whole = ctx.saved_tensors
        count = len(targets)
        by_logits = own.exp()  # each view meets the targets of all others, whose shares sum to 1
        by_logits[:count] *= count - 1
        by_logits[count:] *= count
        by_logits -= whole
        by_logits[:count] += targets
        return by_logits.mul_(grad / ctx.terms), None
