"""Reading graphs: every format, and every kind of bad input with its message."""
import io
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.data import Data as Graph

from ssl_core import DataError, pretrain
from ssl_graph import data, readers
from ssl_graph.graphs import checked


def test_digits_need_no_file():
    found = data.digits()
    assert found.size == 1797 and found.facts == {"in_features": 64, "level": "node", "classes": 10}
    assert sorted(torch.cat(list(found.folds.values())).tolist()) == list(range(1797))
    graph = found.items[0]
    assert torch.equal(_codes(graph.edge_index), _codes(graph.edge_index.flip(0)))  # symmetric
    assert (graph.edge_index[0] != graph.edge_index[1]).all()


def _codes(edges):
    return (edges[0] * 10_000 + edges[1]).sort().values


@pytest.mark.parametrize("name, nodes, columns, edges, classes", [
    ("cora", 2708, 1433, 10556, 7), ("citeseer", 3327, 3703, 9104, 6), ("chameleon", 890, 2325, None, 5),
    ("actor", 7600, 932, None, 5)])
def test_public_sets(shared, name, nodes, columns, edges, classes):
    found = getattr(data, name)(root=shared)
    graph = found.items[0]
    assert graph.x.shape == (nodes, columns) and found.facts["classes"] == classes
    assert edges is None or graph.num_edges == edges
    public = getattr(data, name)(root=shared, split="public")
    assert not set(public.folds["train"].tolist()) & set(public.folds["test"].tolist())


def test_planetoid_public_split_is_the_papers(shared):
    folds = data.cora(root=shared, split="public").folds
    assert [len(folds[name]) for name in ("train", "validation", "test")] == [140, 500, 1000]
    labels = data.cora(root=shared).labels[folds["train"]]
    assert torch.bincount(labels).tolist() == [20] * 7


def test_planetoid_equals_pyg(shared, tmp_path):
    import shutil

    from torch_geometric.datasets import Planetoid
    for name in ("Cora", "CiteSeer"):
        shutil.copytree(shared / "planetoid" / name, tmp_path / name)
        theirs, ours = Planetoid(str(tmp_path), name)[0], getattr(data, name.lower())(root=shared, normalize=False)
        assert torch.equal(ours.items[0].x, theirs.x) and torch.equal(ours.labels, theirs.y)
        assert torch.equal(_codes(ours.items[0].edge_index), _codes(theirs.edge_index))


def test_reading_a_file_of_pyg_leaves_what_may_be_loaded_as_it_was(tmp_path):
    import torch_geometric.data
    graph = torch_geometric.data.Data(x=torch.eye(4), edge_index=torch.tensor([[0, 1], [1, 0]]))
    torch.save(graph, tmp_path / "graph.pt")
    before = torch.serialization.get_safe_globals()
    assert readers.pt(tmp_path / "graph.pt").x.shape == (4, 4)
    assert set(torch.serialization.get_safe_globals()) == set(before)  # a list whose order is a set's


def test_amazon_layout(shared):
    raw = readers.npz(shared / "gnn_benchmark_npz" / "cora.npz")
    found = data.node_level(raw, "cora")
    assert found.size == 2708 and found.facts["classes"] == 7


def test_random_split_is_10_10_80_and_follows_the_seed():
    labels = torch.arange(1000) % 3
    first, again, other = (data.folds(labels, {}, "random", seed, "x") for seed in (0, 0, 1))
    assert [len(first[f]) for f in ("train", "validation", "test")] == [100, 100, 800]
    assert torch.equal(first["test"], again["test"]) and not torch.equal(first["test"], other["test"])


def test_acm_is_multiplex(shared):
    found = data.acm(root=shared)
    graph = found.items[0]
    assert found.facts["relations"] == 2 and set(graph.edge_type.tolist()) == {0, 1}
    assert graph.num_nodes == 4019 and len(found.folds["train"]) == 60
    assert (graph.edge_index[1].diff() >= 0).all()
    authors = data.acm(root=shared, relations=("authors",), normalize=False)
    (few,) = authors.items
    assert authors.facts["relations"] == 1 and few.num_edges == int((graph.edge_type == 0).sum())
    assert torch.equal(few.x, (graph.x > 0).float())
    with pytest.raises(DataError, match="both with data.contexts"):
        data.acm(root=shared, relations=("authors",), contexts=True)
    with pytest.raises(DataError, match="one or both of authors, subjects"):
        data.acm(root=shared, relations=())


@pytest.mark.parametrize("name, graphs, columns", [("mutag", 188, 7), ("enzymes", 600, 21), ("proteins", 1113, 4)])
def test_tu_collections(shared, name, graphs, columns):
    found = getattr(data, name)(root=shared)
    batch = next(iter(found.items))
    assert found.size == graphs and batch.x.shape[1] == columns
    assert found.raw(batch).shape == (min(128, graphs), columns)


def test_user_formats(tmp_path):
    torch.manual_seed(0)
    x, edges, y = torch.rand(20, 4), torch.randint(20, (2, 60)), torch.arange(20) % 3
    torch.save(Graph(x=x, edge_index=edges, y=y), tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", x=x, edge_index=edges, y=y)
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "edges.csv").write_text("source,target\n" + "\n".join(f"{i},{j}" for i, j in edges.T.tolist()))
    (folder / "features.csv").write_text("a,b,c,d,kind\n" + "\n".join(
        ",".join([*(f"{v!r}" for v in row), "pqr"[k]]) for row, k in zip(x.tolist(), y.tolist(), strict=True)))
    graphs = [data.read(tmp_path / "a.pt"), data.read(str(tmp_path / "a.npz")), data.read(Graph(x=x, edge_index=edges, y=y)),
              data.read(folder, target="kind"),
              data.read(folder / "edges.csv", features=folder / "features.csv", target="kind")]
    assert len({found.fingerprint for found in graphs}) == 1
    assert all(torch.equal(found.labels, y) for found in graphs)


def test_masks_of_the_file_are_its_public_split():
    mask = torch.zeros(3, 10, dtype=torch.bool)
    mask[0, :2], mask[1, 2:4], mask[2, 4:] = True, True, True
    graph = Graph(x=torch.rand(10, 2), edge_index=torch.randint(10, (2, 20)), y=torch.arange(10) % 2,
                  train_mask=mask[0], val_mask=mask[1], test_mask=mask[2])
    folds = data.read(graph, split="public").folds
    assert [folds[name].tolist() for name in ("train", "validation", "test")] == [[0, 1], [2, 3], [4, 5, 6, 7, 8, 9]]


GOOD, EDGES = torch.rand(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])


@pytest.mark.parametrize("x, edges, words", [
    (GOOD, torch.tensor([[0, 9], [1, 2]]), ["edge 1", "(9, 2)", "4 nodes"]),
    (GOOD, torch.tensor([[0, -1], [1, 2]]), ["edge 1", "(-1, 2)"]),
    (GOOD.clone().index_fill_(0, torch.tensor([2]), float("nan")), EDGES, ["NaN", "node 2, column 0", "Try"]),
    (GOOD.clone().index_fill_(1, torch.tensor([1]), float("inf")), EDGES, ["infinite", "node 0, column 1"]),
    (torch.zeros(0, 3), torch.zeros(2, 0), ["empty"]),
    (GOOD, EDGES.T, ["(2, E)", "(3, 2)"]),
])
def test_bad_graphs_are_named(x, edges, words):
    with pytest.raises(DataError) as error:
        checked(x, edges, where="mine.npz")
    assert all(word in str(error.value) for word in ["mine.npz", *words])


def test_isolated_nodes_zero_columns_loops_and_doubles_work():
    x = torch.rand(60, 5)
    x[:, 2] = 0
    graph = Graph(x=x, edge_index=torch.tensor([[0, 0, 1, 1, 3], [0, 1, 0, 2, 3]]), y=torch.arange(60) % 2)
    found = data.read(graph)
    assert found.items[0].edge_index.T.tolist() == [[1, 0], [0, 1], [2, 1], [1, 2]]
    run = pretrain("graph", "gcool", graph, epochs=2, quiet=True, encoder={"width": 8})
    assert run.result["verdict"] in ("healthy", "collapsed") and run.result["loss"] is not None


@pytest.mark.parametrize("content, words", [
    (b"not an archive", ["cannot be read as .npz"]), (None, ["holds a, b", "edge_index"])])
def test_bad_npz(tmp_path, content, words):
    path = tmp_path / "x.npz"
    path.write_bytes(content) if content else np.savez(path, a=1, b=2)
    with pytest.raises(DataError) as error:
        readers.npz(path)
    assert all(word in str(error.value) for word in ["x.npz", *words])


class Hostile:
    def __reduce__(self):
        return (open, ("was-here", "w"))


def test_no_file_runs_code(tmp_path):
    (tmp_path / "ind.cora.x").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DataError, match="no array"):
        readers.unpickled(tmp_path / "ind.cora.x")
    torch.save(Hostile(), tmp_path / "a.pt")
    with pytest.raises(DataError, match="opened safely"):
        readers.pt(tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", x=np.array([Hostile()], dtype=object), edge_index=np.zeros((2, 0)))
    with pytest.raises(DataError, match="Try"):
        readers.npz(tmp_path / "a.npz")
    assert not (tmp_path / "was-here").exists()


def test_pickles_of_arrays_open(tmp_path):
    for protocol in (3, 4):
        (tmp_path / "a").write_bytes(pickle.dumps(np.arange(6).reshape(2, 3), protocol=protocol))
        assert readers.unpickled(tmp_path / "a").tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "a").write_bytes(io.BytesIO(b"rubbish").getvalue())
    with pytest.raises(DataError, match="no pickle of arrays"):
        readers.unpickled(tmp_path / "a")


@pytest.mark.parametrize("edges, features, words", [
    ("0,1\n1,x\n", "a\n1\n2\n", ["edges.csv, line 2", "1,x"]),
    ("0,1\n", "a,b\n1,2\n3\n", ["features.csv, line 3", "1 cells, the header has 2"]),
    ("0,1\n", "a\n1\nhello\n", ["features.csv", "numbers", "hello"]),
    ("0,1\n", "a\n", ["features.csv", "header and one line"]),
    ("0,1\n", "a\n1\n\n", ["features.csv, line 3"]),
])
def test_bad_tables(tmp_path, edges, features, words):
    (tmp_path / "edges.csv").write_text(edges)
    (tmp_path / "features.csv").write_text(features)
    with pytest.raises(DataError) as error:
        data.read(tmp_path)
    assert all(word in str(error.value) for word in words)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(DataError, match="no features.csv"):
        (tmp_path / "edges.csv").write_text("0,1\n")
        data.read(tmp_path)
    with pytest.raises(DataError, match=r"data\.features"):
        data.read(tmp_path / "edges.csv")
    with pytest.raises(DataError, match=r"data\.download=true.*data\.root"):
        data.cora(root=tmp_path)
    with pytest.raises(DataError, match="has no public split"):
        data.read(Graph(x=GOOD, edge_index=EDGES, y=torch.tensor([0, 1, 0, 1])), split="public")
    with pytest.raises(DataError, match="3 labels for 4 nodes"):
        data.read(Graph(x=GOOD, edge_index=EDGES, y=torch.tensor([0, 1, 0])))
    with pytest.raises(DataError, match="is a dict"):
        data.read({"x": GOOD})
