"""What to show of a node or a graph in a report: itself and those around it, as points and edges."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from torch_geometric.data import Data as Graph

from ssl_core import Drawing

NEAR, FAR, MOST = 10, 3, 60  # neighbours of a node, of each of those, nodes of a whole graph


def preview(graph: Graph, rows: Sequence[int]) -> list[Drawing]:
    """Neighbourhoods of two steps of some nodes; of a batch of graphs, those graphs."""
    source, target = graph.edge_index.cpu().numpy()
    n = int(graph.num_nodes or 0)
    sums = csr_array((np.ones(len(source), dtype=np.int8), (target, source)), shape=(n, n))
    sums.sum_duplicates()
    if graph.get("batch") is None:
        return [_drawn(sums, _around(sums, row)) for row in rows]
    owner = graph.batch.cpu().numpy()
    return [_drawn(sums, (owner == row).nonzero()[0][:MOST]) for row in rows]


def _around(sums: csr_array, node: int) -> np.ndarray:
    """The node, then some of its neighbours and theirs."""
    def neighbours(i: int, most: int) -> list[int]:
        return sums.indices[sums.indptr[i]: sums.indptr[i + 1]][:most].tolist()  # type: ignore[no-any-return]
    near = neighbours(node, NEAR)
    far = [j for i in near for j in neighbours(i, FAR)]
    return np.array(list(dict.fromkeys([node, *near, *far])))


def _drawn(sums: csr_array, nodes: np.ndarray) -> Drawing:
    """Points whose distances in the plane are near those in the graph (stress majorisation, SMACOF)."""
    part = sums[nodes][:, nodes]
    edges = np.stack(part.nonzero(), axis=1)
    edges = edges[edges[:, 0] < edges[:, 1]] if len(edges) else edges
    steps = shortest_path(part, directed=False, unweighted=True)
    steps[np.isinf(steps)] = steps[np.isfinite(steps)].max(initial=1) + 1
    turn = 2.4 * np.arange(len(nodes))  # the golden angle: no two points start on one spot
    points = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (steps[0][:, None] if len(nodes) else 1)
    off = ~np.eye(len(nodes), dtype=bool)
    weight = np.divide(1, steps**2, where=off & (steps > 0), out=np.zeros_like(steps))
    inverse = np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight)
    for _ in range(60):
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)
        pull = np.divide(-weight * steps, apart, where=apart > 0, out=np.zeros_like(steps))
        points = inverse @ ((pull - np.diag(pull.sum(axis=1))) @ points)
    return Drawing(points.round(3).tolist(), edges.tolist())
