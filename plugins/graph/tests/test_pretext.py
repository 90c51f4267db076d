"""Pretext tasks: each answer against a plain search."""
import networkx as nx
import pytest
import torch

from ssl_core import pretrain
from ssl_core.objectives.regression import MSE
from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.methods.pretext import (
    TASKS,
    AttributeMask,
    CentreDistance,
    Degree,
    EdgeMask,
    PairDistance,
    PairSimilarity,
    Same,
    principal,
)
from ssl_graph.methods.selftask import SelfTask

N = 60


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(N, 8), torch.randint(N - 2, (2, 70)), where="test")  # two nodes are alone


@pytest.fixture
def hops(graph):
    plain = nx.Graph(graph.edge_index.T.tolist())
    plain.add_nodes_from(range(N))
    return dict(nx.all_pairs_shortest_path_length(plain))


@pytest.mark.parametrize("name", TASKS)
def test_answers_fit_the_nodes_and_the_graph_stays_as_it_was(name, graph):
    x, edges = graph.x.clone(), graph.edge_index.clone()
    task = TASKS[name]()
    question = task(graph)
    assert question.answers.shape == (question.nodes.shape[-1], task.outputs)
    assert question.answers.isfinite().all() and question.graph.num_nodes == N
    assert 0 <= question.nodes.min() and question.nodes.max() < N
    if question.classes:
        assert (question.answers.sum(dim=1) == 1).all()
    assert torch.equal(graph.x, x) and torch.equal(graph.edge_index, edges)


def test_degrees(graph):
    answers = Degree((1, 3))(graph).answers.argmax(dim=1)
    size = torch.bincount(graph.edge_index[0], minlength=N)
    assert answers.tolist() == [0 if d <= 1 else 1 if d <= 3 else 2 for d in size]


def test_masked_edges_are_gone_in_both_directions_and_drawn_anew(graph):
    """One mask was drawn for the whole training."""
    known, seen = {tuple(e) for e in graph.edge_index.T.tolist()}, []
    for _ in range(2):
        question = EdgeMask(0.3)(graph)
        left = {tuple(e) for e in question.graph.edge_index.T.tolist()}
        for (i, j), answer in zip(question.nodes.T.tolist(), question.answers.argmax(dim=1).tolist(), strict=True):
            assert ((i, j) in known) == bool(answer) and (i, j) not in left and (j, i) not in left and i != j
        assert len(known) - len(left) == 2 * int(question.answers[:, 1].sum())
        seen.append(left)
    assert seen[0] != seen[1]


def test_masked_attributes(graph):
    question = AttributeMask(0.5, outputs=3)(graph)
    assert not question.graph.x[question.nodes].any() and question.graph.x.any(dim=1).sum() == N - len(question.nodes)
    centred = graph.x - graph.x.mean(dim=0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    plain = u[:, :3] * N**0.5
    found = principal(graph.x, 3)
    torch.testing.assert_close(found.abs(), plain.abs(), atol=1e-3, rtol=1e-3)
    assert torch.equal(question.answers, found[question.nodes])
    assert principal(graph.x, 12).shape == (N, 12)


def test_pair_distances(graph, hops):
    question = PairDistance(pairs=20, sources=40)(graph)
    classes = question.answers.argmax(dim=1)
    for (i, j), k in zip(question.nodes.T.tolist(), classes.tolist(), strict=True):
        assert min(hops[j].get(i, 99), 4) == k + 1
    assert torch.bincount(classes).tolist() == [20] * 4


def test_centre_distances(graph, hops):
    answers = CentreDistance(4)(graph).answers
    for column in answers.T:
        centre = int(column.argmax())
        assert column[centre] == 1
        for node in range(N):
            assert float(column[node]) == pytest.approx(1 / (1 + hops[centre][node]) if node in hops[centre] else 0)
    assert len(set(answers.argmax(dim=0).tolist())) == 4


def test_pair_similarities(graph):
    question = PairSimilarity(nodes=10, pairs=2)(graph)
    unit = torch.nn.functional.normalize(graph.x)
    i, j = question.nodes
    torch.testing.assert_close(question.answers[:, 0], (unit[i] * unit[j]).sum(dim=1))
    assert (i != j).all()
    for node in i.unique():
        alike = (unit @ unit[node]).tolist()
        del alike[node]
        found, alike = sorted(question.answers[i == node, 0].tolist()), sorted(alike)
        assert found == pytest.approx(alike[:2] + alike[-2:], abs=1e-6)


def test_losses_are_weighted_and_heads_taught(graph):
    tasks = tuple(TASKS)
    method = SelfTask(GCN(8, 16), Same(), MSE(), tasks=tasks, weights=(0.5, 1.0, 2.0, 1.0, 1.0, 3.0))
    losses = method.step(graph)
    total = sum(weight * losses[name] for name, weight in method.weights.items())
    torch.testing.assert_close(losses["loss"], total)
    losses["loss"].backward()
    assert all(head.weight.grad.any() for head in method.heads.values())


def test_weights_are_the_papers_unless_given():
    method = SelfTask(GCN(8, 16), Same(), MSE(), tasks=("degree", "attribute-mask", "edge-mask"))
    assert method.weights == {"degree": 0.05, "attribute-mask": 1.0, "edge-mask": 0.1}  # 5, 100 and 10 in the paper


def test_questions_alone_do_not_collapse_on_cora(shared, tmp_path):
    """The paper's weight decay outweighs them where no cross-entropy is beside them: rank 3, k-NN as good as chance."""
    run = pretrain("graph", "selftask", "cora", quiet=True, out=tmp_path / "run", epochs=30, probe="knn",
                   **{"data.root": str(shared)})
    assert run.result["verdict"] == "healthy" and run.result["rankme"] > 8, run.result["reason"]


@pytest.mark.parametrize(("options", "said"), [
    ({"tasks": ("degrees",)}, "did you mean 'degree'"), ({"tasks": ()}, "one or more"),
    ({"weights": (1.0,)}, "as many weights")])
def test_options_are_checked(options, said):
    with pytest.raises(ValueError, match=said):
        SelfTask(GCN(8, 16), Same(), MSE(), **options)
