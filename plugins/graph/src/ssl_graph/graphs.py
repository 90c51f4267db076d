"""What a batch is here: a PyG `Data` with `x` (N, F) float, `edge_index` (2, E) sorted by target, no loops, no doubles.

A multiplex graph also has `edge_type` (E,), the relation of each edge; a batch of graphs has `batch` (N,).
"""
from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data as Graph
from torch_geometric.utils import coalesce, to_undirected

from ssl_core import DataError

from .compressed import matrix, product

ROWS = 2**16  # of features that are looked at together: they may lie in a file larger than memory


def checked(x: Any, edge_index: Any, y: Any = None, *, where: str, undirected: bool = True) -> Graph:
    """A graph that can be trained on.

    Loops are removed (encoders add their own), doubled edges merged, edges sorted by target. Nodes without edges and
    columns of zeros are fine.

    Args:
        x: (N, F) features.
        edge_index: (2, E) node numbers.
        y: (N,) labels or None.
        where: what to call it in messages: a file or a name.
        undirected: add the other direction of every edge.

    Raises:
        DataError: no nodes, wrong shapes, node numbers out of range, NaN or infinite features.
    """
    x, edge_index = torch.as_tensor(x), torch.as_tensor(edge_index)
    if x.ndim != 2 or not x.numel():
        raise DataError(f"{where}: the graph is empty: features should be (nodes, columns), are {tuple(x.shape)}")
    x = x.float() if x.dtype is not torch.float64 else x
    bad = [(~part.isfinite()).nonzero() + torch.tensor([ROWS * i, 0]) for i, part in enumerate(x.split(ROWS))]
    count = sum(map(len, bad))
    if count:
        node, column = torch.cat(bad)[0].tolist()
        raise DataError(f"{where}: {count} features are NaN or infinite, the first at node {node}, column {column}.\n"
                        f"  Try: filling them in, or leaving the column out")
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise DataError(f"{where}: edges should be (2, E) node numbers, are {tuple(edge_index.shape)}")
    edge_index = edge_index.long()
    outside = ((edge_index < 0) | (edge_index >= len(x))).any(dim=0).nonzero()
    if len(outside):
        first = int(outside[0])
        raise DataError(f"{where}: edge {first} is {tuple(edge_index[:, first].tolist())}, but there are {len(x)} nodes, "
                        f"numbered from 0 ({len(outside)} such edges)")
    graph = Graph(x=x.contiguous(), edge_index=tidy(edge_index, len(x), undirected))
    graph.by_target = True
    if y is not None:
        graph.y = torch.as_tensor(y)
    return graph


def fingerprint(*tensors: Tensor) -> str:
    """A short hash of the content."""
    found = hashlib.sha256()
    for tensor in tensors:
        for part in tensor.split(ROWS):  # features may be larger than memory
            found.update(part.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def random_folds(nodes: int, seed: int) -> dict[str, Tensor]:
    """Positions of 10 % of the nodes to train on, 10 % to choose by and 80 % to test on, drawn by `seed`."""
    order, cut = torch.randperm(nodes, generator=torch.Generator().manual_seed(seed)), [max(1, nodes // 10), max(2, nodes // 5)]
    return dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True))


def tidy(edge_index: Tensor, nodes: int, undirected: bool = True) -> Tensor:
    """Edges without loops and doubles, sorted by target and then by source."""
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    edge_index = to_undirected(edge_index, num_nodes=nodes) if undirected else edge_index
    return coalesce(edge_index, num_nodes=nodes, sort_by_row=False)  # type: ignore[no-any-return]


def adjacency(graph: Graph) -> Tensor:
    """Sparse (N, N) in compressed rows; entry (i, j) is the weight of the edge from j to i.

    Graphs that the plugin reads are sorted (`graph.by_target`), and dropping edges keeps that order; others are sorted
    here.
    """
    source, target = graph.edge_index
    weight = graph.get("edge_weight")
    weight = torch.ones(len(source), dtype=graph.x.dtype, device=source.device) if weight is None else weight.to(graph.x.dtype)
    if graph.get("by_target") is None:
        order = target.argsort(stable=True)
        source, target, weight = source[order], target[order], weight[order]
    starts = torch.zeros(graph.num_nodes + 1, dtype=torch.long, device=source.device)
    starts[1:] = torch.bincount(target, minlength=graph.num_nodes).cumsum(0)
    return matrix(starts, source, weight, (graph.num_nodes, graph.num_nodes))


def aggregate(neighbours: Tensor, x: Tensor) -> Tensor:
    """Sum of the rows of the neighbours of each node, (N, D), in 32 bits at least."""
    return product(neighbours, x)


def owners(graph: Graph) -> tuple[Tensor, int]:
    """The graph of each node, (N,), and the number of graphs."""
    if graph.get("batch") is None:
        return torch.zeros(graph.num_nodes, dtype=torch.long, device=graph.edge_index.device), 1
    return graph.batch, graph.num_graphs


def relation(graph: Graph, number: int) -> Graph:
    """The same nodes with the edges of one relation."""
    part = Graph(x=graph.x, edge_index=graph.edge_index[:, graph.edge_type == number])
    part.by_target, part.relation = graph.get("by_target"), number
    return part
