"""File formats of graphs, opened without running anything that is in them."""
from __future__ import annotations

import csv
import io
import json
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data as Graph

from ssl_core import DataError


class Raw(NamedTuple):
    """What a file holds, unchecked: features (N, F), edges (2, E), labels (N,) or None, official folds by name."""

    x: Any
    edge_index: Any
    y: Any = None
    folds: Any = {}


#: The only names that a Planetoid pickle may ask for; all of them build arrays.
HARMLESS = {
    ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
    ("scipy.sparse.csr", "csr_matrix"): sp.csr_matrix, ("scipy.sparse._csr", "csr_matrix"): sp.csr_matrix,
    ("collections", "defaultdict"): defaultdict, ("__builtin__", "list"): list, ("builtins", "list"): list,
}


class _Arrays(pickle.Unpickler):
    """Reads pickles of arrays and lists, and refuses anything else: opening a file must not run code from it."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        raise DataError(f"the pickle asks for {module}.{name}, which is no array; it is not opened")


def unpickled(path: Path) -> Any:
    """An array, sparse matrix or dictionary of lists from an old pickle."""
    try:
        return _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path} is no pickle of arrays: {type(error).__name__}: {error}") from error


def planetoid(folder: Path, name: str) -> Raw:
    """The eight files `ind.NAME.*` of Planetoid (arXiv:1603.08861), with their public folds."""
    part = {key: unpickled(folder / f"ind.{name}.{key}") for key in ("x", "tx", "allx", "y", "ty", "ally", "graph")}
    shuffled = np.loadtxt(folder / f"ind.{name}.test.index", dtype=np.int64)
    known, nodes = part["allx"].shape[0], max(part["allx"].shape[0], int(shuffled.max()) + 1)
    x = np.zeros((nodes, part["allx"].shape[1]), dtype=np.float32)  # CiteSeer lacks 15 nodes: they stay zero
    y = np.zeros((nodes, part["ally"].shape[1]))
    x[:known], y[:known] = part["allx"].toarray(), part["ally"]
    x[shuffled], y[shuffled] = part["tx"].toarray(), part["ty"]
    edges = np.array([(i, j) for i, near in part["graph"].items() for j in near]).T
    labelled = part["y"].shape[0]
    folds = {"train": np.arange(labelled), "validation": np.arange(labelled, labelled + 500), "test": np.sort(shuffled)}
    return Raw(x, edges, y.argmax(axis=1), folds)


def npz(path: Path) -> Raw:
    """An `.npz` of one of three layouts, without pickled objects.

    `adj_data, adj_indices, ..., attr_*, labels` (gnn-benchmark: Amazon, Coauthor); `node_features, node_labels, edges`
    with `*_masks` (heterophilous graphs); `x, edge_index` with `y` and `*_mask`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files if file.zip.getinfo(f"{name}.npy").file_size and _plain(file, name)}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error
    if "adj_data" in held:
        adjacency = sp.csr_matrix((held["adj_data"], held["adj_indices"], held["adj_indptr"]), held["adj_shape"]).tocoo()
        x = _csr(held, "attr") if "attr_data" in held else held["attr_matrix"]
        return Raw(x, np.stack([adjacency.row, adjacency.col]), held.get("labels"))
    if "node_features" in held:
        masks = {fold: held[f"{key}_masks"] for fold, key in MASKS if f"{key}_masks" in held}
        return Raw(held["node_features"], held["edges"].T, held["node_labels"], masks)
    if "x" in held and "edge_index" in held:
        masks = {fold: held[f"{key}_mask"] for fold, key in MASKS if f"{key}_mask" in held}
        return Raw(held["x"], held["edge_index"], held.get("y"), masks)
    raise DataError(f"{path} holds {', '.join(held) or 'nothing'}.\n"
                    f"  Try: x (N, F) and edge_index (2, E), with y (N,) if there are labels")


MASKS = (("train", "train"), ("validation", "val"), ("test", "test"))


def _plain(file: Any, name: str) -> bool:
    """Whether an array of an npz is free of Python objects; those that are not are left alone."""
    try:
        file[name]
    except ValueError:
        return False
    return True


def _csr(held: dict[str, Any], name: str) -> Any:
    parts = held[f"{name}_data"], held[f"{name}_indices"], held[f"{name}_indptr"]
    return sp.csr_matrix(parts, held[f"{name}_shape"]).toarray().astype(np.float32)


def pt(path: Path) -> Raw:
    """A PyG `Data` saved by `torch.save`, opened with `weights_only=True`."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage
    try:
        with torch.serialization.safe_globals([Graph, DataEdgeAttr, DataTensorAttr, GlobalStorage]):
            graph = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} cannot be opened safely: {str(error).splitlines()[0]}\n"
                        f"  Try: saving a torch_geometric.data.Data, or an .npz with x and edge_index") from error
    graph = graph[0] if isinstance(graph, tuple) and graph else graph
    if isinstance(graph, dict):
        graph = Graph.from_dict(graph)
    return in_memory(graph, str(path))


def in_memory(graph: Any, where: str = "the object given as data") -> Raw:
    """A PyG `Data`, with its masks."""
    if not isinstance(graph, Graph) or graph.get("x") is None or graph.get("edge_index") is None:
        raise DataError(f"{where} is a {type(graph).__name__}; expected a torch_geometric Data with x and edge_index")
    masks = {fold: graph[f"{key}_mask"].numpy() for fold, key in MASKS if graph.get(f"{key}_mask") is not None}
    return Raw(graph.x, graph.edge_index, graph.get("y"), masks)


def wikics(path: Path) -> Raw:
    """The JSON file of WikiCS (arXiv:2007.02901) with its 20 public folds."""
    with path.open(encoding="utf-8") as file:
        held = json.load(file)
    edges = [(i, j) for i, near in enumerate(held["links"]) for j in near]
    folds = {"train": np.array(held["train_masks"]), "validation": np.array(held["val_masks"]),
             "test": np.array(held["test_mask"])}
    return Raw(np.array(held["features"], dtype=np.float32), np.array(edges).T, np.array(held["labels"]), folds)


def table(edges: Path, features: Path, target: str) -> Raw:
    """An edge list and a table of node features, as text.

    Args:
        edges: two node numbers a line, from 0; separated by comma, tab or space; a header is skipped.
        features: one node a line, in order, separated by comma or tab, with a header.
        target: the column that holds the labels; "" for none.
    """
    pairs = []
    for number, line in enumerate(edges.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        if not all(word.lstrip("-").isdigit() for word in words[:2]) or len(words) < 2:
            if number == 1:
                continue
            raise DataError(f"{edges}, line {number}: expected two node numbers, got {line[:60]!r}")
        pairs.append((int(words[0]), int(words[1])))
    header, rows = _rows(features)
    if target and target not in header:
        raise DataError(f"{features} has no column {target!r}; it has {', '.join(header[:20])}")
    labels = [row[header.index(target)] for row in rows] if target else None
    columns = [i for i, name in enumerate(header) if name != target]
    try:
        x = np.array([[float(row[i] or "nan") for i in columns] for row in rows], dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{features}: features should be numbers: {error}") from error
    y = None if labels is None else np.unique(np.array(labels), return_inverse=True)[1]
    return Raw(x, np.array(pairs, dtype=np.int64).reshape(-1, 2).T, y)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = list(csv.reader(file, delimiter="\t" if path.suffix in (".tsv", ".tab") else ","))
    if len(lines) < 2:
        raise DataError(f"{path} should hold a header and one line per node")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise DataError(f"{path}, line {number}: {len(line)} cells, the header has {len(lines[0])}")
    return lines[0], lines[1:]
