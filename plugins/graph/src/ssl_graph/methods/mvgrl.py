"""MVGRL: nodes of a graph against the summary of its diffusion, and the other way round (arXiv:2006.05582)."""
from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Method, Representation
from ssl_core.modules import mean, scatter_mean

from ..augmentations import Diffusion
from ..encoders import GCN, Activation
from ..graphs import owners
from .dgi import Discriminator, verdicts


class DiffusionGCN(nn.Module):
    """One GCN on the graph and one on its personalised PageRank; a node is the sum of both.

    The diffusion is found once per graph and kept for as long as the same edges come.

    Args:
        in_features: features of a node; from the data.
        width, depth, activation: of each GCN.
        teleport: probability of going back to the start.
        neighbours: strongest edges of the diffusion kept per node.
    """

    def __init__(self, in_features: int, width: int = 512, depth: int = 1, activation: Activation = "prelu",
                 teleport: float = 0.2, neighbours: int = 32) -> None:
        super().__init__()
        self.width = width
        self.towers = nn.ModuleList(GCN(in_features, width, depth=depth, activation=activation) for _ in range(2))
        self.diffusion = Diffusion(teleport, neighbours=neighbours)
        self.known: tuple[Tensor, Graph] | None = None  # edges, and the graph of their diffusion

    def forward(self, graph: Graph) -> Representation:
        first, second = self.both(graph)
        return Representation(first + second, first + second)

    def both(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """The nodes as the graph and as its diffusion show them: (N, D), (N, D)."""
        return self.towers[0](graph).pooled, self.towers[1](self.diffused(graph)).pooled

    @torch.no_grad()
    def diffused(self, graph: Graph) -> Graph:
        """Other edges between the same nodes."""
        if self.known is None or self.known[0] is not graph.edge_index:
            with torch.autocast(graph.x.device.type, enabled=False):  # sparse products know no 16 bits
                self.known = graph.edge_index, self.diffusion.diffused(graph)
        made = copy(self.known[1])
        made.x = graph.x
        return made


class MVGRL(Method):
    """Each view's nodes belong to the other view's summary; nodes of a corrupted graph do not.

    The augmentation gives two graphs, the true one and a corrupted one; the encoder shows each in two ways.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any) -> None:
        super().__init__(encoder, augmentation, objective)
        if not hasattr(encoder, "both"):
            raise ValueError(f"mvgrl needs an encoder that shows a graph in two ways (diffusion-gcn), "
                             f"not {type(encoder).__name__}")
        self.discriminator = Discriminator(encoder.width)

    def step(self, batch: Any) -> dict[str, Tensor]:
        real, fake = (self.encoder.both(view) for view in self.augmentation(batch))
        owner, graphs = owners(batch)
        summaries = [scatter_mean(rows, owner, graphs).sigmoid() for rows in real]
        return {"loss": mean(self.compare(*verdicts(self.discriminator(real[i], summaries[1 - i], owner),
                                                    self.discriminator(fake[i], summaries[1 - i], owner))) for i in (0, 1))}
