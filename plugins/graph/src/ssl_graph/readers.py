"""File formats of graphs, opened without running anything that is in them."""
from __future__ import annotations

import csv
import json
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data as Graph, HeteroData

from ssl_core import DataError
from ssl_core.opening import arrays, room, unpickled, zipped

from .many import parted


class Raw(NamedTuple):
    """What a file holds, unchecked: features (N, F), edges (2, E), labels (N,) or None, official folds by name."""

    x: Any
    edge_index: Any
    y: Any = None
    folds: Any = {}


class Parts:
    """What a pickled sparse matrix consists of: data, indices, indptr, _shape. scipy's own would not check them."""


#: What a Planetoid pickle may ask for, besides arrays.
PLANETOID = {("scipy.sparse.csr", "csr_matrix"): Parts, ("scipy.sparse._csr", "csr_matrix"): Parts,
             ("collections", "defaultdict"): defaultdict, ("__builtin__", "list"): list, ("builtins", "list"): list}


def sparse(data: Any, indices: Any, indptr: Any, shape: Any, where: Any) -> Any:
    """A sparse matrix by rows, whose indices were looked at: scipy writes outside its memory when they are wrong.

    Raises:
        DataError: they are wrong, or the matrix is too large to be written out.
    """
    try:
        rows, columns = (int(size) for size in shape)
        room(where, rows * columns * 4)
        data, places, starts = np.asarray(data), np.asarray(indices), np.asarray(indptr).astype(np.int64)
        if starts.shape != (rows + 1,) or starts[0] or (np.diff(starts) < 0).any() or data.dtype.kind not in "biuf":
            raise ValueError(f"{rows} rows, with starts {starts[:6].tolist()}, ...")
        data, places = data[: starts[-1]], places[: starts[-1]].astype(np.int64)
        if not len(data) == len(places) == starts[-1] or len(places) and not 0 <= places.min() <= places.max() < columns:
            raise ValueError(f"{len(places)} places for {starts[-1]} values in {columns} columns")
        return sp.csr_matrix((data, places, starts), shape=(rows, columns))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise DataError(f"{where} holds a sparse matrix that is none: {error}") from error


def unsparse(parts: Any, path: Path) -> Any:
    """A pickled matrix as an array, (N, F)."""
    if not isinstance(parts, Parts):
        return np.asarray(parts)
    held = vars(parts)
    if not {"data", "indices", "indptr", "_shape"} <= set(held):
        raise DataError(f"{path} holds a sparse matrix without {'data, indices, indptr or shape'}")
    return sparse(held["data"], held["indices"], held["indptr"], held["_shape"], path).toarray()


def planetoid(folder: Path, name: str) -> Raw:
    """The eight files `ind.NAME.*` of Planetoid (arXiv:1603.08861), with their public folds."""
    files = {key: folder / f"ind.{name}.{key}" for key in ("x", "tx", "allx", "y", "ty", "ally", "graph")}
    part = {key: unpickled(path, also=PLANETOID) for key, path in files.items()}
    part |= {key: unsparse(part[key], files[key]) for key in part if key != "graph"}
    shuffled = np.loadtxt(folder / f"ind.{name}.test.index", dtype=np.int64)
    room(folder, (int(shuffled.max()) + 1) * part["allx"].shape[1] * 4)
    known, nodes = part["allx"].shape[0], max(part["allx"].shape[0], int(shuffled.max()) + 1)
    x = np.zeros((nodes, part["allx"].shape[1]), dtype=np.float32)  # CiteSeer lacks 15 nodes: they stay zero
    y = np.zeros((nodes, part["ally"].shape[1]))
    x[:known], y[:known] = part["allx"], part["ally"]
    x[shuffled], y[shuffled] = part["tx"], part["ty"]
    edges = np.array([(i, j) for i, near in part["graph"].items() for j in near]).T
    labelled = part["y"].shape[0]
    folds = {"train": np.arange(labelled), "validation": np.arange(labelled, labelled + 500), "test": np.sort(shuffled)}
    return Raw(x, edges, y.argmax(axis=1), folds)


def npz(path: Path) -> Raw:
    """An `.npz` of one of three layouts, without pickled objects.

    `adj_data, adj_indices, ..., attr_*, labels` (gnn-benchmark: Amazon, Coauthor); `node_features, node_labels, edges`
    with `*_masks` (heterophilous graphs); `x, edge_index` with `y` and `*_mask`.
    """
    held = arrays(path)
    if "adj_data" in held:
        adjacency = _csr(held, "adj", path).tocoo()
        x = _csr(held, "attr", path).toarray().astype(np.float32) if "attr_data" in held else held["attr_matrix"]
        return Raw(x, np.stack([adjacency.row, adjacency.col]), held.get("labels"))
    if "node_features" in held:
        masks = {fold: held[f"{key}_masks"] for fold, key in MASKS if f"{key}_masks" in held}
        return Raw(held["node_features"], held["edges"].T, held["node_labels"], masks)
    if "x" in held and "edge_index" in held:
        masks = {fold: held[f"{key}_mask"] for fold, key in MASKS if f"{key}_mask" in held}
        return Raw(held["x"], held["edge_index"], held.get("y"), masks)
    raise DataError(f"{path} holds {', '.join(held) or 'nothing'}.\n"
                    f"  Try: x (N, F) and edge_index (2, E), with y (N,) if there are labels")


def holds_molecules(path: Path) -> bool:
    """Whether a file is of points in space rather than of nodes and edges."""
    if path.suffix != ".npz":
        return path.suffix in (".sdf", ".xyz")
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "places.npy" in archive.namelist()


def mapped(folder: Path) -> Raw:
    """Arrays in a folder: `x.npy` (N, F) and `edge_index.npy` (2, E), with `y.npy` (N,) and `train.npy`, `validation.npy` and
    `test.npy` (positions or masks) if there are any. The features are mapped, not read: they may be larger than memory."""
    def array(name: str, mode: Literal["c"] | None = None) -> Any:
        path = folder / f"{name}.npy"
        if not path.exists():
            return None
        try:
            return np.load(path, mmap_mode=mode, allow_pickle=False)  # copied on write: the file stays as it is
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path} is no array of numbers: {error}") from error
    x, edges = array("x", "c"), array("edge_index")
    if edges is None:
        raise DataError(f"{folder} holds x.npy, but no edge_index.npy (2, E)")
    for name, held in (("x", x), ("edge_index", edges)):
        if held.dtype.kind not in "biuf":
            raise DataError(f"{folder / name}.npy should hold numbers, holds {held.dtype}")
    folds = {name: fold for name in ("train", "validation", "test") if (fold := array(name)) is not None}
    return Raw(x, edges, array("y"), folds)


MASKS = (("train", "train"), ("validation", "val"), ("test", "test"))


def _csr(held: dict[str, Any], name: str, path: Path) -> Any:
    parts = [held.get(f"{name}_{part}") for part in ("data", "indices", "indptr", "shape")]
    return sparse(*parts, where=path)


def stored(path: Path) -> Any:
    """A sparse matrix that scipy saved, by rows or by coordinates, as scipy's own function would load it."""
    held = arrays(path)
    if {"row", "col", "data", "shape"} <= set(held):
        return sp.coo_matrix((held["data"], (held["row"], held["col"])), shape=tuple(held["shape"].tolist()))
    if held.get("format") is None or held["format"].item() != b"csr":
        raise DataError(f"{path} holds no sparse matrix in the format csr or coo")
    return sparse(held["data"], held["indices"], held["indptr"], held["shape"], path)


def pt(path: Path) -> Any:
    """A PyG `Data` or `HeteroData`, or a list of the first, saved by `torch.save` or by PyG's own data sets; opened with
    `weights_only=True`."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import BaseStorage, EdgeStorage, GlobalStorage, NodeStorage
    try:
        zipped(path)
        known = torch.serialization.get_safe_globals()  # PyG's own: the context would take them away when it ends
        parts = [part for part in (Graph, DataEdgeAttr, DataTensorAttr, GlobalStorage, HeteroData, BaseStorage, NodeStorage,
                                   EdgeStorage) if part not in known]
        with torch.serialization.safe_globals(parts):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be opened safely: {str(error).splitlines()[0]}\n"
                        f"  Try: saving a torch_geometric.data.Data, or an .npz with x and edge_index") from error
    slices = found[1] if isinstance(found, tuple) and len(found) > 1 else None
    found = found[0] if isinstance(found, tuple) and found else found
    if isinstance(found, dict):
        found = (HeteroData if "_global_store" in found else Graph).from_dict(found)
    return parted(found, slices) if slices and isinstance(found, Graph) else found


def in_memory(graph: Any, where: str) -> Raw:
    """A PyG `Data`, with its masks."""
    if not isinstance(graph, Graph) or graph.get("x") is None or graph.get("edge_index") is None:
        raise DataError(f"{where} is a {type(graph).__name__}; expected a torch_geometric Data with x and edge_index, or a "
                        f"HeteroData")
    return Raw(graph.x, graph.edge_index, graph.get("y"), masks(graph))


def masks(nodes: Any) -> dict[str, Any]:
    """The folds that PyG's masks of some nodes name."""
    return {fold: nodes[f"{key}_mask"].numpy() for fold, key in MASKS if nodes.get(f"{key}_mask") is not None}


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
