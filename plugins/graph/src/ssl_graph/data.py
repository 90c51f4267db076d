"""Data sets of graphs. Each is a function whose parameters are its options: `data=cora data.split=public`."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data as Graph, Dataset, HeteroData

from ssl_core import Data, DataError

from . import many, meta_paths, readers
from .findings import findings
from .graphs import checked, fingerprint, random_folds
from .meta_paths import MetaPath, heterogeneous, multiplex
from .node_options import with_node_options
from .preview import preview
from .readers import Raw

Split = Literal["random", "public"]
CACHE = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser() / "graph"


@with_node_options
def digits(neighbours: int = 10, seed: int = 0) -> Data:
    """scikit-learn's digits as a graph: 1,797 real images of 8 x 8, each joined to those that look most alike.

    Args:
        neighbours: nearest images by Euclidean distance that an image is joined to; the graph is made symmetric.
        seed: of the random 10/10/80 split.
    """
    from sklearn.datasets import load_digits
    from sklearn.neighbors import kneighbors_graph
    images = load_digits()
    x = images.data.astype(np.float32) / 16
    edges = np.stack(kneighbors_graph(x, neighbours).nonzero())
    return node_level(Raw(x, edges, images.target), "digits", split="random", seed=seed, classes=[str(i) for i in range(10)])


def node_level(raw: Raw, where: str, *, split: Split = "random", seed: int = 0, normalize: bool = False,
               classes: Sequence[str] | None = None, undirected: bool = True,
               paths: dict[str, MetaPath] | None = None) -> Data:
    """One graph whose items are its nodes; trained on in full at every step, unless a sampler cuts it.

    Args:
        raw: features, edges, labels and official folds.
        where: what to call it in messages.
        split: `public`, or `random`: 10 % train, 10 % validation, 80 % test, drawn by `seed`.
        normalize: divide every row of features by its sum (bags of words).
        undirected: add the other direction of every edge.
        paths: what joins the nodes, if not edges of one kind.
    """
    x = torch.as_tensor(raw.x).float()
    x = x / x.sum(dim=1, keepdim=True).clamp(min=1e-12) if normalize else x
    graph = (heterogeneous(x, paths, where, undirected) if paths else
             checked(x, raw.edge_index, where=where, undirected=undirected))
    labels = None if raw.y is None else torch.as_tensor(raw.y).flatten()
    if labels is not None and not labels.is_floating_point():
        labels = labels.long()
    found = {} if labels is None else folds(labels, raw.folds, split, seed, where)
    return replace(one_graph(graph, labels, found, where, classes, **meta_paths.facts(paths or {})),
                   schema={"normalize": normalize})


def one_graph(graph: Graph, labels: Tensor | None, found: dict[str, Tensor], where: str,
              classes: Sequence[str] | None = None, **facts: Any) -> Data:
    """The record of a graph whose items are its nodes.

    Raises:
        DataError: there are more or fewer labels than nodes, or a fold names a node that is not there.
    """
    if labels is not None and len(labels) != graph.num_nodes:
        raise DataError(f"{where}: {len(labels)} labels for {graph.num_nodes} nodes")
    for name, fold in found.items():
        if len(fold) and not 0 <= int(fold.min()) <= int(fold.max()) < graph.num_nodes:
            raise DataError(f"{where}: its {name} fold names nodes {int(fold.min())} to {int(fold.max())}, but there are "
                            f"{graph.num_nodes}, numbered from 0")
    counted = {} if labels is None or labels.is_floating_point() else {"classes": int(labels.max()) + 1}
    return Data(train=[graph], size=graph.num_nodes, items=[graph], labels=labels, folds=found, raw=lambda batch: batch.x,
                facts={"in_features": graph.x.shape[1], "level": "node", **counted, **facts}, classes=classes, preview=preview,
                findings=lambda: findings([graph]), fingerprint=fingerprint(graph.x, graph.edge_index))


def folds(labels: Tensor, public: Any, split: Split, seed: int, where: str) -> dict[str, Tensor]:
    """Positions of train, validation and test nodes."""
    if split == "random":
        return random_folds(len(labels), seed)
    if set(public) != {"train", "validation", "test"}:
        raise DataError(f"{where} has no public split.\n  Try: data.split=random")
    return {name: _positions(np.asarray(fold), len(labels), seed) for name, fold in public.items()}


def _positions(fold: Any, nodes: int, seed: int) -> Tensor:
    """A fold as positions. Of several public folds, one per column or row, `seed` chooses."""
    if fold.ndim == 2:
        fold = fold.T if fold.shape[0] == nodes else fold
        fold = fold[seed % len(fold)]
    is_mask = fold.dtype == bool or len(fold) == nodes and set(np.unique(fold)) <= {0, 1}
    return torch.as_tensor(fold.nonzero()[0] if is_mask else fold)


def locate(root: Path | None, name: str, file: str, download: bool, fetch: Callable[[Path], None] | None) -> Path:
    """The file called `file` anywhere under `root`; fetched if the user asked for that.

    Raises:
        DataError: it is not there.
    """
    folder = Path(root).expanduser() if root else CACHE
    for found in sorted(folder.rglob(file)) if folder.is_dir() else ():
        return found
    if download and fetch is not None:
        fetch(folder / name)
        return locate(folder, name, file, False, None)
    can = "data.download=true fetches it, or " if fetch else ""
    raise DataError(f"{name} is not there: no {file} under {folder}.\n  Try: {can}data.root=FOLDER, the folder that holds it")


def planetoid(name: str) -> Callable[..., Data]:
    """A data set of Planetoid: "cora", "citeseer", "pubmed"."""
    @with_node_options
    def load(root: Path | None = None, split: Split = "random", download: bool = False, normalize: bool = True,
             seed: int = 0) -> Data:
        from .download import planetoid as fetch
        path = locate(root, name, f"ind.{name}.x", download, lambda folder: fetch(name, folder))
        return node_level(readers.planetoid(path.parent, name), name, split=split, seed=seed, normalize=normalize)
    return load


def benchmark(name: str, file: str) -> Callable[..., Data]:
    """A data set of gnn-benchmark or of the heterophilous graphs: one .npz."""
    @with_node_options
    def load(root: Path | None = None, split: Split = "random", download: bool = False, normalize: bool = True,
             seed: int = 0) -> Data:
        from .download import npz as fetch
        path = locate(root, name, file, download, (lambda folder: fetch(file, folder)) if file in KNOWN_NPZ else None)
        return node_level(readers.npz(path), name, split=split, seed=seed, normalize=normalize)
    return load


KNOWN_NPZ = ("amazon_electronics_photo.npz", "amazon_electronics_computers.npz", "ms_academic_cs.npz", "ms_academic_phy.npz")
cora, citeseer, pubmed = planetoid("cora"), planetoid("citeseer"), planetoid("pubmed")
photo, computers = benchmark("amazon-photo", KNOWN_NPZ[0]), benchmark("amazon-computers", KNOWN_NPZ[1])
coauthor_cs, coauthor_physics = benchmark("coauthor-cs", KNOWN_NPZ[2]), benchmark("coauthor-physics", KNOWN_NPZ[3])
actor, chameleon = benchmark("actor", "actor.npz"), benchmark("chameleon", "chameleon_filtered.npz")


@with_node_options
def wikics(root: Path | None = None, split: Split = "public", download: bool = False, seed: int = 0) -> Data:
    """WikiCS, 11,701 articles (arXiv:2007.02901); of its 20 public folds `seed` chooses one."""
    from .download import wikics as fetch
    path = locate(root, "wikics", "wikics.json" if download else "data.json", download, fetch)
    return node_level(readers.wikics(path), "wikics", split=split, seed=seed)


KINDS = {"authors": "pap", "subjects": "psp"}  # the relations of ACM, and their files


@with_node_options
def acm(root: Path | None = None, per_class: Literal[20, 40, 60] = 20, contexts: bool = False,
        keep: tuple[int, int] = (110, 700), relations: tuple[Literal["authors", "subjects"], ...] = ("authors", "subjects"),
        normalize: bool = True, seed: int = 0) -> Data:
    """ACM as a multiplex graph: 4,019 papers, joined by common authors (relation 0) and common subjects (relation 1).

    Args:
        root: folder with `p_feat.npz`, `pap.npz`, `psp.npz`, `labels.npy` and the official splits.
        per_class: labelled training papers per class of the official split.
        contexts: as a heterogeneous graph, with authors and subjects beside the papers; needs `pa.txt`, `ps.txt`, `a_feat.npz`.
        keep: with `contexts`: papers that a paper is joined to by authors and by subjects, the most similar by PathSim.
        relations: which to keep, one or both. By subjects, more than a quarter of all pairs are joined.
        normalize: each row sums to 1, as in the file; otherwise 1 for each word that is there.
    """
    if not relations or contexts and set(relations) != {*KINDS}:
        raise DataError(f"acm: data.relations should be one or both of {', '.join(KINDS)}, and both with data.contexts; "
                        f"got {relations}")
    folder = locate(root, "acm", "p_feat.npz", False, None).parent
    x = readers.stored(folder / "p_feat.npz").toarray().astype(np.float32)
    x = x if normalize else (x > 0).astype(np.float32)
    labels = torch.from_numpy(readers.arrays(folder / "labels.npy")[""]).long()
    more: dict[str, Any] = {"relations": len(relations)}
    if contexts:
        links = [many.numbers(folder / f"{kind}.txt", 2, whole=True, separator=None).T[::-1] for kind in ("pa", "ps")]
        features = [readers.stored(folder / "a_feat.npz").toarray(), np.eye(int(links[1][0].max(initial=0)) + 1)]
        paths = {kind: MetaPath(*path) for kind, *path in zip(KINDS, links, features, keep, strict=True)}
        graph, more = heterogeneous(x, paths, "acm"), meta_paths.facts(paths)
    else:
        graph = multiplex([checked(x, np.stack(readers.stored(folder / f"{kind}.npz").nonzero()), where=f"acm/{kind}")
                           for kind in (KINDS[name] for name in relations)])
    found = {name: torch.from_numpy(readers.arrays(folder / f"{file}_{per_class}.npy")[""]).long()
             for name, file in readers.MASKS}
    return one_graph(graph, labels, found, "acm", **more)


def tu(name: str) -> Callable[..., Data]:
    """A collection of graphs of TU Dortmund (arXiv:2007.08663): items are graphs."""
    def load(root: Path | None = None, batch_size: int = 128, download: bool = False, seed: int = 0) -> Data:
        from .download import tu as fetch
        path = locate(root, name, f"{name}_A.txt", download, lambda folder: fetch(name, folder))
        return graph_level(*many.tu(path.parent, name), batch_size, seed)
    return load


mutag, proteins, enzymes = tu("MUTAG"), tu("PROTEINS"), tu("ENZYMES")


def graph_level(graphs: Sequence[Graph], labels: Tensor | None, batch_size: int = 128, seed: int = 0) -> Data:
    """Many graphs, which are the items; random 80/10/10 split by `seed`."""
    from torch_geometric.loader import DataLoader
    from torch_geometric.utils import scatter
    order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(seed))
    cut = [len(graphs) * 8 // 10, len(graphs) * 9 // 10]
    found = dict(zip(("train", "validation", "test"), order.tensor_split(cut), strict=True))
    counted = {} if labels is None or labels.is_floating_point() else {"classes": int(labels.max()) + 1}
    return Data(train=DataLoader(list(graphs), batch_size, shuffle=True), items=DataLoader(list(graphs), batch_size),
                size=len(graphs), labels=labels, folds={} if labels is None else found,
                raw=lambda batch: scatter(batch.x, batch.batch, 0, batch.num_graphs, reduce="sum"),
                facts={"in_features": graphs[0].x.shape[1], "level": "graph", **counted}, preview=preview,
                findings=lambda: findings(graphs), fingerprint=fingerprint(*(t for g in graphs for t in (g.x, g.edge_index))))


@with_node_options
def read(source: Any, features: Path | None = None, target: str = "", keep: int = 100, split: Split = "random",
         normalize: bool = False, undirected: bool = True, seed: int = 0, schema: dict[str, Any] | None = None) -> Data:
    """The user's own graph: a `.pt` or `.npz` file, an edge list with a table of features, or PyG's `Data` or `HeteroData` in
    memory; or many graphs: a folder in the format of TU Dortmund, a list of `Data` in a `.pt` or in memory, or molecules in an
    `.sdf`, an `.xyz` or an `.npz` with kinds, places and owner.

    Args:
        source: the path or the object. A folder should hold `edges.csv` and `features.csv`; or `x.npy` and `edge_index.npy`,
            whose features stay on the disk until they are asked for (with a sampler, batch by batch); or `NAME_A.txt` and
            `NAME_graph_indicator.txt`.
        features: for an edge list: the table of node features, one node a line, in order.
        target: for an edge list: the column of that table that holds the labels. For a `HeteroData`: the kind of the nodes to
            embed; the others are what joins them, see `meta_paths.read`.
        keep: for a `HeteroData`: nodes that a node is joined to over nodes of another kind, the most similar by PathSim.
        split: of one graph: `random` (10/10/80), or `public` where the file has masks; of many it is 80/10/10.
        normalize: divide every row of features by its sum; of one graph.
        undirected: add the other direction of every edge.
        schema: given back by the core when an encoder is used on another graph, which is read as its own was.
    """
    known = dict(schema or {})
    target, normalize, keep = known.get("target", target), known.get("normalize", normalize), known.get("keep", keep)
    path = Path(source) if isinstance(source, (str, Path)) else None
    if path and readers.holds_molecules(path):
        from . import points
        return points.read(path, seed=seed)
    if path and (name := many.tu_name(path)):
        return graph_level(*many.tu(path, name), seed=seed)
    where = str(path) if path else "what is given as data"
    found = _from_file(path, features, target) if path else source
    if isinstance(found, Dataset) and len(found) == 1 and isinstance(found[0], HeteroData):
        found = found[0]
    if isinstance(found, (list, tuple, Dataset)) and not isinstance(found, Raw):
        return graph_level(*many.listed(found, where, undirected), seed=seed)
    paths = None
    if isinstance(found, HeteroData):
        target = meta_paths.kind(found, target, where)
        raw, paths = meta_paths.read(found, target, keep, known.get("paths", ()), where)
    else:
        raw = found if isinstance(found, Raw) else readers.in_memory(found, where)
    public = set(raw.folds) == {"train", "validation", "test"}
    made = node_level(raw, where, split=split if public or split == "public" else "random", seed=seed, normalize=normalize,
                      undirected=undirected, paths=paths)
    return replace(made, schema={**made.schema, "target": target, "keep": keep, "paths": [*paths]}) if paths else made


def _from_file(path: Path, features: Path | None, target: str) -> Any:
    if (path / "x.npy").exists():
        return readers.mapped(path)
    if path.is_dir():
        for name in ("edges.csv", "features.csv"):
            if not (path / name).exists():
                raise DataError(f"{path} should hold edges.csv and features.csv, or x.npy and edge_index.npy, or NAME_A.txt "
                                f"and NAME_graph_indicator.txt; there is no {name}")
        return readers.table(path / "edges.csv", path / "features.csv", target)
    if path.suffix in (".pt", ".npz"):
        return readers.pt(path) if path.suffix == ".pt" else readers.npz(path)
    if features is None:
        raise DataError(f"{path}: an edge list needs the features of its nodes.\n"
                        f"  Try: data.features=FILE.csv; or a .pt or .npz file")
    if not features.is_file():
        raise DataError(f"there is no file {features} (data.features)")
    return readers.table(path, features, target)
