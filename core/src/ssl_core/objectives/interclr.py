"""InterCLR: besides views of the same item, other items of its cluster are positives (arXiv:2008.11702)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..modules import mean
from ..stores import Bank, Queue, spherical_kmeans
from .bounds import at_least, positive, shares
from .moco import against_past
from .rows import crossed, held_still


class InterCLR(nn.Module):
    """MoCo, and the same contrast with a past row of the target's cluster as the positive.

    As in the paper these come from a bank with one row per item, where the data number their items; elsewhere from the
    queue of past targets. Either is clustered anew every few steps.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to keep.
        weight: of the contrast between items; that within items has the rest.
        clusters: of past rows.
        margin: taken off the cosine of a positive; negative: it counts as near as it is plus that much.
        pool: the share of these rows, nearest to the prediction and of other clusters, that negatives are drawn from.
        negatives: how many to draw.
        every: steps between two clusterings.
        places: of the bank, one above the largest number of an item; from the data, 0 where they have no numbers.
    """

    progress = Progress()
    centres: Tensor
    member: Tensor

    def __init__(self, temperature: float = 0.2, queue: int = 65536, weight: float = 0.25, clusters: int = 256,
                 margin: float = -0.5, pool: float = 0.1, negatives: int = 1024, every: int = 10,
                 places: int = 0) -> None:
        super().__init__()
        positive(temperature=temperature)
        shares(weight=weight)
        at_least(1, queue=queue, negatives=negatives, every=every)
        at_least(0, places=places)
        if not 2 <= clusters <= (places or queue):
            raise ValueError(f"clusters should lie between 2 and {places or queue} remembered rows, got {clusters}")
        if not 0 < pool <= 1:
            raise ValueError(f"pool should lie between 0 and 1, got {pool}")
        self.scale, self.size, self.weight, self.clusters = 1 / temperature, queue, weight, clusters
        self.margin, self.negatives, self.every, self.places = margin, negatives, every, places
        self.pool = max(1, round(pool * (places or queue)))

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)
        self.bank = Bank(self.places, width) if self.places else None
        self.register_buffer("centres", spherical_kmeans(self.past, self.clusters, rounds=1))
        self.register_buffer("member", self.nearest(self.past))  # cluster of each past row

    @property
    def past(self) -> Tensor:
        """What positives and negatives are drawn from, (R, D)."""
        return self.queue.rows if self.bank is None else self.bank.rows

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = (), ids: Tensor | None = None) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D), numbers of the items (N,) for a bank -> ().

        Raises:
            ValueError: there is a bank, and the items have no numbers.
        """
        if self.bank is not None and ids is None:
            raise ValueError(f"InterCLR keeps a row for each of {self.places} items, and was not told which ones these are; "
                             f"objective.places=0 does without")
        within = against_past(views, targets, self.queue, self.scale)
        keys = [F.normalize(row, dim=1) for row in held_still(views, targets)]
        if self.bank is not None and ids is not None:
            self.bank.hold(ids, keys[0])
        pairs = crossed([F.normalize(row, dim=1) for row in views], keys)
        between = mean(self.contrast(query, key) for query, key in pairs)
        return (1 - self.weight) * within + self.weight * between

    def contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """Cross entropy of a row of the key's cluster among semi-hard rows of others: (N, D), (N, D) -> ()."""
        cosines = query @ self.past.T  # (N, R)
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
        if self.bank is not None:
            self.bank.advance()
        if self.progress.step % self.every == 0:
            self.centres.copy_(spherical_kmeans(self.past, self.clusters, rounds=2))
        self.member.copy_(self.nearest(self.past))
