"""GraphMAE: hide the features of some nodes and rebuild them with a second, small network (arXiv:2205.10803)."""
from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Layout, Method
from ssl_core.masks import RandomMask

from ..attention import GATLayer
from ..augmentations import view
from ..encoders import GCNLayer, GINLayer
from ..graphs import adjacency, owners

Decoder = Literal["gat", "gcn", "gin"]


class HideNodes:
    """One view, with a mark on the nodes whose features are to be rebuilt.

    Marked nodes, but for some that carry the features of another node, are to be shown to the encoder as unseen.

    Args:
        ratio: share of each graph's nodes to hide.
        replace: share of the hidden nodes that carry the features of another node of their graph instead.
        edges: share of edges to drop for the encoder.
    """

    def __init__(self, ratio: float = 0.5, replace: float = 0.05, edges: float = 0.0) -> None:
        for name, share in (("replace", replace), ("edges", edges)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} should be at least 0 and below 1, got {share}")
        self.mask, self.replace, self.edges = RandomMask(ratio), replace, edges

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        owner, _ = owners(graph)
        hidden = self.mask(Layout(owner, owner[:, None]))
        noisy = hidden & (torch.rand(len(hidden), device=hidden.device) < self.replace)
        dropped = torch.rand(graph.num_edges, device=hidden.device) < self.edges if self.edges else None
        made = view(graph, None if dropped is None else ~dropped,
                    torch.where(noisy[:, None], graph.x[stranger(graph)], graph.x))
        made.hidden, made.seen = hidden, ~hidden | noisy
        return (made,)


class GraphMAE(Method):
    """Encode a graph whose hidden nodes carry a learned token, blank them again, and decode their features.

    Blanked twice: once before the encoder, once between encoder and decoder, so that the decoder has to find the
    features of a hidden node in its neighbours. Encoder and decoder keep their own loops whatever edges are dropped.

    Args:
        decoder: one layer of this family; one that saw no neighbours could not know what was hidden.
        dropout: share of features dropped before the decoder.
        attention_dropout: share of the attention weights of a `gat` decoder dropped.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, decoder: Decoder = "gat", dropout: float = 0.0,
                 attention_dropout: float = 0.0) -> None:
        super().__init__(encoder, augmentation, objective)
        self.between = nn.Linear(encoder.width, encoder.width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.decoder = GraphDecoder(DECODERS[decoder](encoder.width, encoder.input_width))
        if decoder == "gat":
            self.decoder.layer.dropout.p = attention_dropout

    def step(self, batch: Any) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        rows = self.between(self.encoder(view, keep=view.seen).tokens)  # (nodes that were seen, D)
        latent = rows.new_zeros(len(view.seen), rows.shape[1])
        latent[view.seen] = rows
        latent = self.dropout(latent * ~view.hidden[:, None])
        return {"loss": self.compare(self.decoder(latent, batch, view.hidden), batch.x[view.hidden])}


def stranger(graph: Graph) -> Tensor:
    """For each node another one of its graph, drawn at random; itself where it is alone: (N,) numbers."""
    owner, graphs = owners(graph)
    count = torch.bincount(owner, minlength=graphs)[owner]
    start = (torch.bincount(owner, minlength=graphs).cumsum(0))[owner] - count
    here = torch.arange(len(owner), device=owner.device) - start
    away = 1 + (torch.rand(len(owner), device=owner.device) * (count - 1)).long()
    return start + (here + away) % count


class GraphDecoder(nn.Module):
    """One graph layer without activation: nodes (N, D) and their graph -> features of the wanted ones (M, F)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, rows: Tensor, graph: Graph, wanted: Tensor) -> Tensor:
        neighbours = adjacency(graph)
        degree = neighbours.sum(dim=1, keepdim=True).to_dense()[:, 0]
        return self.layer(rows, neighbours, degree, only=wanted)  # type: ignore[no-any-return]


DECODERS = {"gat": partial(GATLayer, heads=1), "gcn": GCNLayer, "gin": GINLayer}
