"""InterCLR: besides views of the same item, other items of its cluster are positives (arXiv:2008.11702)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..modules import mean
from ..stores import Queue, spherical_kmeans
from .moco import against_past
from .rows import crossed, held_still


class InterCLR(nn.Module):
    """MoCo, and the same contrast with a past row of the target's cluster as the positive.

    The paper keeps one row per training item; here the queue of past targets, clustered anew every few steps, serves, so
    that batches need no item numbers.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to keep.
        weight: of the contrast between items; that within items has the rest.
        clusters: of the queue.
        margin: taken off the cosine of a positive; negative: it counts as near as it is plus that much.
        pool: the share of the queue, nearest to the prediction and of other clusters, that negatives are drawn from.
        negatives: how many to draw.
        every: steps between two clusterings.
    """

    progress = Progress()
    centres: Tensor
    member: Tensor

    def __init__(self, temperature: float = 0.2, queue: int = 65536, weight: float = 0.25, clusters: int = 256,
                 margin: float = -0.5, pool: float = 0.1, negatives: int = 1024, every: int = 10) -> None:
        super().__init__()
        if not 2 <= clusters <= queue:
            raise ValueError(f"clusters should lie between 2 and queue={queue}, got {clusters}")
        if not 0 < pool <= 1:
            raise ValueError(f"pool should lie between 0 and 1, got {pool}")
        self.scale, self.size, self.weight, self.clusters = 1 / temperature, queue, weight, clusters
        self.margin, self.pool, self.negatives, self.every = margin, max(1, round(pool * queue)), negatives, every

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)
        self.register_buffer("centres", spherical_kmeans(self.queue.rows, self.clusters, rounds=1))
        self.register_buffer("member", self.nearest(self.queue.rows))  # cluster of each row of the queue

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        within = against_past(views, targets, self.queue, self.scale)
        keys = [F.normalize(row, dim=1) for row in held_still(views, targets)]
        pairs = crossed([F.normalize(row, dim=1) for row in views], keys)
        between = mean(self.contrast(query, key) for query, key in pairs)
        return (1 - self.weight) * within + self.weight * between

    def contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """Cross entropy of a row of the key's cluster among semi-hard rows of others: (N, D), (N, D) -> ()."""
        cosines = query @ self.queue.rows.T  # (N, queue)
        same = self.member == self.nearest(key)[:, None]
        drawn = torch.where(same, torch.rand_like(cosines), -1.0).argmax(dim=1, keepdim=True)
        own = (query * key).sum(dim=1, keepdim=True)
        positive = torch.where(same.gather(1, drawn), cosines.gather(1, drawn), own) - self.margin  # alone: its own target
        apart = cosines.masked_fill(same, -torch.inf)
        pool = apart.detach().topk(self.pool, dim=1).indices
        chosen = pool.gather(1, torch.randint(self.pool, (len(query), self.negatives), device=query.device))
        logits = torch.cat([positive, apart.gather(1, chosen)], dim=1) * self.scale
        return (logits.logsumexp(dim=1) - logits[:, 0]).mean()

    def nearest(self, rows: Tensor) -> Tensor:
        """The cluster of each unit row, (N, D) -> (N,)."""
        return (rows @ self.centres.T).argmax(dim=1)

    @torch.no_grad()
    def after_step(self) -> None:
        self.queue.advance()
        if self.progress.step % self.every == 0:
            self.centres.copy_(spherical_kmeans(self.queue.rows, self.clusters, rounds=2))
        self.member.copy_(self.nearest(self.queue.rows))
