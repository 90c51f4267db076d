"""OmniMatch: which columns of which tables join, learned from tables that were cut in two (arXiv:2403.07653)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method, Representation
from ssl_core.objectives.rows import need

from ..lake import Lake


class Relations(nn.Module):
    """A relational graph network over columns: each adds up its own row and, by relation, those of similar columns.

    Edges weigh as much as the columns are similar, where the paper's weigh the same.

    Args:
        column_features, relations: of the graph; from the data.
        width: of the representation, whose rows have length 1. (The paper: 256.)
        depth: number of layers.
    """

    def __init__(self, column_features: int, relations: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth should be 1 or more, got {depth}")
        self.width, inputs = width, [column_features, *[width] * (depth - 1)]
        self.own = nn.ModuleList(nn.Linear(n, width) for n in inputs)
        self.others = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(relations, n, width)) for n in inputs)

    def forward(self, lake: Lake) -> Representation:
        x, near, weight = lake.features, lake.near, lake.weight
        for i, (own, others) in enumerate(zip(self.own, self.others, strict=True)):
            seen = (x[near] * weight[..., None]).mean(dim=2)  # (R, N, D)
            x = own(x) + torch.einsum("rnd,rdw->nw", seen, others)
            x = x.relu() if i < len(self.own) - 1 else F.normalize(x, dim=1)
        return Representation(x)


class DropNeighbours:
    """One view, in which columns do not see some of those that are similar to them.

    Args:
        share: of the edges that are left out.
    """

    def __init__(self, share: float = 0.2) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"share should lie in [0, 1), got {share}")
        self.share = share

    def __call__(self, lake: Lake) -> tuple[Lake]:
        return (lake._replace(weight=lake.weight * (torch.rand_like(lake.weight) >= self.share)),)


class Triplet(nn.Module):
    """max(0, margin + |a - b| - |a - c|), c a random other row of b; the published code takes the next one each time.

    Args:
        margin: by how much the other row should be farther away.
    """

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(f"margin should be above 0, got {margin}")
        self.margin = margin

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        need(a, 2, type(self).__name__)
        place = torch.arange(len(a), device=a.device)
        other = (place + torch.randint(1, len(a), (len(a),), device=a.device)) % len(a)
        return F.triplet_margin_loss(a, b, b[other], self.margin)


class OmniMatch(Method):
    """Columns that were one column should be near each other, and far from others.

    Args:
        encoder: of columns: `relations`.
        augmentation: a view of the graph.
        objective: of pairs of columns that were one, (P, D) each.
    """

    def step(self, batch: Lake) -> dict[str, Tensor]:
        rows = [self.encoder(view).pooled for view in self.augmentation(batch)]
        left, right = batch.pairs
        return {"loss": torch.stack([self.compare(row[left], row[right]) for row in rows]).mean()}
