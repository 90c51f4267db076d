"""Mini-batches: parts of one graph, or some of many graphs."""
from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Literal

from ssl_core import Data, DataError

from .sampling import Clusters, Neighbourhoods

Sampler = Literal["none", "neighbours", "clusters"]
TOGETHER = 10  # clusters of a batch: enough for most of the edges that a batch of one cluster would cut


def minibatches(data: Data, sampler: Sampler = "none", batch_size: int = 0, fanouts: tuple[int, ...] = (10, 10)) -> Data:
    """Data of one graph that are trained on in parts. They are still embedded and scored as a whole, layer by layer.

    Args:
        data: whose only batch is the graph; or many graphs, which are trained on some at a time anyway.
        sampler: `none`: the whole graph at every step; `neighbours`: random nodes and what lies around them; `clusters`:
            regions of the graph, each node once an epoch.
        batch_size: seeds of a batch of `neighbours`, nodes of a batch of `clusters`, about; 0 for 1,024. Of many graphs, those
            of a batch; 0 for 128, or 64 molecules.
        fanouts: neighbours that `neighbours` draws per node, one number for each hop.

    Raises:
        DataError: a sampler is asked for where there are many graphs, or nodes of several kinds.
    """
    if batch_size < 0:
        raise ValueError(f"batch_size should be 1 or more, or 0, got {batch_size}")
    if not isinstance(data.train, list):
        from torch_geometric.loader import DataLoader
        if sampler != "none":
            raise DataError(f"data.sampler={sampler} cuts one graph in parts; here are {data.size} graphs.\n"
                            f"  Try: data.batch_size, how many of them are a batch")
        return replace(data, train=DataLoader(data.train.dataset, batch_size, shuffle=True)) if batch_size else data
    if sampler == "none":
        return data
    (graph,), size = data.train, batch_size or 1024
    if graph.get("contexts") is not None:
        raise DataError(f"data.sampler={sampler} cannot cut a graph with nodes of several kinds.\n  Try: data.sampler=none")
    if sampler == "neighbours":
        return replace(data, train=Neighbourhoods(graph, size, fanouts))
    parts = min(graph.num_nodes, ceil(TOGETHER * graph.num_nodes / size))
    return replace(data, train=Clusters(graph, parts, min(TOGETHER, parts)))
