"""Views of a graph. Nodes keep their number and order, so that row i of one view is row i of every other.

"Dropping" a node isolates it and blanks its features. The graph that is given stays as it was.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data as Graph

from .graphs import adjacency, aggregate, relation

Pair = tuple[float, float]
Centrality = Literal["degree", "pagerank", "eigenvector"]


def view(graph: Graph, edges: Tensor | None = None, x: Tensor | None = None) -> Graph:
    """A shallow copy with some edges, (E,) bool, and other features."""
    made = graph.clone("edge_index") if edges is None else graph.edge_subgraph(edges)
    if x is not None:
        made.x = x
    return made


def keep(drop: Tensor) -> Tensor:
    """True with probability 1 - drop."""
    return torch.rand(drop.shape, device=drop.device) >= drop


class Drop:
    """Two views; each drops edges and blanks feature columns, all alike (GRACE, arXiv:2006.04131).

    Args:
        edges: share of edges to drop in the first and in the second view.
        features: share of columns to blank in the first and in the second view.
    """

    def __init__(self, edges: Pair = (0.2, 0.4), features: Pair = (0.3, 0.4)) -> None:
        self.edges, self.features = edges, features

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        return tuple(
            view(graph, torch.rand(graph.num_edges, device=graph.x.device) >= edges,
                 graph.x * (torch.rand(graph.x.shape[1], device=graph.x.device) >= features))
            for edges, features in zip(self.edges, self.features, strict=True))


class Adaptive:
    """Two views; edges and feature columns that matter less are dropped more often (GCA, arXiv:2010.14945, section 3.2).

    Args:
        edges: mean share of edges to drop in the first and in the second view.
        features: mean share of columns to blank in the first and in the second view.
        centrality: what makes a node matter: `degree`, `pagerank`, `eigenvector`.
        cap: largest probability of dropping anything.
    """

    def __init__(self, edges: Pair = (0.2, 0.2), features: Pair = (0.1, 0.1), centrality: Centrality = "degree",
                 cap: float = 0.7) -> None:
        self.edges, self.features, self.cap = edges, features, cap
        self.centrality = CENTRALITIES[centrality]
        self.known: tuple[Tensor, Tensor, Tensor] | None = None  # edge_index and the weights found for it

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        by_edge, by_column = self.weights(graph)
        return tuple(
            view(graph, keep((edges * by_edge).clamp(max=self.cap)), graph.x * keep((features * by_column).clamp(max=self.cap)))
            for edges, features in zip(self.edges, self.features, strict=True))

    def weights(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """How readily each edge (E,) and each column (F,) is dropped, 1 on average; found once per graph."""
        if self.known is None or self.known[0] is not graph.edge_index:
            importance = self.centrality(graph)
            by_edge = unimportance(importance[graph.edge_index[1]])
            presence = (graph.x != 0).to(graph.x.dtype) if (graph.x == 0).double().mean() > 0.5 else graph.x.abs()
            self.known = graph.edge_index, by_edge, unimportance(presence.T @ importance)
        return self.known[1], self.known[2]


def unimportance(importance: Tensor) -> Tensor:
    """(max - s) / (max - mean) of s = log importance: 0 for what matters most, 1 on average.

    What has no importance at all (a column of zeros) is left out of maximum and mean, and gets 1.
    """
    some = importance > 0
    if not some.any():
        return torch.ones_like(importance)
    s = importance.clamp(min=torch.finfo(importance.dtype).tiny).log()
    top, mean = s[some].max(), s[some].mean()
    if top - mean < 1e-6:  # all matter alike
        return torch.ones_like(importance)
    return torch.where(some, (top - s) / (top - mean), 1.0)


def degree(graph: Graph) -> Tensor:
    """Edges into each node, (N,)."""
    return torch.bincount(graph.edge_index[1], minlength=graph.num_nodes).to(graph.x.dtype)


def pagerank(graph: Graph, damping: float = 0.85, steps: int = 100) -> Tensor:
    """PageRank with uniform teleport, (N,), mean 1; the weight of nodes without edges goes to all alike."""
    neighbours, n = adjacency(graph), graph.num_nodes
    out = torch.bincount(graph.edge_index[0], minlength=n).to(graph.x.dtype)
    rank = torch.ones(n, 1, dtype=graph.x.dtype, device=graph.x.device)
    for _ in range(steps):
        lost = rank[out == 0].sum() / n
        rank = 1 - damping + damping * (aggregate(neighbours, rank / out.clamp(min=1)[:, None]) + lost)
    return rank[:, 0]


def eigenvector(graph: Graph, steps: int = 100) -> Tensor:
    """Eigenvector centrality by power iteration on A + I, (N,)."""
    neighbours = adjacency(graph)
    rank = torch.ones(graph.num_nodes, 1, dtype=graph.x.dtype, device=graph.x.device)
    for _ in range(steps):
        rank = torch.nn.functional.normalize(aggregate(neighbours, rank) + rank, dim=0)
    return rank[:, 0]


CENTRALITIES: dict[str, Callable[[Graph], Tensor]] = {"degree": degree, "pagerank": pagerank, "eigenvector": eigenvector}


class DropNodes:
    """Two views; each isolates and blanks some nodes (GraphCL, arXiv:2010.13902, section 3.1).

    Args:
        share: of the nodes to drop.
    """

    def __init__(self, share: float = 0.2) -> None:
        self.share = share

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        return tuple(only(graph, torch.rand(graph.num_nodes, device=graph.x.device) >= self.share) for _ in range(2))


class Subgraph:
    """Two views; each keeps the neighbourhood of some random nodes (GraphCL, arXiv:2010.13902, section 3.1).

    Args:
        share: of the nodes to keep, about; a graph of the batch never loses all of them.
        hops: at most so many steps from the random nodes.
    """

    def __init__(self, share: float = 0.8, hops: int = 8) -> None:
        self.share, self.hops = share, hops

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        return tuple(only(graph, self.grown(graph)) for _ in range(2))

    def grown(self, graph: Graph) -> Tensor:
        """(N,) bool: start from a few nodes and add neighbours until there are enough."""
        neighbours, n = adjacency(graph), graph.num_nodes
        inside = torch.rand(n, device=graph.x.device) < 0.05
        inside[torch.randint(n, (1,), device=graph.x.device)] = True
        for _ in range(self.hops):
            missing = (self.share * n - inside.sum()).clamp(min=0)
            near = (aggregate(neighbours, inside[:, None].to(graph.x.dtype))[:, 0] > 0) & ~inside
            inside = inside | near & (torch.rand(n, device=graph.x.device) < missing / near.sum().clamp(min=1))
        return inside


def only(graph: Graph, nodes: Tensor) -> Graph:
    """The graph with every other node isolated and blank; nodes: (N,) bool."""
    source, target = graph.edge_index
    return view(graph, nodes[source] & nodes[target], graph.x * nodes[:, None])


MANY, FEW_NODES = 0.05, 2**14  # where more of all pairs of fewer nodes are joined, a matrix is inverted, as walks take longer


class Diffusion:
    """Two views: the graph, and its personalised PageRank, sparsified (MVGRL, arXiv:2006.05582, equation 3).

    The diffusion sum_k a (1 - a)^k T^k, with T = D^-1/2 A D^-1/2, is found block by block and once per graph.

    Args:
        teleport: probability a of going back to the start.
        steps: terms of the sum.
        neighbours: strongest edges kept per node.
        features: share of columns to blank in each view.
    """

    def __init__(self, teleport: float = 0.2, steps: int = 20, neighbours: int = 32, features: float = 0.0) -> None:
        self.teleport, self.steps, self.neighbours, self.features = teleport, steps, neighbours, features
        self.known: tuple[Tensor, Graph] | None = None

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        if self.known is None or self.known[0] is not graph.edge_index:
            self.known = graph.edge_index, self.diffused(graph)
        columns = (torch.rand(2, graph.x.shape[1], device=graph.x.device) >= self.features).to(graph.x.dtype)
        return view(graph, x=graph.x * columns[0]), view(self.known[1], x=graph.x * columns[1])

    def diffused(self, graph: Graph, block: int = 1024) -> Graph:
        n, weights, sources = graph.num_nodes, [], []
        matrix, root = adjacency(graph), degree(graph).clamp(min=1).rsqrt()[:, None]
        whole = self.solved(matrix, root) if n < FEW_NODES and graph.num_edges > MANY * n * n else None
        for columns in torch.arange(n, device=graph.x.device).split(block):
            total = self.walked(matrix, root, columns) if whole is None else whole[:, columns]
            weight, source = total.topk(min(self.neighbours, n), dim=0)  # the matrix is symmetric: column = row
            sources.append(source.T.flatten())
            weights.append(weight.T.flatten())
        weight = torch.cat(weights)
        targets = torch.arange(n, device=weight.device).repeat_interleave(min(self.neighbours, n))
        edges = torch.stack([torch.cat(sources), targets])
        made = Graph(x=graph.x, edge_index=edges[:, weight > 0], edge_weight=weight[weight > 0])
        made.by_target, made.batch = True, graph.get("batch")
        return made

    def walked(self, matrix: Tensor, root: Tensor, columns: Tensor) -> Tensor:
        """Where walks from some nodes (C,) end, after `steps` at most: (N, C)."""
        term = torch.zeros(len(root), len(columns), dtype=root.dtype, device=root.device)
        term[columns, torch.arange(len(columns), device=columns.device)] = self.teleport
        total = term.clone()
        for _ in range(self.steps):
            term = (1 - self.teleport) * root * aggregate(matrix, root * term)
            total += term
        return total

    def solved(self, matrix: Tensor, root: Tensor) -> Tensor:
        """Where walks from every node end, however many steps they take: (N, N)."""
        step = (1 - self.teleport) * root * matrix.to_dense() * root.T
        return self.teleport * torch.linalg.inv(torch.eye(len(root), dtype=root.dtype, device=root.device) - step)


class Relations:
    """One view per relation of a multiplex graph; each drops edges and blanks feature columns.

    Args:
        relations: how many there are; from the data.
        edges: share of edges to drop in every view.
        features: share of columns to blank in every view.
    """

    def __init__(self, relations: int, edges: float = 0.0, features: float = 0.0) -> None:
        self.relations, self.edges, self.features = relations, edges, features

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        parts = [relation(graph, r) for r in range(self.relations)]
        return tuple(
            view(part, torch.rand(part.num_edges, device=part.x.device) >= self.edges,
                 part.x * (torch.rand(part.x.shape[1], device=part.x.device) >= self.features)) for part in parts)
