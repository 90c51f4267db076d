"""DGI: tell the nodes of a graph from those of a corrupted one, given a summary of the graph (arXiv:1809.10341)."""
from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Method, Representation
from ssl_core.modules import scatter_mean

from ..graphs import owners


class Shuffle:
    """The graph, and the same edges with the rows of features in random order (DGI, arXiv:1809.10341)."""

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        corrupted = copy(graph)  # shares its edges, so that what was found for them is found again
        corrupted.x = graph.x[torch.randperm(graph.num_nodes, device=graph.x.device)]
        return graph, corrupted


class Discriminator(nn.Module):
    """Bilinear score of a node and the summary of its graph (DGI, arXiv:1809.10341).

    Args:
        width: of both.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.between, self.bias = nn.Linear(width, width, bias=False), nn.Parameter(torch.zeros(()))
        nn.init.xavier_uniform_(self.between.weight)

    def forward(self, nodes: Tensor, summaries: Tensor, owner: Tensor) -> Tensor:
        """Nodes (N, D), summaries (G, D), graph of each node (N,) -> scores (N, 1)."""
        return (nodes * self.between(summaries)[owner]).sum(dim=1, keepdim=True) + self.bias


def nodes(representation: Representation) -> Tensor:
    """The rows of the nodes, (N, D), whether or not items are graphs."""
    return representation.pooled if representation.tokens is None else representation.tokens


def verdicts(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of real and fake pairs (N, 1) each -> scores (2 N, 1) and what they should say, 1 or 0."""
    return torch.cat([real, fake]), torch.cat([torch.ones_like(real), torch.zeros_like(fake)])


class DGI(Method):
    """Nodes of the graph belong to its summary, nodes of the corrupted graph do not.

    The augmentation gives two graphs: the true one and a corrupted one.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any) -> None:
        super().__init__(encoder, augmentation, objective)
        self.discriminator = Discriminator(encoder.width)

    def step(self, batch: Any) -> dict[str, Tensor]:
        real, fake = (nodes(self.encoder(view)) for view in self.augmentation(batch))  # (N, D) each
        owner, graphs = owners(batch)
        summary = scatter_mean(real, owner, graphs).sigmoid()
        return {"loss": self.compare(*verdicts(self.discriminator(real, summary, owner),
                                               self.discriminator(fake, summary, owner)))}
