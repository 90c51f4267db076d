"""What a batch is here: a whole graph, whose nodes are the items. A data set is a function; its parameters are its options."""
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_core import Data, DataError

from .folds import fingerprint, folds


class Graph(NamedTuple):
    """A batch.

    Args:
        x: (N, in_features) float, features of the nodes.
        edges: (2, E) long, from and to; both directions.
    """

    x: Tensor
    edges: Tensor


def sample(nodes: int = 300, in_features: int = 8, degree: int = 6, seed: int = 0) -> Data:
    """Synthetic: three groups of nodes, most edges inside a group.

    Args:
        nodes: N.
        in_features: of each node.
        degree: edges drawn for each node.
        seed: of the graph and the split.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(nodes) % 3
    x = torch.randn(3, in_features, generator=g)[labels] + 2 * torch.randn(nodes, in_features, generator=g)
    start = torch.arange(nodes).repeat_interleave(degree)
    near = (start + 3 * torch.randint(1, nodes // 3, start.shape, generator=g)) % nodes  # of the same group, where 3 divides N
    far = torch.randint(nodes, start.shape, generator=g)
    end = torch.where(torch.rand(start.shape, generator=g) < 0.8, near, far)
    return assembled(Graph(x, torch.stack([torch.cat([start, end]), torch.cat([end, start])])), labels, seed)


def read(source: Any, seed: int = 0) -> Data:
    """Your own: an .npz file with `x` (N, F), `edges` (2, E) and, if there are labels, `y` (N,); or a pair (x, edges).

    Args:
        source: path or pair of arrays.
        seed: of the split.
    """
    if not isinstance(source, (str, Path)):
        x, edges = map(torch.as_tensor, source)
        return assembled(Graph(x.float(), edges.long()), None, seed)
    try:
        with np.load(source, allow_pickle=False) as file:
            graph = Graph(torch.from_numpy(file["x"]).float(), torch.from_numpy(file["edges"]).long())
            y = torch.from_numpy(file["y"]).long() if "y" in file else None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{source} should be an .npz file with x and edges: {error}") from error
    return assembled(graph, y, seed)


def assembled(graph: Graph, labels: Tensor | None, seed: int) -> Data:
    """The record that the runner wants."""
    nodes = len(graph.x)
    if graph.edges.ndim != 2 or len(graph.edges) != 2 or graph.edges.numel() and int(graph.edges.max()) >= nodes:
        raise DataError(f"edges should be (2, E) with numbers of nodes below {nodes}, are {tuple(graph.edges.shape)}")
    return Data(train=[graph], size=nodes, items=[graph], labels=labels, folds={} if labels is None else folds(nodes, seed),
                raw=lambda batch: batch.x, facts={"in_features": graph.x.shape[1]}, fingerprint=fingerprint(*graph))
