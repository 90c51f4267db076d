"""MoCo: contrast with a queue of the teacher's past rows (arXiv:1911.05722), and MoCHi: mix harder ones (arXiv:2010.01028)."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..modules import mean
from ..stores import Queue
from .blockwise import log_sum_exp
from .bounds import at_least, positive, shares
from .rows import held_still


class MoCo(nn.Module):
    """Tell the other view's target from the targets of past batches.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to keep.
    """

    gathers = True

    def __init__(self, temperature: float = 0.2, queue: int = 65536) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(1, queue=queue)
        self.scale, self.size = 1 / temperature, queue

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        return against_past(views, targets, self.queue, self.scale)

    def after_step(self) -> None:
        self.queue.advance()


class MoCHi(nn.Module):
    """MoCo with harder negatives, made of the hardest of the queue. It helps transfer more than linear accuracy.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to keep.
        hardest: how many of the queue, the nearest to each prediction, to mix.
        mixed: how many mixtures of two of them.
        with_query: how many mixtures of one of them and the prediction, which weighs less than half.
        warmup: share of training without mixtures.
    """

    progress = Progress()

    def __init__(self, temperature: float = 0.2, queue: int = 65536, hardest: int = 1024, mixed: int = 1024,
                 with_query: int = 128, warmup: float = 0.075) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(1, queue=queue)
        at_least(0, mixed=mixed, with_query=with_query)
        shares(warmup=warmup)
        if not 1 <= hardest <= queue:
            raise ValueError(f"hardest should lie between 1 and queue={queue}, got {hardest}")
        self.scale, self.size, self.hardest = 1 / temperature, queue, hardest
        self.mixed, self.with_query, self.warmup = mixed, with_query, warmup

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        mix = self.mixtures if self.progress.fraction >= self.warmup else None
        return against_past(views, targets, self.queue, self.scale, mix)

    @torch.no_grad()
    def mixtures(self, query: Tensor) -> Tensor:
        """Unit rows between hard negatives, and between one and the query: (N, D) -> (N, S, D). They take no gradient."""
        rows, n = self.queue.rows, len(query)
        hard = (query @ rows.T).topk(self.hardest, dim=1).indices  # (N, H)
        one, two, three = (rows[hard.gather(1, torch.randint(self.hardest, (n, count), device=rows.device))]
                           for count in (self.mixed, self.mixed, self.with_query))  # (N, S, D) each
        both = torch.lerp(two, one, torch.rand(n, self.mixed, 1, device=rows.device, dtype=rows.dtype))
        share = torch.rand(n, self.with_query, 1, device=rows.device, dtype=rows.dtype) / 2  # of the query
        return F.normalize(torch.cat([both, torch.lerp(three, query[:, None], share)], dim=1), dim=2)

    def after_step(self) -> None:
        self.queue.advance()


def against_past(views: Sequence[Tensor], targets: Sequence[Tensor], queue: Queue, scale: float,
                 mixtures: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Cross entropy of each other view's target among itself, the queue and what `mixtures` makes; targets are held."""
    keys = [F.normalize(row, dim=1) for row in held_still(views, targets)]
    queries = [F.normalize(row, dim=1) for row in views]
    losses = []
    for i, query in enumerate(queries):
        against, _ = log_sum_exp(query, queue.rows, scale, bound=scale)  # once per query, whatever the number of keys
        if mixtures is not None:
            made = torch.einsum("nd,nsd->ns", query, mixtures(query.detach())) * scale
            against = torch.cat([against[:, None], made], dim=1).logsumexp(dim=1)
        losses += [F.softplus(against - (query * key).sum(dim=1) * scale).mean()  # log(e^pos + e^against) - pos
                   for j, key in enumerate(keys) if i != j]
    for key in keys:
        queue.hold(key)
    return mean(losses)
