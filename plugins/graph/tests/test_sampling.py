"""Mini-batches of one graph: every node once, true edges only, uniform draws."""
import numpy as np
import pytest
import torch

from ssl_core import ConfigError, Data, DataError, pretrain
from ssl_core.batches import Batches
from ssl_core.build import build, options
from ssl_graph import data, readers
from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.sampling import Clusters, Neighbourhoods, Neighbours, partition

N = 200


@pytest.fixture
def graph():
    torch.manual_seed(0)
    made = checked(torch.rand(N, 4), torch.randint(N - 5, (2, 800)), where="test")  # some nodes are alone
    made.edge_type = torch.arange(made.num_edges) % 3
    return made


def true_edges(graph):
    return {tuple(e): int(t) for e, t in zip(graph.edge_index.T.tolist(), graph.edge_type.tolist(), strict=True)}


def whole(graph, batch):
    """The edges of a batch by the names that its nodes have in the graph."""
    return batch.nodes[batch.edge_index].T.tolist()


@pytest.mark.parametrize("induced", [True, False])
def test_neighbourhoods_hold_each_seed_once_and_true_edges(graph, induced):
    known, loader, seeds = true_edges(graph), Neighbourhoods(graph, 32, (3, 2), induced), []
    batches = list(loader)
    assert len(batches) == len(loader) == 7
    for i, batch in enumerate(batches):
        count = 32 if i < 6 else N % 32
        seeds += batch.nodes[:count].tolist()
        assert len(set(batch.nodes.tolist())) == batch.num_nodes
        assert torch.equal(batch.x, graph.x[batch.nodes])
        edges = [tuple(e) for e in whole(graph, batch)]
        assert len(set(edges)) == len(edges) and all(e in known for e in edges)
        assert batch.edge_type.tolist() == [known[e] for e in edges]
        assert (batch.edge_index[1].diff() >= 0).all(), "sorted by target"
        if induced:
            inside = set(batch.nodes.tolist())
            assert len(edges) == sum(i in inside and j in inside for i, j in known)
        else:
            assert torch.bincount(batch.edge_index[1]).max() <= 3
    assert sorted(seeds) == list(range(N))
    assert (loader.place == -1).all()


def test_wide_fanouts_give_the_encoder_what_the_whole_graph_gives(graph):
    """With every neighbour drawn, seeds of a two-layer network see exactly what they see in the whole graph."""
    encoder = GCN(4, 8).eval()
    batch = Neighbourhoods(graph, 20, (500, 500, 500)).around(torch.arange(20))
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch).pooled[:20], encoder(graph).pooled[:20])


def test_neighbours_are_drawn_uniformly_and_without_repetition():
    graph = checked(torch.rand(9, 1), torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [0] * 8]), where="test", undirected=False)
    neighbours, counts = Neighbours(graph), torch.zeros(9)
    torch.manual_seed(0)
    target, at = neighbours.some(torch.zeros(4000, dtype=torch.long), 3)
    assert torch.bincount(target).tolist() == [3] * 4000
    drawn = neighbours.sources[at].view(4000, 3)
    assert all(len(set(row)) == 3 for row in drawn[:500].tolist())
    counts = torch.bincount(drawn.flatten(), minlength=9)[1:]
    assert (counts - 1500).abs().max() < 5 * (4000 * 3 / 8 * 5 / 8) ** 0.5
    triples = torch.bincount((1 << drawn).sum(dim=1))  # all 56 subsets are as likely
    assert (triples > 0).sum() == 56 and triples[triples > 0].max() < 130


def test_clusters_cover_the_graph_and_cut_few_edges(graph):
    side = 20
    grid = torch.arange(side * side).view(side, side)
    edges = torch.cat([torch.stack([grid[:, :-1].flatten(), grid[:, 1:].flatten()]),
                       torch.stack([grid[:-1].flatten(), grid[1:].flatten()])], dim=1)
    lattice = checked(torch.rand(side * side, 2), edges, where="test")
    loader = Clusters(lattice, clusters=16, together=4)
    batches = list(loader)
    assert len(batches) == len(loader) == 4
    assert sorted(torch.cat([batch.nodes for batch in batches]).tolist()) == list(range(side * side))
    member = partition(lattice, 16)
    source, target = lattice.edge_index
    assert (member[source] == member[target]).double().mean() > 0.6  # by chance: 1 / 16
    assert torch.bincount(member, minlength=16).min() > 0
    assert torch.bincount(partition(graph, 7), minlength=7).sum() == N


def test_partition_leaves_the_generator_alone(graph):
    before = torch.get_rng_state()
    assert torch.equal(partition(graph, 5, seed=3), partition(graph, 5, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_can_be_replayed(graph):
    for loader in (Neighbourhoods(graph, 50, (2, 2)), Clusters(graph, 10, 3)):
        batches = Batches(Data(train=loader, size=N).train, seed=1)
        first, second = ([batch.nodes for batch in batches] for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        batches.skip = 2
        assert torch.equal(next(iter(batches)).nodes, first[2])
        batches.epoch, batches.skip = 1, 0
        assert not torch.equal(next(iter(batches)).nodes, first[0])


def test_features_may_lie_in_a_file(graph, tmp_path):
    np.save(tmp_path / "x.npy", graph.x.numpy())
    held = graph.clone()
    held.x = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    batch = next(iter(Neighbourhoods(held, 10)))
    assert torch.equal(batch.x, graph.x[batch.nodes])


@pytest.mark.parametrize("load", [data.digits, data.cora, data.photo, data.wikics, data.acm, data.read])
def test_every_data_set_of_nodes_has_samplers(load):
    taken = options(load)
    assert [taken[name].default for name in ("sampler", "batch_size", "fanouts")] == ["none", 0, (10, 10)]
    with pytest.raises(ConfigError, match="clusters"):
        build("data", load, chosen={"sampler": "cluster"}, given={"source": "x"})


def test_a_sampler_changes_the_training_batches_only():
    plain, cut, drawn = (build("data", data.digits, chosen={"sampler": name, "batch_size": 300, "fanouts": [3]})[0]
                         for name in ("none", "clusters", "neighbours"))
    for made in (cut, drawn):
        assert made.fingerprint == plain.fingerprint and torch.equal(made.labels, plain.labels)
        assert all(torch.equal(made.folds[name], plain.folds[name]) for name in plain.folds)
        assert len(made.items) == 1 and torch.equal(made.items[0].x, plain.items[0].x)
    assert len(cut.train) == len(drawn.train) == 6  # 1,797 nodes
    assert {batch.num_nodes for batch in cut.train} != {1797}
    with pytest.raises(ValueError, match="batch_size"):
        data.digits(sampler="clusters", batch_size=-1)


def folder_of(path, graph):
    path.mkdir()
    np.save(path / "x.npy", graph.x.numpy())
    np.save(path / "edge_index.npy", graph.edge_index.numpy())
    np.save(path / "y.npy", np.arange(N) % 3)
    for name, fold in zip(("train", "validation", "test"), np.split(np.arange(N), [40, 80]), strict=True):
        np.save(path / f"{name}.npy", fold)
    return path


def test_a_folder_of_arrays_is_mapped_and_trained_on(graph, tmp_path):
    path = folder_of(tmp_path / "mine", graph)
    found = data.read(path, split="public", sampler="clusters", batch_size=50)
    (whole,) = found.items
    raw = readers.mapped(path)
    assert isinstance(raw.x, np.memmap)
    assert data.node_level(raw, "test").items[0].x.data_ptr() == raw.x.ctypes.data, "nothing was copied"
    assert torch.equal(whole.x, graph.x) and torch.equal(whole.edge_index, graph.edge_index)
    assert found.folds["validation"].tolist() == list(range(40, 80))
    run = pretrain("graph", "dgi", data=path, out=tmp_path / "run", quiet=True, epochs=1, probe="linear", baselines=False,
                   **{"data.sampler": "neighbours", "data.batch_size": 50, "data.split": "public", "encoder.width": 8})
    assert "linear" in run.result["scores"] and run.result["steps"] == 4


@pytest.mark.parametrize("name, content, words", [
    ("edge_index", None, ["no edge_index.npy"]), ("edge_index", b"rubbish", ["edge_index.npy", "no array"]),
    ("x", b"rubbish", ["x.npy", "no array"]), ("x", np.array([["a"]]), ["x.npy", "numbers"]),
    ("x", np.array([[object()]]), ["x.npy", "no array"]), ("x", np.full((N, 2), np.nan), ["NaN", "node 0"]),
    ("edge_index", np.full((2, 3), N), ["edge 0", "200 nodes"]), ("y", np.arange(3), ["3 labels for 200 nodes"]),
])
def test_bad_folders_of_arrays(graph, tmp_path, name, content, words):
    path = folder_of(tmp_path / "mine", graph) / f"{name}.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(DataError) as error:
        data.read(path.parent)
    assert all(word in str(error.value) for word in words)


def test_options_are_checked(graph):
    with pytest.raises(ValueError, match="1 or more"):
        Neighbourhoods(graph, fanouts=(3, 0))
    with pytest.raises(ValueError, match="together"):
        Clusters(graph, clusters=3, together=5)
