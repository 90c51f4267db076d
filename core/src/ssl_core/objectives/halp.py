"""HaLP: hallucinated positives, between a target and a prototype but on the target's side (arXiv:2304.00387)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..modules import mean
from ..stores import Queue, spherical_kmeans
from .bounds import at_least, positive, shares
from .moco import against_past
from .rows import crossed, held_still


class HaLP(nn.Module):
    """MoCo, and predictions pulled towards points that were made up near their target.

    Each point lies on the great circle from the target to a prototype, and stays nearest to the target's own prototype.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to keep.
        weight: of the pull (mu).
        prototypes: centres of the most recent part of the queue, from spherical k-means.
        recent: length of that part.
        points: drawn per target.
        reach: largest share of the way to the border that a point may go (lambda).
        start: share of training after which points are made (the paper: epoch 200 of 450).
        every: steps between two sets of prototypes.
    """

    progress = Progress()
    centres: Tensor

    def __init__(self, temperature: float = 0.07, queue: int = 16384, weight: float = 2.0, prototypes: int = 20,
                 recent: int = 256, points: int = 100, reach: float = 0.8, start: float = 0.44, every: int = 10) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(1, points=points, every=every)
        at_least(0, weight=weight)
        shares(reach=reach, start=start)
        if not 3 <= prototypes <= recent <= queue:
            raise ValueError(f"3 <= prototypes <= recent <= queue should hold, got {prototypes}, {recent}, {queue}")
        self.scale, self.size, self.weight, self.count, self.recent = 1 / temperature, queue, weight, prototypes, recent
        self.points, self.reach, self.start, self.every = points, reach, start, every

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)
        self.register_buffer("centres", self.queue.rows[: self.count].clone())

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        loss = against_past(views, targets, self.queue, self.scale)
        if self.progress.fraction < self.start:
            return loss
        keys = [F.normalize(row, dim=1) for row in held_still(views, targets)]
        pulls = crossed([F.normalize(row, dim=1) for row in views], keys)
        return loss - self.weight * self.scale * mean(self.agreement(query, key) for query, key in pulls)

    def agreement(self, query: Tensor, key: Tensor) -> Tensor:
        """Mean cosine of predictions with the points made for their targets, (N, D), (N, D) -> ().

        A point is a combination of two unit vectors, so cosines with it are combinations too and it is never formed.
        """
        from_key, from_target, target, kept = self.combinations(key)  # (N, points) each
        cosine = from_key * (query * key).sum(dim=1, keepdim=True) + from_target * (query @ self.centres.T).gather(1, target)
        return (cosine * kept).sum() / kept.sum().clamp(min=1)

    @torch.no_grad()
    def combinations(self, key: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points as shares of the key and of a drawn prototype, that prototype, and which points to keep."""
        cosines, among = key @ self.centres.T, self.centres @ self.centres.T  # (N, P), (P, P)
        order = cosines.argsort(dim=1, descending=True)
        own, drawn = order[:, :1], torch.randint(1, self.count, (len(key), self.points), device=key.device)
        target = order.gather(1, drawn)
        cosine, own_cosine = cosines.gather(1, target), cosines.gather(1, own)
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        ratio = (1 - among[own, target]) / (own_cosine - cosine).clamp(min=1e-8)
        border = torch.atan2(angle.sin(), ratio + angle.cos()) / angle  # where both prototypes are equally near
        share = torch.rand_like(border) * self.reach * border
        from_key, from_target = ((1 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin()
        to_all = from_key[..., None] * cosines[:, None] + from_target[..., None] * among[target]  # (N, points, P)
        kept = to_all.argmax(dim=2) == own
        return from_key, from_target, target, kept.to(key.dtype)

    @torch.no_grad()
    def after_step(self) -> None:
        self.queue.advance()
        if self.progress.step % self.every == 0:
            self.centres.copy_(spherical_kmeans(self.queue.latest(self.recent), self.count))
