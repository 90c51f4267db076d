"""GraphMAE: what is hidden stays hidden, and the errors known in its official code are not here."""
import pytest
import torch
from torch_geometric.data import Batch

from ssl_graph.encoders import GAT, GCN
from ssl_graph.graphs import checked
from ssl_graph.methods.graphmae import DECODERS, GraphMAE, HideNodes, stranger
from ssl_graph.objectives import ScaledCosine


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(200, 6) + 0.1, torch.randint(200, (2, 600)), where="test")


def test_shares_of_hidden_and_replaced_nodes(graph):
    (view,) = HideNodes(ratio=0.5, replace=0.3)(graph)
    assert view.hidden.sum() == 100
    assert not (~view.seen & ~view.hidden).any(), "a node that is not hidden is always seen"
    noisy = view.hidden & view.seen
    assert 10 < noisy.sum() < 50
    assert torch.equal(view.x[~view.hidden], graph.x[~view.hidden])


def test_no_hidden_node_shows_its_own_features(graph):
    """Counts of tokens and of noise, rounded down one by one, left a hidden node as it was."""
    for replace in (0.0, 0.1, 0.9):
        (view,) = HideNodes(ratio=0.5, replace=replace)(graph)
        shown = view.hidden & view.seen
        assert not (view.x[shown] == graph.x[shown]).all(dim=1).any()
        if not replace:
            assert not shown.any()


def test_tiny_graphs_can_be_hidden():
    """A share of noise below one node broke the assignment."""
    for nodes in (1, 2, 3):
        graph = checked(torch.rand(nodes, 4), torch.zeros(2, 0, dtype=torch.long), where="test")
        (view,) = HideNodes(ratio=0.5, replace=0.05)(graph)
        assert view.hidden.sum() == min(nodes - 1, max(1, round(nodes * 0.5)))


def test_strangers_come_from_the_same_graph():
    """In batches, features of any graph of the batch were used."""
    graphs = [checked(torch.rand(n, 4), torch.zeros(2, 0, dtype=torch.long), where="test") for n in (1, 2, 5, 9)]
    batch = Batch.from_data_list(graphs)
    seen = torch.stack([stranger(batch) for _ in range(200)])
    assert torch.equal(batch.batch[seen], batch.batch.expand(200, -1))
    own = torch.arange(batch.num_nodes)
    assert (seen[:, 1:] != own[1:]).all() and (seen[:, 0] == 0).all()
    assert all(len(seen[:, i].unique()) == 8 for i in range(8, 17)), "each of the others may come"


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_runs_and_teaches_the_encoder(decoder, graph):
    method = GraphMAE(GCN(6, 8), HideNodes(), ScaledCosine(), decoder=decoder)
    method.step(graph)["loss"].backward()
    grads = [p.grad for p in method.encoder.layers.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads) and any(g.any() for g in grads)


def test_decoder_sees_blanked_rows_and_all_edges(graph):
    method = GraphMAE(GAT(6, 8, heads=2), HideNodes(edges=0.9), ScaledCosine())
    seen = {}
    whole = method.decoder.forward

    def spy(latent, given, wanted):
        seen.update(latent=latent, graph=given)
        return whole(latent, given, wanted)
    method.decoder.forward = spy
    taken = method.augmentation
    views = []
    method.augmentation = lambda batch: views.append(taken(batch)) or views[-1]
    method.step(graph)
    (view,) = views[0]
    assert not seen["latent"][view.hidden].any() and seen["latent"][~view.hidden].any(dim=1).all()
    assert seen["graph"].num_edges == graph.num_edges and view.num_edges < 0.3 * graph.num_edges


def test_hidden_features_cannot_leak(graph):
    """Changing the features of a hidden node changes no prediction, only the target."""
    method = GraphMAE(GCN(6, 8), HideNodes(replace=0.0), ScaledCosine()).eval()
    (view,) = method.augmentation(graph)
    other = view.clone()
    other.x = torch.where(view.hidden[:, None], torch.rand_like(view.x), view.x)
    with torch.no_grad():
        a, b = (method.encoder(v, keep=v.seen).tokens for v in (view, other))
    assert torch.equal(a, b)


def test_options_are_checked():
    for name in ("replace", "edges"):
        with pytest.raises(ValueError, match=name):
            HideNodes(**{name: 1.5})
