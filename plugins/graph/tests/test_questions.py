"""What is asked of nodes without their labels: hidden links, and regions of the graph."""
import numpy as np
import pytest
import torch
from torch_geometric.data import Data as Graph

from ssl_core import DataError, Run, pretrain
from ssl_graph import data
from ssl_graph.graphs import checked
from ssl_graph.questions import hide_links, predict_links, tell_regions


@pytest.fixture
def blocks():
    """Two blocks of 50 nodes, edges inside only."""
    torch.manual_seed(0)
    edges = torch.cat([torch.randint(50, (2, 300)), torch.randint(50, 100, (2, 300))], dim=1)
    return checked(torch.rand(100, 3), edges, where="test")


def test_links_are_hidden_and_strangers_are_strangers(blocks):
    links = hide_links(blocks, seed=1)
    whole = {tuple(e) for e in blocks.edge_index.T.tolist()}
    left = {tuple(e) for e in links.graph.edge_index.T.tolist()}
    asked = []
    for name, (pairs, labels) in links.folds.items():
        for (i, j), label in zip(pairs.T.tolist(), labels.tolist(), strict=True):
            asked.append((i, j))
            assert ((i, j) in whole) == bool(label) and i < j
            assert ((i, j) in left) == (bool(label) and name == "train")
        assert labels.double().mean() == 0.5
    assert len(set(asked)) == len(asked)
    assert len(left) == round(len(whole) / 2 * 0.85) * 2


def test_links_are_predicted_from_blocks_and_not_from_noise(blocks):
    links = hide_links(blocks)
    block = torch.cat([torch.tensor([1.0, -1.0]).repeat_interleave(50)[:, None], torch.randn(100, 3)], dim=1)
    assert predict_links(block, links)["link_auc"] > 0.65
    assert abs(predict_links(torch.randn(100, 4), links)["link_auc"] - 0.5) < 0.2


def test_regions_are_told_from_themselves_and_not_from_noise():
    member, folds = torch.arange(400) % 4, {}
    assert tell_regions(torch.nn.functional.one_hot(member).float(), member, folds)["partition"] == 1.0
    assert abs(tell_regions(torch.randn(400, 3), member, folds)["partition"] - 0.25) < 0.12
    given = dict(zip(("train", "validation", "test"), torch.arange(400).split([300, 50, 50]), strict=True))
    blind = torch.nn.functional.one_hot(member).float() * (torch.arange(400) < 350)[:, None]
    assert tell_regions(blind, member, given)["partition"] == pytest.approx(0.25, abs=0.1)  # scored on the test fold alone


def test_every_score_stands_beside_those_of_the_untrained_encoder_and_raw_features(tmp_path):
    asked = {"data.hidden_links": 0.3, "data.regions": 8}
    run = pretrain("graph", "grace", "digits", epochs=3, quiet=True, out=tmp_path / "run", probe="linear,clustering", **asked)
    for scores in (run.result["scores"], run.result["untrained"], run.result["raw"]):
        four = [scores[name] for name in ("linear", "nmi", "link_auc", "partition")]
        assert scores["four_tasks"] == pytest.approx(sum(four) / 4, abs=0.02) and all(0 < score < 1 for score in four)
    assert run.result["scores"]["link_auc"] > 0.8  # neighbours look alike
    again = Run.load(run.path).evaluate()
    assert again["scores"] == pytest.approx(run.result["scores"]) and again["raw"] == pytest.approx(run.result["raw"])


def test_graphs_without_labels_are_asked_too(tmp_path):
    plain = data.digits()
    np.savez(tmp_path / "bare.npz", x=plain.items[0].x, edge_index=plain.items[0].edge_index)
    run = pretrain("graph", "grace", str(tmp_path / "bare.npz"), epochs=1, quiet=True, out=tmp_path / "run",
                   **{"data.hidden_links": 0.15})
    assert set(run.result["scores"]) == set(run.result["raw"]) == {"link_auc"}
    assert Run.load(run.path).evaluate()["scores"] == pytest.approx(run.result["scores"])


def test_training_does_not_see_what_is_hidden():
    whole, cut = data.digits(), data.digits(hidden_links=0.3, seed=3)
    links = hide_links(whole.items[0], 3, 0.1, 0.2)
    assert torch.equal(cut.train[0].edge_index, links.graph.edge_index) and cut.items[0] is cut.train[0]
    assert cut.fingerprint != whole.fingerprint and whole.asks is None
    batches = data.digits(hidden_links=0.3, seed=3, sampler="clusters", batch_size=300).train
    assert sum(batch.num_edges for batch in batches) <= links.graph.num_edges


@pytest.mark.parametrize("wrong", [{"hidden_links": 0.6}, {"hidden_links": -0.1}, {"regions": 1}, {"regions": -2}])
def test_options_are_checked(wrong):
    with pytest.raises(ValueError, match="hidden_links should be"):
        data.digits(**wrong)


@pytest.mark.parametrize("nodes, edges", [(6, [[0, 1], [1, 2]]), (5, torch.combinations(torch.arange(5)).T.tolist())])
def test_graphs_with_too_few_links_or_all_of_them(nodes, edges):
    with pytest.raises(DataError, match=r"hidden_links=0\.15 needs links.*\n.*Try"):
        data.read(Graph(x=torch.rand(nodes, 2), edge_index=torch.tensor(edges)), hidden_links=0.15)


def test_many_graphs_and_many_relations_have_no_such_questions(shared):
    graphs = [Graph(x=torch.rand(4, 2), edge_index=torch.tensor([[0, 1], [1, 2]])) for _ in range(10)]
    for ask in (lambda: data.read(graphs, regions=2), lambda: data.acm(root=shared, hidden_links=0.1)):
        with pytest.raises(DataError, match="one graph with edges of one kind"):
            ask()
