"""What is wrong with graphs that the features of their nodes do not show: nodes without edges, graphs without any."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch_geometric.data import Data as Graph

from ssl_core import Finding


def findings(graphs: Sequence[Graph]) -> Iterator[Finding]:
    """Isolated nodes of one graph, or graphs without edges and isolated nodes of many."""
    bare = [i for i, graph in enumerate(graphs) if not graph.num_edges]
    if bare:
        first = ", ".join(map(str, bare[:3])) + (f" and {len(bare) - 3:,} more" if len(bare) > 3 else "")
        yield Finding("graphs without edges", first, f"{len(bare):,} of {len(graphs):,} graphs hold nodes only",
                      bad=2 * len(bare) > len(graphs))
    alone = [torch.bincount(graph.edge_index.flatten(), minlength=graph.num_nodes) == 0 for graph in graphs]
    number, nodes = sum(int(nobody.sum()) for nobody in alone), sum(graph.num_nodes for graph in graphs)
    if number:
        places = [f"{i}" if len(graphs) == 1 else f"graph {g}, node {i}" for g, nobody in enumerate(alone) if nobody.any()
                  for i in nobody.nonzero()[:3, 0].tolist()]
        more = f" and {number - 3:,} more" if number > 3 else ""
        yield Finding("isolated nodes", ", ".join(places[:3]) + more, f"{number:,} of {nodes:,} nodes have no edge",
                      bad=2 * number > nodes)
