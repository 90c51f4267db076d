"""Pairs of molecules: ProFSA's fragments and what surrounds them, S-MolSearch's soft labels by optimal transport."""
from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Method
from ssl_core.masks import rank_in_item
from ssl_core.modules import mean, mlp
from ssl_core.objectives.rows import held_still
from ssl_core.objectives.supcon import SupCon

from ..graphs import owners
from ..points import molecules, part

FAR = 8  # bonds beyond which a point is not looked for


class FragmentAndPocket:
    """Two views of each item: what lies around a fragment of it, and the fragment (ProFSA, arXiv:2310.07229).

    A fragment is a random point and those that fewest bonds lead to; around it is every other point that sees one of it.

    Args:
        points: of a fragment, at most; half of the item where that is fewer.
    """

    def __init__(self, points: int = 8) -> None:
        if points < 1:
            raise ValueError(f"points should be 1 or more, got {points}")
        self.points = points

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        fragment = self.fragment(molecules(graph))
        source, target = graph.edge_index
        seen = torch.zeros_like(fragment)
        seen[target[fragment[source]]] = True
        pocket = seen & ~fragment
        owner, items = owners(graph)
        alone = torch.bincount(owner[pocket], minlength=items) == 0  # nothing near: all that is left of the item
        return part(graph, pocket | (alone[owner] & ~fragment)), part(graph, fragment)

    def fragment(self, graph: Graph) -> Tensor:
        """(N,) bool; at least one point of every item, and never all of two or more."""
        owner, _ = owners(graph)
        first, count = rank_in_item(torch.rand(len(owner), device=owner.device), owner)
        hops = torch.where(first == 0, 0, FAR)
        source, target = graph.edge_index[:, graph.edge_type == 1]
        for _ in range(FAR - 1):
            hops = hops.scatter_reduce(0, target, hops[source] + 1, "amin")
        rank, _ = rank_in_item((hops + torch.rand(len(owner), device=owner.device)) / (FAR + 1), owner)
        return rank < torch.clamp(count // 2, min=1, max=self.points)


class ProFSA(Method):
    """Each pocket knows its fragment among all of the batch, and each fragment its pocket; by the objective.

    Pockets have the encoder that is kept, fragments one of their own, which starts as its copy. The paper's is a molecule
    encoder that was trained before and is held still: `frozen`, with `init`.

    Args:
        projector: widths of either head.
        frozen: hold the fragments' encoder still.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (128, 64),
                 frozen: bool = False) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1] if projector else encoder.width)
        self.fragments = deepcopy(encoder).requires_grad_(not frozen)
        self.heads = nn.ModuleList(mlp(encoder.width, *projector, norm="layer") for _ in range(2))

    def step(self, batch: Any) -> dict[str, Tensor]:
        pocket, fragment = self.augmentation(batch)
        rows = self.heads[0](self.encoder(pocket).pooled), self.heads[1](self.fragments(fragment).pooled)
        return {"loss": self.compare(*rows)}


class Transport(nn.Module):
    """Cross entropy of the similarities of two views with a transport plan between the targets' rows (arXiv:2409.07462).

    The plan moves as much from each row of one view as arrives at each row of the other, prefers rows that the targets find
    alike, and is smooth: soft labels for every pair of items. Contrast by one-hot labels is the plan that moves each row to
    its own. It is an N x N matrix, so batches are of thousands at most.

    Args:
        temperature: of the similarities that learn.
        smoothness: temperature of the plan; small: each row to its nearest.
        rounds: of Sinkhorn's scaling.
    """

    def __init__(self, temperature: float = 0.1, smoothness: float = 0.1, rounds: int = 10) -> None:
        super().__init__()
        if temperature <= 0 or smoothness <= 0 or rounds < 1:
            raise ValueError(f"temperature and smoothness should be above 0 and rounds 1 or more, got {temperature}, "
                             f"{smoothness} and {rounds}")
        self.temperature, self.smoothness, self.rounds = temperature, smoothness, rounds

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Rows V times (N, D), rows that make the plan V times (N, E) -> (). Without targets, the views held still."""
        made = held_still(views, targets)
        return mean(self.pair(views[i], views[j], made[i], made[j]) for i, j in combinations(range(len(made)), 2))

    def pair(self, a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
        logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / self.temperature
        labels = plan(F.normalize(of_a, dim=1) @ F.normalize(of_b, dim=1).T / self.smoothness, self.rounds) * len(a)
        return -(labels * (logits.log_softmax(dim=1) + logits.log_softmax(dim=0))).sum() / (2 * len(a))


@torch.no_grad()
def plan(scores: Tensor, rounds: int) -> Tensor:
    """The plan proportional to exp(scores) up to a factor for each row and column; rows and columns sum to 1 / N: (N, N)."""
    for _ in range(rounds):
        scores = scores - scores.logsumexp(dim=0)
        scores = scores - scores.logsumexp(dim=1, keepdim=True)
    return scores.exp() / len(scores)


class SMolSearch(Method):
    """A guide learns from the labels that there are, and the encoder from the guide's soft labels for all pairs of items.

    The guide sees items of one class as alike, an item without a label as alike to itself only.

    Args:
        projector: widths of either head.
        temperature: of the guide's contrast.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (128, 64),
                 temperature: float = 0.1) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1] if projector else encoder.width)
        self.guide = deepcopy(encoder)
        self.heads = nn.ModuleList(mlp(encoder.width, *projector, norm="layer") for _ in range(2))
        self.contrast = SupCon(temperature)

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        rows = [self.heads[0](self.encoder(view).pooled) for view in views]
        guides = [self.heads[1](self.guide(view).pooled).float() for view in views]
        with torch.autocast(rows[0].device.type, enabled=False):
            supervised = self.contrast(*guides, labels=self.labels(batch))
        soft = self.compare(*rows, targets=[row.detach() for row in guides])
        return {"loss": soft + supervised, "soft": soft, "supervised": supervised}
