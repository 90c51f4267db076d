"""Graphs with nodes of several kinds: what joins the nodes to embed, PyG's `HeteroData`, bad input."""
import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import ToUndirected

from ssl_core import DataError, pretrain
from ssl_graph import data
from ssl_graph.graphs import relation
from ssl_graph.meta_paths import MetaPath, heterogeneous

PAPERS, AUTHORS, TAGS = 60, 12, 4


def library(labels=True):
    """Papers with authors (who have features) and tags (which have none), and papers that cite papers."""
    draw = torch.Generator().manual_seed(0)
    held = HeteroData()
    held["paper"].x = torch.rand(PAPERS, 6, generator=draw)
    held["author"].x, held["tag"].num_nodes = torch.rand(AUTHORS, 3, generator=draw), TAGS
    if labels:
        held["paper"].y = torch.arange(PAPERS) % TAGS
    held["paper", "by", "author"].edge_index = torch.stack([torch.arange(PAPERS), torch.arange(PAPERS) % AUTHORS])
    held["tag", "of", "paper"].edge_index = torch.stack([torch.arange(PAPERS) % TAGS, torch.arange(PAPERS)])
    held["paper", "cites", "paper"].edge_index = torch.randint(PAPERS, (2, 80), generator=draw)
    held["author", "knows", "author"].edge_index = torch.randint(AUTHORS, (2, 20), generator=draw)
    return held


def test_ways_over_other_kinds_and_edges_of_their_own():
    held = library()
    found = data.read(held, target="paper", keep=5)
    (graph,) = found.items
    assert found.size == PAPERS and found.facts["classes"] == TAGS
    assert found.facts["relations"] == 3 and found.facts["context_features"] == (3, 6, 6)
    author, tag, cited = (relation(graph, i).edge_index for i in range(3))
    assert (author[0] % AUTHORS == author[1] % AUTHORS).all() and author.shape[1] == PAPERS * (PAPERS // AUTHORS - 1)
    assert (tag[0] % TAGS == tag[1] % TAGS).all() and 5 * PAPERS <= tag.shape[1] < PAPERS * (PAPERS // TAGS - 1)
    pairs = {(i, j) for i, j in held["paper", "cites", "paper"].edge_index.T.tolist() if i != j}
    assert {tuple(pair) for pair in cited.T.tolist()} == pairs | {(j, i) for i, j in pairs}
    links, features = graph.contexts[1]  # tags have no features: the mean of their papers'
    assert torch.equal(links[0], links[1] % TAGS)
    torch.testing.assert_close(features[1], held["paper"].x[torch.arange(PAPERS) % TAGS == 1].mean(dim=0))
    assert torch.equal(graph.contexts[0][1], held["author"].x) and torch.equal(graph.contexts[2][1], held["paper"].x)


def test_mirrored_edges_count_once():
    plain, doubled = (data.read(held, keep=5).items[0] for held in (library(), ToUndirected()(library())))
    assert torch.equal(plain.edge_type, doubled.edge_type) and torch.equal(plain.edge_index, doubled.edge_index)
    assert [links.shape for links, _ in plain.contexts[:2]] == [links.shape for links, _ in doubled.contexts[:2]]


def test_folds_of_the_targets_are_theirs():
    held = library()
    for fold, start in (("train", 0), ("val", 20), ("test", 40)):
        held["paper"][f"{fold}_mask"] = (torch.arange(PAPERS) >= start) & (torch.arange(PAPERS) < start + 20)
    found = data.read(held, split="public")
    assert found.folds["validation"].tolist() == list(range(20, 40))


def saved(held, path, kind):
    """As `torch.save` and as PyG's own data sets (DBLP, IMDB) do."""
    torch.save(held if kind == "itself" else (held.to_dict(), None, HeteroData), path)
    return path


@pytest.mark.parametrize("kind", ["itself", "a data set of PyG"])
def test_files(tmp_path, kind):
    there, here = data.read(saved(library(), tmp_path / "a.pt", kind), keep=5), data.read(library(), keep=5)
    assert there.fingerprint == here.fingerprint and there.size == PAPERS


@pytest.mark.parametrize("method, options", [
    ("meow", {"encoder": "context-gcn", "method.clusters": (5,)}),
    ("gcool", {"encoder": "multiplex", "augmentation": "relations"}), ("grace", {})])
def test_methods_train_on_a_file_of_ones_own(tmp_path, method, options):
    path = saved(library(), tmp_path / "mine.pt", "itself")
    run = pretrain("graph", method, str(path), out=tmp_path / "run", epochs=3, quiet=True, probe="linear",
                   **{"data.target": "paper", "data.keep": 5, "encoder.width": 8} | options)
    assert run.result["loss"] is not None and 0 <= run.result["scores"]["linear"] <= 1


def test_other_graphs_are_embedded_as_the_encoders_own_was(tmp_path):
    """An encoder is used on a graph with other edges besides, in another order, and without labels."""
    run = pretrain("graph", "meow", library(), out=tmp_path / "run", epochs=1, quiet=True, probe="", encoder={"width": 8},
                   **{"data.keep": 5, "data.normalize": True, "method.clusters": (5,)})
    other, more = library(labels=False), HeteroData()
    more["tag"].num_nodes, more["author"].x, more["paper"].x = TAGS, other["author"].x, other["paper"].x
    more["paper", "likes", "author"].edge_index = other["paper", "by", "author"].edge_index
    for ends in (("paper", "cites", "paper"), ("tag", "of", "paper"), ("paper", "by", "author")):
        more[ends].edge_index = other[ends].edge_index
    torch.testing.assert_close(torch.as_tensor(run.embed(more)), torch.as_tensor(run.embed(library())))
    del more["tag", "of", "paper"]
    with pytest.raises(DataError, match=r"joined over tag \(of\); here they are joined over author \(likes\)"):
        run.embed(more)


@pytest.mark.parametrize("change, options, words", [
    (lambda held: None, {"target": "papers"}, ["paper, author, tag", "did you mean 'paper'", "data.target=KIND"]),
    (lambda held: held["paper"].pop("y"), {}, ["which of them", "data.target=KIND"]),
    (lambda held: held["paper"].pop("x"), {}, ["kind paper have no features"]),
    (lambda held: None, {"target": "tag"}, ["kind tag have no features"]),
    (lambda held: held["paper"].update({"y": torch.zeros(5)}), {}, ["5 labels for 60 nodes"]),
    (lambda held: held["author"].update({"x": torch.full((AUTHORS, 2), torch.nan)}), {}, ["author (by)", "NaN"]),
    (lambda held: held["paper", "by", "author"].update({"edge_index": torch.tensor([[0, 1], [0, 99]])}), {},
     ["author (by)", "link 1", "context node 99", "there are 12"]),
    (lambda held: held["tag", "of", "paper"].update({"edge_index": torch.tensor([[0, 9], [0, 1]])}), {},
     ["tag (of)", "context node 9", "there are 4"]),
    (lambda held: held["tag", "of", "paper"].update({"edge_index": torch.tensor([[0, 1], [0, 99]])}), {},
     ["tag (of)", "target node 99", "there are 60"]),
    (lambda held: held["tag", "of", "paper"].update({"edge_index": torch.zeros(3, 7)}), {},
     ["tag of paper", "(2, M)", "(3, 7)"])])
def test_bad_typed_graphs(change, options, words):
    held = library()
    change(held)
    with pytest.raises(DataError) as error:
        data.read(held, **options)
    assert all(word in str(error.value) for word in words), error.value


def test_how_many_to_keep_is_checked():
    with pytest.raises(ValueError, match="keep should be 1 or more, got 0"):
        data.read(library(), keep=0)


def test_nodes_that_nothing_joins():
    held = HeteroData()
    held["paper"].x = torch.rand(5, 2)
    with pytest.raises(DataError, match="no edge leads to"):
        data.read(held, target="paper")


def test_a_sampler_cannot_cut_kinds():
    with pytest.raises(DataError, match=r"several kinds.*\n.*data\.sampler=none"):
        data.read(library(), sampler="clusters")


@pytest.mark.parametrize("change, words", [
    ({"links": [[0, 1], [0, 9]]}, ["mine, over tags: link 1 names target node 9", "there are 4"]),
    ({"links": [[0, 7], [0, 1]]}, ["mine, over tags: link 1 names context node 7", "there are 3"]),
    ({"links": [[0, -1], [0, 1]]}, ["names context node -1"]),
    ({"context": np.full((3, 2), np.nan)}, ["over tags", "NaN"]),
    ({"x": np.full((4, 2), np.inf)}, ["mine, over tags", "infinite"])])
def test_bad_heterogeneous_graphs(change, words):
    held = {"links": [[0, 1], [0, 1]], "context": np.ones((3, 2)), "x": np.ones((4, 2), np.float32)} | change
    with pytest.raises(DataError) as error:
        heterogeneous(held["x"], {"over tags": MetaPath(np.array(held["links"]), held["context"], 2)}, "mine")
    assert all(word in str(error.value) for word in words), error.value


def test_acm_with_authors_and_subjects_is_trained_on(shared, tmp_path):
    graph = data.acm(root=shared, contexts=True, keep=(5, 5)).items[0]
    (authors, about), (subjects, one_hot) = graph.contexts
    assert about.shape[0] > int(authors[0].max()) and one_hot.shape[0] == int(subjects[0].max()) + 1
    assert int(torch.cat([authors[1], subjects[1]]).max()) == 4018 and graph.num_nodes == 4019
    asked = {"data.root": str(shared), "data.keep": (5, 5), "method.clusters": (10,), "epochs": 1, "probe": "linear"}
    run = pretrain("graph", "meow", "acm", quiet=True, out=tmp_path / "run", baselines=False, encoder={"width": 8}, **asked)
    assert run.result["scores"]["linear"] > 0.34 and run.result["loss"] > 0


@pytest.mark.parametrize("name, content, words", [
    ("pa.txt", "0\t1\nx\t2\n", ["pa.txt", "should hold numbers"]),
    ("pa.txt", "0\t1\t2\n", ["pa.txt", "2 numbers a line, has 3"]),
    ("ps.txt", "5000 1\n", ["acm, subjects", "target node 5000", "4019"]),
    ("ps.txt", None, ["ps.txt", "cannot be read"]),
    ("labels.npy", "labels", ["labels.npy"])])
def test_bad_files_of_acm(shared, tmp_path, name, content, words):
    home = next(shared.rglob("p_feat.npz")).parent
    for path in home.iterdir():
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        data.acm(root=tmp_path, contexts=True)
    assert all(word in str(error.value) for word in words), error.value
