"""SCGC: the sparse and blockwise contrast against the dense formula, powers of the graph, self-training."""
import pytest
import torch
from torch.autograd import gradcheck

from ssl_core import Progress
from ssl_core.objectives.regression import MSE
from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.methods import scgc
from ssl_graph.methods.pretext import Same
from ssl_graph.methods.scgc import MLP, SCGC, distances, dots, influence, influence_contrast, self_training

N, D = 30, 4


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(N, 6).double(), torch.randint(N - 1, (2, 60)), where="test")  # the last node is alone


def dense_powers(graph):
    a = torch.eye(N, dtype=torch.float64)
    a[graph.edge_index[1], graph.edge_index[0]] = 1
    a = a / a.sum(dim=1, keepdim=True)
    return [a, a @ a, a @ a @ a]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("cumulative", [False, True])
def test_influence_is_the_power_of_the_graph(graph, order, cumulative):
    powers = dense_powers(graph)
    pairs, weights = influence(graph, order, cumulative)
    made = torch.zeros(N, N, dtype=torch.float64).index_put_(tuple(pairs), weights)
    torch.testing.assert_close(made, sum(powers[:order]) if cumulative else powers[order - 1])
    assert len(weights) < N * N, "no pair that the graph does not reach is stored"
    torch.testing.assert_close(made.sum(dim=1), torch.full((N,), float(order if cumulative else 1), dtype=torch.float64))


@pytest.mark.parametrize("sharpness", [0.25, 2.25])
def test_contrast_is_the_dense_formula(graph, sharpness):
    (pairs, weights), w = influence(graph, 2, True), sum(dense_powers(graph)[:2])
    left = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    right = left.detach().clone().requires_grad_()
    unit = right / right.norm(dim=1, keepdim=True)
    e = (sharpness * (unit @ unit.T) * (1 - torch.eye(N, dtype=torch.float64))).exp()  # e_ii = 1
    expected = -((w * e).sum(dim=1) / e.sum(dim=1) + 1e-8).log().mean()
    value = influence_contrast(left, pairs, weights, sharpness)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(left.grad, right.grad)


def test_dots_in_chunks(monkeypatch):
    monkeypatch.setattr(scgc, "CHUNK", 7)
    rows = torch.randn(9, D, dtype=torch.float64, requires_grad=True)
    pairs = torch.randint(9, (2, 20))
    torch.testing.assert_close(dots(rows, pairs), (rows[pairs[0]] * rows[pairs[1]]).sum(dim=1))
    assert gradcheck(lambda r: dots(r, pairs), rows)


def test_self_training_by_hand():
    q = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64, requires_grad=True)
    plain = q.detach()
    p = plain**2 / plain.sum(dim=0)
    p = p / p.sum(dim=1, keepdim=True)
    loss = self_training(q)
    torch.testing.assert_close(loss, (p * (p / plain).log()).sum() / 3)
    loss.backward()
    torch.testing.assert_close(q.grad, -p / plain / 3)  # p is held still


def test_distances_are_smooth_where_rows_coincide():
    a = torch.randn(5, 3, requires_grad=True)
    torch.testing.assert_close(distances(a, a[:2].detach()), torch.cdist(a, a[:2]).square(), atol=1e-5, rtol=1e-4)
    distances(a, a[:2].detach()).sum().backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("star", [False, True])
def test_autoencoder_first_then_centres_from_kmeans(graph, star):
    graph.x = graph.x.float()
    method = SCGC(MLP(6, D, (8,)), Same(), MSE(), clusters=3, warmup=0.5, reconstruct=not star)
    drawn = method.centres.detach().clone()
    method.progress = Progress(4, 10)
    early = method.step(graph)
    assert early["rebuild"] > 0 and early["contrast"] == early["cluster"] == 0 and torch.equal(method.centres, drawn)
    method.progress = Progress(5, 10)
    late = method.step(graph)
    assert late["contrast"] > 0 and not torch.equal(method.centres, drawn)
    assert (late["rebuild"] > 0) is not star
    torch.testing.assert_close(method.assign(method.encoder(graph).pooled).sum(dim=1), torch.ones(N))
    kept = method.centres.detach().clone()
    method.progress = Progress(6, 10)
    method.step(graph)["loss"].backward()
    assert torch.equal(method.centres, kept) and method.centres.grad.any()


def test_options_are_checked():
    with pytest.raises(ValueError, match="mlp"):
        SCGC(GCN(6, 8), Same(), MSE())
    with pytest.raises(ValueError, match="sharpness"):
        SCGC(MLP(6, D), Same(), MSE(), sharpness=0.0)
