"""Collections of graphs, each of them an item: the text files of TU Dortmund, and lists of PyG `Data`."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data as Graph

from ssl_core import DataError
from ssl_core.opening import room

from .graphs import checked


def tu_name(folder: Path) -> str:
    """The NAME of a folder that holds `NAME_A.txt` and `NAME_graph_indicator.txt`, or ""."""
    names = sorted(path.name.removesuffix("_A.txt") for path in folder.glob("*_A.txt"))
    return next((name for name in names if (folder / f"{name}_graph_indicator.txt").exists()), "")


def tu(folder: Path, name: str) -> tuple[list[Graph], Tensor | None]:
    """The graphs of a folder in the format of TU Dortmund (arXiv:2007.08663), and their labels (G,).

    `NAME_A.txt` holds two nodes a line, numbered from 1, and `NAME_graph_indicator.txt` the graph of each node. Features are
    `NAME_node_attributes.txt` and `NAME_node_labels.txt`, one-hot, or a 1 for each node; labels are
    `NAME_graph_attributes.txt` (quantities) or `NAME_graph_labels.txt` (classes).

    Raises:
        DataError: a line is none of numbers, or files do not fit each other.
    """
    owner = _owners(folder / f"{name}_graph_indicator.txt")
    edges = _edges(folder / f"{name}_A.txt", owner)
    x = _features(folder, name, len(owner))
    count = int(owner[-1]) + 1
    first = np.searchsorted(owner, np.arange(count + 1))
    edges = edges[owner[edges[:, 0]].argsort(kind="stable")]
    parts = np.split(edges, np.bincount(owner[edges[:, 0]], minlength=count).cumsum()[:-1])
    made = [checked(x[first[i]: first[i + 1]], part.T - first[i], where=f"{folder / name}, graph {i + 1}")
            for i, part in enumerate(parts)]
    quantities, classes = folder / f"{name}_graph_attributes.txt", folder / f"{name}_graph_labels.txt"
    if quantities.exists():
        return made, torch.from_numpy(numbers(quantities, 1, lines=count)[:, 0]).float()
    if classes.exists():
        return made, torch.from_numpy(np.unique(numbers(classes, 1, lines=count, whole=True), return_inverse=True)[1]).flatten()
    return made, None


def _owners(path: Path) -> Any:
    """The graph of each node, from 0: (N,)."""
    owner = numbers(path, 1, whole=True)[:, 0] - 1
    steps = np.diff(owner, prepend=owner[:1] - 1)  # of 0 or 1
    wrong = np.flatnonzero((owner < 0) | (steps < 0) | (steps > 1))
    if not len(owner) or len(wrong) or owner[0]:
        raise DataError(f"{path}, line {wrong[0] + 1 if len(wrong) else 1}: should say the graph of a node; graphs are "
                        f"numbered from 1, and their nodes come graph after graph")
    return owner


def _edges(path: Path, owner: Any) -> Any:
    """Two nodes of one graph, from 0: (E, 2)."""
    edges = numbers(path, 2, whole=True) - 1
    outside = ((edges < 0) | (edges >= len(owner))).any(axis=1)
    ends = owner[edges.clip(0, len(owner) - 1)]
    for bad, why in ((outside, f"there are {len(owner)} nodes, numbered from 1"),
                     (ends[:, 0] != ends[:, 1], "these are nodes of two graphs")):
        if bad.any():
            line = int(bad.argmax())
            raise DataError(f"{path}, line {line + 1}: an edge from {edges[line, 0] + 1} to {edges[line, 1] + 1}, but {why}")
    return edges


def _features(folder: Path, name: str, nodes: int) -> Any:
    """Quantities of the nodes, beside their kinds one-hot: (N, F) float32."""
    quantities, kinds = folder / f"{name}_node_attributes.txt", folder / f"{name}_node_labels.txt"
    columns = [numbers(quantities, lines=nodes)] if quantities.exists() else []
    columns += [one_hot(kind, kinds) for kind in numbers(kinds, lines=nodes, whole=True).T] if kinds.exists() else []
    return np.concatenate(columns or [np.ones((nodes, 1))], axis=1).astype(np.float32)


def one_hot(kinds: Any, path: Path) -> Any:
    """(N,) whole numbers -> (N, K), from the smallest to the largest."""
    first, last = int(kinds.min()), int(kinds.max())
    room(path, len(kinds) * (last - first + 1) * 4)
    return kinds[:, None] == np.arange(first, last + 1)


def numbers(path: Path, columns: int = 0, lines: int = 0, whole: bool = False, separator: str | None = ",") -> Any:
    """The table of a text file, (lines, columns); a file without a line has none.

    Args:
        columns, lines: how many there should be; 0 for any.
        whole: as int64.
        separator: of the numbers of a line; None for blanks.

    Raises:
        DataError: there is no file, it holds something else, or another number of lines or columns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files without a line
            found = np.loadtxt(path, delimiter=separator, ndmin=2)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} should hold numbers: {str(error).split(';')[0]}") from error
    found = found if found.size else found.reshape(0, columns or 1)
    if columns and found.shape[1] != columns:
        raise DataError(f"{path} should have {columns} numbers a line, has {found.shape[1]}")
    if lines and len(found) != lines:
        raise DataError(f"{path} has {len(found)} lines; there should be {lines}")
    wrong = ~np.isfinite(found) | ((found != np.rint(found)) | (np.abs(found) > 2**53) if whole else False)
    if wrong.any():
        line = int(wrong.any(axis=1).argmax())
        kind = "whole" if whole else "finite"
        raise DataError(f"{path}, line {line + 1}: expected {kind} numbers, got {found[line].tolist()}")
    return found.astype(np.int64) if whole else found


def listed(graphs: Sequence[Any], where: str, undirected: bool = True) -> tuple[list[Graph], Tensor | None]:
    """Graphs that PyG holds, checked, and their `y` (G,) if they have one. `undirected`: with the other direction of edges.

    Raises:
        DataError: something is no graph, or graphs do not have the same columns.
    """
    if not len(graphs):
        raise DataError(f"{where} is empty: there is no graph")
    made = []
    for i, graph in enumerate(graphs):
        if not isinstance(graph, Graph) or graph.get("edge_index") is None:
            raise DataError(f"{where}, graph {i} is a {type(graph).__name__}; expected a torch_geometric Data with edge_index")
        x = torch.ones(graph.num_nodes or 0, 1) if graph.get("x") is None else graph.x
        made.append(checked(x, graph.edge_index, where=f"{where}, graph {i}", undirected=undirected))
        if made[i].x.shape[1] != made[0].x.shape[1]:
            raise DataError(f"{where}: graph {i} has {made[i].x.shape[1]} features a node, graph 0 has {made[0].x.shape[1]}")
    labels = [graph.get("y") for graph in graphs]
    if all(label is None for label in labels):
        return made, None
    for i, label in enumerate(labels):
        if label is None or torch.as_tensor(label).numel() != 1:
            raise DataError(f"{where}, graph {i}: expected one label in `y`, as of all graphs, or none of any")
    return made, torch.stack([torch.as_tensor(label).flatten()[0] for label in labels])


def parted(whole: Graph, slices: Any) -> list[Graph]:
    """The graphs that PyG keeps end to end, with the places where each part of each begins."""
    from torch_geometric.data.separate import separate
    count = len(next(iter(slices.values()))) - 1
    return [separate(Graph, whole, i, slices, decrement=False) for i in range(count)]
