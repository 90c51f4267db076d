"""Mini-batches as options of every data set whose items are the nodes of one graph: `data.sampler=clusters`."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from inspect import Parameter, signature
from math import ceil
from typing import Any, Literal, get_type_hints

from ssl_core import Data

from .sampling import Clusters, Neighbourhoods

Sampler = Literal["none", "neighbours", "clusters"]
TOGETHER = 10  # clusters of a batch: enough for most of the edges that a batch of one cluster would cut
OPTIONS = {"sampler": (Sampler, "none"), "batch_size": (int, 1024), "fanouts": (tuple[int, ...], (10, 10))}


def with_samplers(load: Callable[..., Data]) -> Callable[..., Data]:
    """The same data set with three more options: `sampler`, `batch_size` and `fanouts`, see `minibatches`."""
    @wraps(load)
    def loaded(*args: Any, **given: Any) -> Data:
        chosen = {name: given.pop(name, default) for name, (_, default) in OPTIONS.items()}
        return minibatches(load(*args, **given), **chosen)
    taken = signature(load)
    more = [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, (_, default) in OPTIONS.items()]
    loaded.__signature__ = taken.replace(parameters=[*taken.parameters.values(), *more])  # type: ignore[attr-defined]
    loaded.__annotations__ = get_type_hints(load) | {name: kind for name, (kind, _) in OPTIONS.items()}
    return loaded


def minibatches(data: Data, sampler: Sampler = "none", batch_size: int = 1024, fanouts: tuple[int, ...] = (10, 10)) -> Data:
    """Data of one graph that are trained on in parts. They are still embedded and scored as a whole, layer by layer.

    Args:
        data: whose only batch is the graph.
        sampler: `none`: the whole graph at every step; `neighbours`: random nodes and what lies around them; `clusters`:
            regions of the graph, each node once an epoch.
        batch_size: seeds of a batch of `neighbours`, nodes of a batch of `clusters`, about.
        fanouts: neighbours that `neighbours` draws per node, one number for each hop.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size should be 1 or more, got {batch_size}")
    if sampler == "none":
        return data
    (graph,) = data.train
    if sampler == "neighbours":
        return replace(data, train=Neighbourhoods(graph, batch_size, fanouts))
    parts = min(graph.num_nodes, ceil(TOGETHER * graph.num_nodes / batch_size))
    return replace(data, train=Clusters(graph, parts, min(TOGETHER, parts)))
