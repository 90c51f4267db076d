"""Collections of graphs: read as they are meant, and what is wrong with them named."""
import pytest
import torch
from torch_geometric.data import Data as Graph, InMemoryDataset

from ssl_core import ConfigError, DataError, pretrain
from ssl_graph import data
from ssl_graph.many import listed, tu

FILES = {"A": "1,2\n2,1\n4,5\n", "graph_indicator": "1\n1\n1\n2\n2\n", "node_labels": "0\n2\n0\n1\n1\n",
         "node_attributes": "0.5\n1\n2\n3\n4\n", "graph_labels": "-1\n1\n"}


def written(folder, **changed):
    folder.mkdir(exist_ok=True)
    for name, text in (FILES | changed).items():
        if text is not None:
            (folder / f"MINE_{name}.txt").write_text(text)
    return folder


def some(count=30, columns=3):
    g = torch.Generator().manual_seed(0)
    return [Graph(x=torch.rand(4 + i % 3, columns, generator=g), edge_index=torch.randint(4, (2, 8), generator=g),
                  y=torch.tensor([i % 2])) for i in range(count)]


def alike(graphs, others):
    return len(graphs) == len(others) and all(torch.equal(a.x, b.x) and torch.equal(a.edge_index, b.edge_index)
                                              for a, b in zip(graphs, others, strict=True))


def test_text_files_by_hand(tmp_path):
    (first, second), labels = tu(written(tmp_path / "a"), "MINE")
    assert first.x.tolist() == [[0.5, 1, 0, 0], [1, 0, 0, 1], [2, 1, 0, 0]]
    assert second.x.tolist() == [[3, 0, 1, 0], [4, 0, 1, 0]]
    assert first.edge_index.tolist() == [[1, 0], [0, 1]] and second.edge_index.tolist() == [[1, 0], [0, 1]]
    assert labels.tolist() == [0, 1] and not labels.is_floating_point()
    _, quantities = tu(written(tmp_path / "b", graph_attributes="0.5\n2.5\n"), "MINE")
    assert quantities.tolist() == [0.5, 2.5]
    bare = dict.fromkeys(("node_labels", "node_attributes", "graph_labels"))
    graphs, labels = tu(written(tmp_path / "c", A="", **bare), "MINE")
    assert labels is None and graphs[1].x.tolist() == [[1], [1]] and graphs[1].num_edges == 0


@pytest.mark.parametrize("name", ["MUTAG", "PROTEINS", "ENZYMES"])
def test_public_collections_equal_pyg(shared, name):
    from torch_geometric.io import read_tu_data
    folder = next(shared.rglob(f"{name}_A.txt")).parent
    whole, slices, _ = read_tu_data(str(folder), name)
    ends, edges = slices["x"], slices["edge_index"]
    graphs, labels = tu(folder, name)
    assert torch.equal(labels, whole.y) and len(graphs) == len(ends) - 1
    for i in range(0, len(graphs), 7):
        assert torch.equal(graphs[i].x, whole.x[ends[i]: ends[i + 1]])
        theirs = whole.edge_index[:, edges[i]: edges[i + 1]]
        assert set(map(tuple, graphs[i].edge_index.T.tolist())) == set(map(tuple, theirs.T.tolist()))


@pytest.mark.parametrize("changed, words", [
    ({"A": "1,2\n2,9\n"}, ["MINE_A.txt, line 2", "from 2 to 9", "5 nodes, numbered from 1"]),
    ({"A": "0,1\n"}, ["MINE_A.txt, line 1", "from 0 to 1"]),
    ({"A": "1,2\n3,4\n"}, ["MINE_A.txt, line 2", "two graphs"]),
    ({"A": "1,2\n3,x\n"}, ["MINE_A.txt", "should hold numbers", "'x'"]),
    ({"A": "1,2,3\n"}, ["MINE_A.txt", "2 numbers a line, has 3"]),
    ({"A": "1,2\n1.5,2\n"}, ["MINE_A.txt, line 2", "whole numbers", "1.5"]),
    ({"graph_indicator": "1\n1\n3\n3\n3\n"}, ["indicator.txt, line 3", "graph after graph"]),
    ({"graph_indicator": "2\n1\n1\n2\n2\n"}, ["indicator.txt, line", "from 1"]),
    ({"graph_indicator": "0\n0\n0\n1\n1\n"}, ["indicator.txt, line 1", "from 1"]),
    ({"graph_indicator": ""}, ["indicator.txt, line 1"]),
    ({"node_labels": "0\n1\n"}, ["node_labels.txt has 2 lines", "5"]),
    ({"node_attributes": "0\nnan\n1\n1\n1\n"}, ["node_attributes.txt, line 2", "finite numbers, got [nan]"]),
    ({"node_labels": "0\n1\n9e15\n1\n1\n"}, ["node_labels.txt", "GiB are allowed"]),
    ({"node_labels": "0\n1\n1e300\n1\n1\n"}, ["node_labels.txt, line 3", "whole numbers"]),
    ({"graph_labels": "1\n"}, ["graph_labels.txt has 1 lines", "2"])])
def test_bad_text_files(tmp_path, changed, words):
    with pytest.raises(DataError) as error:
        data.read(written(tmp_path / "a", **changed))
    assert all(word in str(error.value) for word in words), error.value


class Stored(InMemoryDataset):
    def __init__(self, graphs):
        super().__init__()
        self.data, self.slices = self.collate(graphs)


def test_lists_and_files_of_pyg_hold_many_graphs(tmp_path):
    graphs = some()
    torch.save(graphs, tmp_path / "list.pt")
    InMemoryDataset.save(graphs, tmp_path / "stored.pt")
    ours, labels = listed(graphs, "mine")
    for source in (graphs, tuple(graphs), Stored(graphs), tmp_path / "list.pt", tmp_path / "stored.pt"):
        found = data.read(source)
        assert alike(found.train.dataset, ours) and torch.equal(found.labels, labels) and found.size == 30
    found = data.read(graphs, batch_size=7)
    assert [batch.num_graphs for batch in found.train] == [7, 7, 7, 7, 2] and len(found.folds["train"]) == 24
    bare = data.read([Graph(edge_index=graph.edge_index, num_nodes=graph.num_nodes) for graph in graphs])
    assert bare.labels is None and bare.facts["in_features"] == 1


@pytest.mark.parametrize("spoil, words", [
    (lambda g: g.clear(), ["empty"]),
    (lambda g: g.insert(3, "graph"), ["graph 3 is a str", "Data"]),
    (lambda g: g.__setitem__(2, Graph(x=torch.rand(4, 5), edge_index=torch.zeros(2, 0))), ["graph 2 has 5 features", "has 3"]),
    (lambda g: g[4].__delattr__("y"), ["graph 4", "one label"]),
    (lambda g: g[1].__setattr__("y", torch.ones(3)), ["graph 1", "one label"]),
    (lambda g: g[5].__setattr__("edge_index", torch.tensor([[0], [77]])), ["graph 5", "(0, 77)"]),
    (lambda g: g[6].x.fill_(float("nan")), ["graph 6", "NaN"])])
def test_bad_lists(spoil, words):
    graphs = some()
    spoil(graphs)
    with pytest.raises(DataError) as error:
        data.read(graphs)
    assert all(word in str(error.value) for word in words), error.value


def test_a_sampler_is_for_one_graph():
    with pytest.raises(DataError, match=r"cuts one graph.*\n.*data\.batch_size"):
        data.read(some(), sampler="clusters")


def test_a_folder_of_ones_own_is_trained_on(tmp_path):
    count = 40
    folder = written(tmp_path / "a", A="".join(f"{2 * i + 1},{2 * i + 2}\n" for i in range(count)), node_attributes=None,
                     graph_indicator="".join(f"{i // 2 + 1}\n" for i in range(2 * count)),
                     node_labels="".join(f"{i // 2 % 2}\n" for i in range(2 * count)),
                     graph_labels="".join(f"{i % 2}\n" for i in range(count)))
    run = pretrain("graph", "graphcl", str(folder), epochs=2, quiet=True, out=tmp_path / "run", encoder={"width": 8})
    assert run.result["scores"]["linear"] == 1.0 and run.result["loss"] > 0


@pytest.mark.parametrize("encoder", ["gcn", "sage", "gat", "gin"])
@pytest.mark.parametrize("source, items", [("digits", 1797), (some(), 30)])
def test_every_encoder_learns_from_the_data_what_an_item_is(encoder, source, items):
    run = pretrain("graph", "grace", source, encoder=encoder, epochs=1, quiet=True, out="run", baselines=False)
    assert run.result["scores"]["linear"] > 0 and len(run.embed(source)) == items


def test_an_encoder_of_nodes_is_not_for_whole_graphs():
    nodes = Graph(x=torch.rand(40, 3), edge_index=torch.randint(40, (2, 90)), y=torch.arange(40) % 2)
    run = pretrain("graph", "grace", nodes, epochs=1, quiet=True, out="run", baselines=False, probe="")
    with pytest.raises(DataError, match="level: graph, the encoder takes node"):
        run.embed(some())


@pytest.mark.parametrize("method, source, error, message", [
    ("gcool", some(), ConfigError, "communities of the nodes of one graph, and items of these data are whole graphs"),
    ("d-sla", "digits", ConfigError, "tells whole graphs from edited copies, and items of these data are the nodes"),
    ("profsa", "digits", DataError, "molecules are needed.*\n.*data=chains"),
    ("s-molsearch", some(), DataError, "molecules are needed.*\n.*data=chains")])
@pytest.mark.parametrize("more", [{}, {"encoder": "gin"}])
def test_a_method_says_which_items_it_is_for(method, source, error, message, more):
    with pytest.raises(error, match=message):
        pretrain("graph", method, source, epochs=1, quiet=True, out="run", **more)


def test_graphs_of_one_class_do_not_come_together():
    """GraphCL's official loader of training graphs does not shuffle them, and files are sorted by class."""
    graphs = some(60)
    for i, graph in enumerate(graphs):
        graph.x[:] = i
    found = data.read(graphs, batch_size=20)
    torch.manual_seed(0)
    first, second = ([batch.x[:, 0].unique().tolist() for batch in found.train] for _ in range(2))
    assert first != second and all(max(batch) - min(batch) > 20 for batch in first)
