"""gCooL: graph communal contrastive learning (Li, Jing and Tong, WWW 2022, arXiv:2110.14863)."""
from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, permutations
from math import exp
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method, Progress
from ssl_core.modules import mean

from .communities import communal_contrast, deca, kmeans, prototypes

Schedule = Literal["paper", "constant", "warm"]


class GCooL(Method):
    """Contrast nodes with nodes, and with dense communities that are found on the way.

    Every pair of views is contrasted: two augmented views of one graph, or one view per relation of a multiplex graph.
    Community centres learn from DeCA only, encoder and projector from the two contrasts only.

    Args:
        communities: their number K; from the data, the number of classes, unless given.
        projector: width of the inner layer; 0 for the encoder's.
        temperature: of assignment and communal contrast.
        similarity: `cosine` or `rbf` (exp(-d^2 / temperature)) between nodes and communities.
        gamma: how fast the weight of a negative community falls with its distance from the anchor's (`rbf` only).
        balance: weight of density between communities (lambda). With `density=paper` it has next to no effect.
        density: `paper`, or `normalized` by the sizes of the communities, so that large ones are not preferred.
        schedule: weight of the communal terms: `paper` fades out over `stride`/5, `constant` keeps it, `warm` also waits
            until the centres have learned.
        stride: length of the schedule as a share of training (the paper: 500 or 1000 of 600 to 2900 epochs).
        weight: of the communal terms.
        centres: `random`, or from `kmeans` of the embedding before training.
        refresh: steps after which the centres start again from k-means; 0 for never.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, classes: int = 10, communities: int = 0,
                 projector: int = 0, temperature: float = 0.4, similarity: Literal["cosine", "rbf"] = "cosine",
                 gamma: float = 8e-5, balance: float = 1.0, density: Literal["paper", "normalized"] = "paper",
                 schedule: Schedule = "paper", stride: float = 0.5, weight: float = 1.0,
                 centres: Literal["random", "kmeans"] = "random", refresh: int = 0) -> None:
        super().__init__(encoder, augmentation, objective)
        if getattr(encoder, "level", "node") == "graph":
            raise ValueError("gcool looks for communities of the nodes of one graph, and items of these data are whole graphs")
        width, inner = encoder.width, projector or encoder.width
        self.projector = nn.Sequential(nn.Linear(width, inner), nn.ELU(), nn.Linear(inner, width))
        self.centres = nn.Parameter(torch.randn(communities or classes, width))
        self.temperature, self.rbf, self.gamma = temperature, similarity == "rbf", gamma
        self.balance, self.normalized, self.schedule, self.stride = balance, density == "normalized", schedule, stride
        self.weight, self.from_kmeans, self.refresh = weight, centres == "kmeans", refresh

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        rows = [self.projector(self.encoder(view).pooled) for view in views]
        with torch.autocast(rows[0].device.type, enabled=False):
            return self.losses([F.normalize(row.float() if row.itemsize < 4 else row) for row in rows], views)

    def losses(self, rows: list[Tensor], views: tuple[Any, ...]) -> dict[str, Tensor]:
        """All terms, from unit rows (N, D) of each view."""
        if self.refresh and self.progress.step and self.progress.step % self.refresh == 0:
            self.restart(rows[0])
        shares = [self.assign(h) for h in rows]  # (N, K) each
        node = mean(self.compare(a, b) for a, b in combinations(rows, 2))
        density = mean(deca(r, view.edge_index, self.balance, self.normalized) for r, view in zip(shares, views, strict=True))
        communal = mean(self.communal(rows[i], rows[j], shares[j]) for i, j in permutations(range(len(rows)), 2))
        outer, early = weights(self.progress, self.schedule, self.stride)
        loss = node + self.weight * outer * (early * density + (1 - early) * communal)
        return {"loss": loss, "node": node, "density": density, "communal": communal}

    def assign(self, h: Tensor) -> Tensor:
        """Soft membership of each node in each community, (N, K). It teaches the centres, never the encoder."""
        h, centres = h.detach(), F.normalize(self.centres)
        if self.rbf:
            return (-torch.cdist(h, centres).square() / self.temperature**2).softmax(dim=1)
        return (h @ centres.T / self.temperature).softmax(dim=1)

    def communal(self, anchors: Tensor, others: Tensor, shares: Tensor) -> Tensor:
        """Each node should be near the mean of the community that the other view puts it in (ReSC)."""
        member = shares.argmax(dim=1)
        means, alive = prototypes(others.detach(), member, shares.shape[1])
        return communal_contrast(anchors, means, alive, member, self.temperature, self.gamma if self.rbf else None)

    @torch.no_grad()
    def prepare(self, batches: Iterable[Any]) -> None:
        if self.from_kmeans:
            self.restart(torch.cat([F.normalize(self.projector(self.encoder(batch).pooled)) for batch in batches]))

    @torch.no_grad()
    def restart(self, h: Tensor) -> None:
        """Put the centres where k-means finds clusters now."""
        self.centres.copy_(kmeans(h.detach(), len(self.centres)))


def weights(progress: Progress, schedule: Schedule, stride: float) -> tuple[float, float]:
    """Weight of both communal terms, and the share of it that DeCA has: (alpha, c) of the paper.

    With t the steps done in units of `stride`, alpha = max(0, 1 - 5 t) and c = exp(-t): the contrast with communities
    then weighs at most 0.0476, at t = 0.098. `constant` keeps alpha at 1; `warm` uses DeCA alone for the first fifth.
    """
    t = progress.fraction / stride
    if schedule == "paper":
        return max(0.0, 1 - 5 * t), exp(-t)
    if schedule == "constant":
        return 1.0, exp(-t)
    return 1.0, 1.0 if t < 0.2 else exp(0.2 - t)
