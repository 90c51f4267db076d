"""Augmentations: what stays, what goes, and how often."""
import pytest
import torch
from torch_geometric.data import Data as Graph

from ssl_graph.augmentations import (
    Adaptive,
    Diffusion,
    Drop,
    DropNodes,
    Relations,
    Subgraph,
    degree,
    eigenvector,
    pagerank,
    unimportance,
)
from ssl_graph.graphs import checked

N = 200


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked((torch.rand(N, 30) < 0.1).float(), torch.randint(N, (2, 1500)), where="test")


ALL = [Drop(), Adaptive(), Adaptive(centrality="pagerank"), Adaptive(centrality="eigenvector"), DropNodes(), Subgraph(),
       Diffusion(steps=5)]


@pytest.mark.parametrize("augmentation", ALL, ids=lambda a: type(a).__name__)
def test_views_keep_nodes_and_leave_the_graph_alone(augmentation, graph):
    x, edges = graph.x.clone(), graph.edge_index.clone()
    torch.manual_seed(1)
    first = augmentation(graph)
    assert len(first) == 2 and all(view.num_nodes == N and view.x.shape == x.shape for view in first)
    assert torch.equal(graph.x, x) and torch.equal(graph.edge_index, edges)
    for view in first:
        assert (view.edge_index[1].diff() >= 0).all()  # still sorted by target
    torch.manual_seed(1)
    for a, b in zip(first, augmentation(graph), strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.edge_index, b.edge_index)


def test_drop_drops_its_shares(graph):
    view = Drop(edges=(0.3, 0.0), features=(0.0, 1.0))(graph)
    assert view[0].num_edges / graph.num_edges == pytest.approx(0.7, abs=0.05) and torch.equal(view[0].x, graph.x)
    assert view[1].num_edges == graph.num_edges and not view[1].x.any()


def test_adaptive_drops_unimportant_edges_more_often(graph):
    augmentation = Adaptive(edges=(0.3, 0.3), features=(0.2, 0.2))
    by_edge, by_column = augmentation.weights(graph)
    assert by_edge.mean().item() == pytest.approx(1, abs=1e-4) and by_column.mean().item() == pytest.approx(1, abs=1e-4)
    into = degree(graph)[graph.edge_index[1]]
    assert by_edge[into == into.max()].max() == 0 and by_edge[into == into.min()].min() == by_edge.max()
    kept = torch.stack([torch.isin(_codes(graph), _codes(augmentation(graph)[0])) for _ in range(200)]).double().mean(dim=0)
    expected = 1 - (0.3 * by_edge).clamp(max=0.7)
    assert (kept - expected).abs().max() < 0.17 and (kept - expected).mean().abs() < 0.01


def _codes(graph):
    return graph.edge_index[0] * N + graph.edge_index[1]


def test_an_all_zero_column_does_not_spoil_the_others(graph):
    """In the official code log 0 makes every weight NaN, so that all columns are dropped with the cap."""
    plain = Adaptive().weights(graph)[1]
    graph.x = torch.cat([graph.x, torch.zeros(N, 1)], dim=1)
    found = Adaptive().weights(graph)[1]
    assert found.isfinite().all() and found[-1] == 1
    torch.testing.assert_close(found[:-1], plain)


def test_trailing_isolated_nodes_have_a_centrality():
    """In the official code the vector is as long as the largest node number in an edge."""
    graph = checked(torch.rand(6, 3), torch.tensor([[0, 1], [1, 2]]), where="test")
    for centrality in (degree, pagerank, eigenvector):
        found = centrality(graph)
        assert found.shape == (6,) and found.isfinite().all()
    assert [v.num_nodes for v in Adaptive()(graph)] == [6, 6]


def test_regular_and_empty_graphs_drop_alike():
    assert torch.equal(unimportance(torch.full((5,), 3.0)), torch.ones(5))
    assert torch.equal(unimportance(torch.zeros(5)), torch.ones(5))


def test_centralities_against_networkx_like_definitions(graph):
    a = torch.zeros(N, N).index_put_((graph.edge_index[1], graph.edge_index[0]), torch.ones(graph.num_edges))
    out = a.sum(dim=0)
    google = 0.15 / N + 0.85 * torch.where(out > 0, a / out.clamp(min=1), 1 / N)
    values, vectors = torch.linalg.eig(google)
    leading = vectors[:, values.abs().argmax()].real
    torch.testing.assert_close(pagerank(graph) / N, leading / leading.sum(), rtol=1e-3, atol=1e-6)
    leading = torch.linalg.eigh(a).eigenvectors[:, -1].abs()
    torch.testing.assert_close(eigenvector(graph, 1000), leading, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("many", [0.0, 1.0])  # by inversion, by walking
def test_diffusion_is_the_sum_of_walks(graph, many, monkeypatch):
    monkeypatch.setattr("ssl_graph.augmentations.MANY", many)
    a = torch.zeros(N, N).index_put_((graph.edge_index[1], graph.edge_index[0]), torch.ones(graph.num_edges))
    root = a.sum(dim=1).clamp(min=1).rsqrt()
    t = root[:, None] * a * root
    exact = 0.2 * torch.linalg.inv(torch.eye(N) - 0.8 * t)
    made = Diffusion(teleport=0.2, steps=100, neighbours=N).diffused(graph)
    found = torch.zeros(N, N).index_put_((made.edge_index[1], made.edge_index[0]), made.edge_weight)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-6)


def test_dropped_nodes_are_blank_and_alone(graph):
    view = DropNodes(0.5)(graph)[0]
    gone = ~view.x.any(dim=1) & graph.x.any(dim=1)
    assert 0.3 < gone.double().mean() < 0.7
    assert not gone[view.edge_index].any()


def test_relations_are_split():
    graph = Graph(x=torch.rand(5, 3), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), edge_type=torch.tensor([0, 1, 0]))
    first, second = Relations(2)(graph)
    assert first.edge_index.tolist() == [[0, 2], [1, 3]] and second.edge_index.tolist() == [[1], [2]]
    assert (first.relation, second.relation) == (0, 1)
