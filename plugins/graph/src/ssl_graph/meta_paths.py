"""Graphs with nodes of several kinds: those to embed, what they are linked to, and the paths between them that lead through it.

A batch is a graph of target nodes whose `edge_type` is the meta-path of each edge; `contexts` holds, for each meta-path, the
links (2, M) from context nodes to target nodes and the features (C, F) of the context nodes.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import Data as Graph, HeteroData

from ssl_core import DataError
from ssl_core.errors import nearest
from ssl_core.modules import scatter_mean

from .graphs import checked
from .readers import Raw, masks


class MetaPath(NamedTuple):
    """One way in which target nodes are joined.

    Args:
        links: (2, M) context node and target node of each link.
        context: (C, F) features of the context nodes.
        keep: targets that a target is joined to, the most similar by PathSim; None where the context nodes are targets
            themselves and the links are the edges.
    """

    links: Any
    context: Any
    keep: int | None


def heterogeneous(x: Any, paths: dict[str, MetaPath], where: str, undirected: bool = True) -> Graph:
    """The batch of some target features (N, F) and the meta-paths between them, by name.

    Raises:
        DataError: a link names a node that is not there, or features are NaN or infinite.
    """
    parts = []
    for name, path in paths.items():
        here, links = f"{where}, {name}", np.asarray(path.links)
        for side, size, what in ((0, len(path.context), "context"), (1, len(x), "target")):
            bad = np.flatnonzero((links[side] < 0) | (links[side] >= size))
            if len(bad):
                raise DataError(f"{here}: link {bad[0]} names {what} node {links[side][bad[0]]}, but there are {size}, "
                                f"numbered from 0 ({len(bad)} such links)")
        if not np.isfinite(path.context).all():
            raise DataError(f"{here}: features of its context nodes are NaN or infinite")
        edges = links if path.keep is None else pathsim(links, len(x), path.keep)
        parts.append(checked(x, edges, where=here, undirected=undirected))
    graph = multiplex(parts)
    graph.contexts = [(torch.as_tensor(np.ascontiguousarray(path.links)).long(),
                       torch.as_tensor(np.asarray(path.context)).float()) for path in paths.values()]
    return graph


def facts(paths: dict[str, MetaPath]) -> dict[str, Any]:
    """What encoders need to know of meta-paths."""
    widths = tuple(path.context.shape[1] for path in paths.values())
    return {"relations": len(paths), "context_features": widths} if paths else {}


def multiplex(parts: list[Graph]) -> Graph:
    """One graph from several over the same nodes; `edge_type` says which relation an edge belongs to."""
    graph = Graph(x=parts[0].x, edge_index=torch.cat([part.edge_index for part in parts], dim=1),
                  edge_type=torch.cat([torch.full((part.num_edges,), i) for i, part in enumerate(parts)]))
    order = graph.edge_index[1].argsort(stable=True)
    graph.edge_index, graph.edge_type, graph.by_target = graph.edge_index[:, order], graph.edge_type[order], True
    return graph


def pathsim(links: Any, targets: int, keep: int, block: int = 256) -> np.ndarray:
    """Each target and those most like it along target - context - target, (2, E): at most `keep` of them.

    PathSim (Sun et al., VLDB 2011): paths between two targets, twice, over the paths from each of them back to itself.

    Args:
        links: (2, M) context node and target node of each link.
        block: targets whose paths are counted at a time; only pairs that have a path are held.
    """
    if keep < 1:
        raise ValueError(f"keep should be 1 or more, got {keep}")
    context, target = np.asarray(links)
    matrix = sp.csr_matrix((np.ones(len(target)), (target, context)), (targets, int(context.max(initial=0)) + 1))
    itself = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
    pairs = []
    for start in range(0, targets, block):
        paths = (matrix[start: start + block] @ matrix.T).tocoo()
        one, other = paths.row + start, paths.col
        likeness = 2 * paths.data / (itself[one] + itself[other])
        order = np.lexsort((other, -likeness, one))
        order = order[one[order] != other[order]]
        one, other = one[order], other[order]
        place = np.arange(len(one)) - np.searchsorted(one, one)  # 0 for the most similar
        pairs.append(np.stack([other, one])[:, place < keep])
    return np.concatenate(pairs, axis=1)


def kind(held: HeteroData, target: str, where: str) -> str:
    """The kind of the nodes to embed: the target, or the one that has labels.

    Raises:
        DataError: there is no such kind, or none or several have labels.
    """
    labelled = [name for name in held.node_types if held[name].get("y") is not None]
    found = target or (labelled[0] if len(labelled) == 1 else "")
    if found not in held.node_types:
        why = f"there is no {found!r}{nearest(found, held.node_types)}" if found else "which of them should be embedded?"
        raise DataError(f"{where} has nodes of the kinds {', '.join(held.node_types)}: {why}\n  Try: data.target=KIND")
    return found


def read(held: HeteroData, target: str, keep: int, known: Sequence[str], where: str) -> tuple[Raw, dict[str, MetaPath]]:
    """The nodes of one kind of PyG's `HeteroData`, and the ways in which they are joined: their own edges, and over each kind
    that they are linked to. A kind without features has the mean of those of the targets that its nodes are linked to.

    Args:
        target: the kind of the nodes to embed.
        keep: see `MetaPath`.
        known: the ways that an encoder knows, in its order: others are left out; empty for all.

    Raises:
        DataError: the nodes have no features, or they are not joined as they should be.
    """
    nodes, links = held[target], joins(held, target, where)
    if nodes.get("x") is None:
        raise DataError(f"{where}: nodes of the kind {target} have no features x (N, F)")
    if not links:
        raise DataError(f"{where}: no edge leads to or from nodes of the kind {target}")
    x, paths = torch.as_tensor(nodes.x).float(), {}
    for (other, name), found in links.items():
        context = x if other == target else held[other].get("x")
        if context is None:
            count = held[other].get("num_nodes") or int(found[0].max()) + 1
            inside = ((found >= 0) & (found < torch.tensor([[count], [len(x)]]))).all(dim=0)  # others are named later
            context = scatter_mean(x[found[1, inside]], found[0, inside], count)
        paths[f"{other} ({name})"] = MetaPath(found, context, None if other == target else keep)
    missing = [name for name in known if name not in paths]
    if missing:
        raise DataError(f"{where}: the encoder knows {target} nodes that are joined over {', '.join(missing)}; here they are "
                        f"joined over {', '.join(paths)}")
    return Raw(x, None, nodes.get("y"), masks(nodes)), {name: paths[name] for name in known or paths}


def joins(held: HeteroData, target: str, where: str) -> dict[tuple[str, str], Tensor]:
    """Links (2, M) from other nodes to those of a kind, by the kind of the others and the name of the edge.

    Edges from the target are turned round, and with them those that PyG's `ToUndirected` added, named `rev_NAME`, are counted
    once. Edges between nodes of other kinds are left out.
    """
    found = defaultdict(list)
    for (first, name, last), store in held.edge_items():
        if target in (first, last) and store.get("edge_index") is not None and store.edge_index.numel():
            if store.edge_index.ndim != 2 or len(store.edge_index) != 2:
                raise DataError(f"{where}, {first} {name} {last}: edges should be (2, M) node numbers, are "
                                f"{tuple(store.edge_index.shape)}")
            links = store.edge_index if last == target else store.edge_index.flip(0)
            found[first if last == target else last, name.removeprefix("rev_")].append(links.long())
    return {key: torch.cat(links, dim=1).unique(dim=1) for key, links in found.items()}
