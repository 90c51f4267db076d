"""Graph neural networks. Items are nodes or whole graphs, as the data say; tokens are nodes.

Every encoder takes a `Data` with `x` (N, F), `edge_index` (2, E) and, if it has them, `edge_weight` (E,). Messages are
summed by a sparse product in compressed rows: N x D floats, where gathering them would take E x D.
"""
from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data as Graph
from torch_geometric.utils import scatter

from ssl_core import Layout, Representation

from .attention import GATLayer
from .features import Features, dense, entering, projected, thinned
from .graphs import adjacency, aggregate, owners, relation

Level = Literal["node", "graph"]
Readout = Literal["mean", "sum", "max"]
Norm = Literal["none", "batch", "layer"]
Activation = Literal["relu", "prelu", "elu", "rrelu", "tanh"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "prelu": nn.PReLU, "elu": nn.ELU, "rrelu": nn.RReLU, "tanh": nn.Tanh,
}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class GCNLayer(nn.Module):
    """x -> D^-1/2 (A + I) D^-1/2 x W + b (arXiv:1609.02907, equation 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear, self.bias = nn.Linear(inputs, outputs, bias=False), nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Features, neighbours: Tensor, degree: Tensor, only: Tensor | None = None) -> Tensor:
        """Features (N, inputs), adjacency (N, N), degree (N,) -> (N, outputs); `only`: the rows of some nodes."""
        root = (degree + 1).rsqrt()[:, None]
        if isinstance(x, Tensor) and self.bias.shape[0] > x.shape[1]:  # summed before they are widened
            x = x * root
            x = (aggregate(neighbours, x) + x) * root
            return self.linear(x if only is None else x[only]) + self.bias  # type: ignore[no-any-return]
        x = projected(x, self.linear) * root
        x = (aggregate(neighbours, x) + x) * root + self.bias
        return x if only is None else x[only]


class SAGELayer(nn.Module):
    """x -> W mean of neighbours + U x (arXiv:1706.02216, algorithm 1, mean aggregator)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.neighbours, self.itself = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Features, neighbours: Tensor, degree: Tensor) -> Tensor:
        x = dense(x)
        mean = aggregate(neighbours, x) / degree.clamp(min=1)[:, None]
        return self.neighbours(mean) + self.itself(x)  # type: ignore[no-any-return]


class GINLayer(nn.Module):
    """x -> MLP(x + sum of neighbours) (arXiv:1810.00826, equation 4.1, with epsilon 0)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(),
                                 nn.Linear(outputs, outputs))

    def forward(self, x: Features, neighbours: Tensor, degree: Tensor, only: Tensor | None = None) -> Tensor:
        x = dense(x)
        x = self.net(x + aggregate(neighbours, x))
        return x if only is None else x[only]


class Layers(nn.Module):
    """Graph layers, each followed by a norm and an activation, and a readout: the body of every encoder here.

    Args:
        layers: each called with (x, adjacency, degree).
        widths: inputs and outputs of each layer.
        norm: after each layer and before its activation: `batch`, `layer` or `none`.
        activation: one module, shared by all layers.
        dropout: share of node features dropped before each layer while training.
        level: what an item is.
        readout: how the nodes of a graph become its row, at the level of graphs.
    """

    axes = 1  # tokens are placed by their degree

    def __init__(self, layers: list[nn.Module], widths: list[tuple[int, int]], norm: Norm, activation: Activation,
                 dropout: float, level: Level, readout: Readout) -> None:
        super().__init__()
        self.layers, self.activation, self.dropout = nn.ModuleList(layers), ACTIVATIONS[activation](), nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.Identity() if norm == "none" else NORMS[norm](outputs) for _, outputs in widths)
        self.width, self.input_width, self.level, self.readout = widths[-1][1], widths[0][0], level, readout
        self.unseen = nn.Parameter(torch.zeros(self.input_width))  # stands for the features of a hidden node

    def forward(self, graph: Graph, keep: Tensor | None = None) -> Representation:
        x = entering(graph.x, keep, self.unseen)  # (N, F)
        neighbours = adjacency(graph)
        degree = neighbours.sum(dim=1, keepdim=True).to_dense()[:, 0]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(thinned(x, self.dropout), neighbours, degree)))
        owner, items = owners(graph)
        pooled = x if self.level == "node" else scatter(x, owner, dim=0, dim_size=items, reduce=self.readout)
        return Representation(pooled, x if keep is None else x[keep])

    def layout(self, graph: Graph) -> Layout:
        """Tokens are nodes, owned by their graph, placed by the logarithm of their degree."""
        degree = torch.bincount(graph.edge_index[1], minlength=graph.num_nodes)
        place = (degree + 1.0).log() / (degree.max() + 2.0).log()
        return Layout(owners(graph)[0], place[:, None])

    def inputs(self, graph: Graph) -> Tensor:
        """The raw features of every token, (N, F)."""
        return graph.x  # type: ignore[no-any-return]


def _widths(in_features: int, hidden: int, width: int, depth: int) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer; `hidden=0` means `width`."""
    inner = [hidden or width] * (depth - 1)
    return list(zip([in_features, *inner], [*inner, width], strict=True))


class GCN(Layers):
    """Graph convolutional network (arXiv:1609.02907), activated after every layer as in GRACE and gCooL.

    Args:
        in_features: features of a node; from the data.
        width: of the representation.
        hidden: of the inner layers; 0 for `width`.
        depth: number of layers.
        activation: `rrelu` has random slopes while training.
        dropout: share of features dropped before each layer while training.
        norm: after each layer, before its activation: `batch` (BGRL), `layer` or `none`.
        level: whether items are nodes or graphs; from the data.
        readout: how the nodes of a graph become its row, at the level of graphs.
    """

    def __init__(self, in_features: int, width: int = 256, hidden: int = 0, depth: int = 2, activation: Activation = "prelu",
                 dropout: float = 0.0, norm: Norm = "none", level: Level = "node", readout: Readout = "mean") -> None:
        widths = _widths(in_features, hidden, width, depth)
        super().__init__([GCNLayer(i, o) for i, o in widths], widths, norm, activation, dropout, level, readout)


class SAGE(Layers):
    """GraphSAGE with mean aggregation (arXiv:1706.02216). Options as in `GCN`."""

    def __init__(self, in_features: int, width: int = 256, hidden: int = 0, depth: int = 2, activation: Activation = "prelu",
                 dropout: float = 0.0, norm: Norm = "none", level: Level = "node", readout: Readout = "mean") -> None:
        widths = _widths(in_features, hidden, width, depth)
        super().__init__([SAGELayer(i, o) for i, o in widths], widths, norm, activation, dropout, level, readout)


class GIN(Layers):
    """Graph isomorphism network (arXiv:1810.00826); sums over the nodes of a graph by default. Options as in `GCN`."""

    def __init__(self, in_features: int, width: int = 64, hidden: int = 0, depth: int = 3, activation: Activation = "relu",
                 dropout: float = 0.0, norm: Norm = "none", level: Level = "node", readout: Readout = "sum") -> None:
        widths = _widths(in_features, hidden, width, depth)
        super().__init__([GINLayer(i, o) for i, o in widths], widths, norm, activation, dropout, level, readout)


class GAT(Layers):
    """Graph attention network (arXiv:1710.10903).

    Args:
        heads: attention heads of a layer, which share its width.
        attention_dropout: share of attention weights dropped while training.
        in_features, width, hidden, depth, activation, dropout, norm, level, readout: see `GCN`.
    """

    def __init__(self, in_features: int, width: int = 256, hidden: int = 0, depth: int = 2, heads: int = 4,
                 activation: Activation = "elu", dropout: float = 0.0, attention_dropout: float = 0.0, norm: Norm = "none",
                 level: Level = "node", readout: Readout = "mean") -> None:
        if width % heads or hidden % heads:
            raise ValueError(f"width and hidden should be multiples of heads={heads}, got {width} and {hidden}")
        widths = _widths(in_features, hidden, width, depth)
        layers: list[nn.Module] = [GATLayer(i, o, heads, attention_dropout) for i, o in widths]
        super().__init__(layers, widths, norm, activation, dropout, level, readout)


class Multiplex(nn.Module):
    """One GCN per relation of a multiplex graph; the representation of a node is the mean over relations.

    A view of one relation (augmentation `relations`) goes through that relation's GCN alone.

    Args:
        in_features, relations: features of a node, number of relations; from the data.
        width, hidden, depth, activation: of each GCN.
    """

    def __init__(self, in_features: int, relations: int, width: int = 128, hidden: int = 0, depth: int = 2,
                 activation: Activation = "prelu") -> None:
        super().__init__()
        self.width = width
        self.towers = nn.ModuleList(GCN(in_features, width, hidden, depth, activation) for _ in range(relations))

    def forward(self, graph: Graph) -> Representation:
        if graph.get("relation") is not None:
            return self.towers[graph.relation](graph)  # type: ignore[no-any-return]
        rows: list[Any] = [tower(relation(graph, r)).pooled for r, tower in enumerate(self.towers)]
        return Representation(torch.stack(rows).mean(dim=0))
