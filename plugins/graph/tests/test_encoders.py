"""Encoders: against PyTorch Geometric's own layers, and their contract."""
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data as Graph
from torch_geometric.nn import GCNConv, GINConv, SAGEConv

from ssl_graph.encoders import GAT, GCN, GIN, SAGE, Multiplex
from ssl_graph.graphs import adjacency, checked

F_IN, D = 7, 8


def random_graph(n=30, e=120, seed=0):
    g = torch.Generator().manual_seed(seed)
    return checked(torch.randn(n, F_IN, generator=g).double(), torch.randint(n, (2, e), generator=g), where="test")


def reference(layer):
    """PyG's layer with the same weights."""
    if hasattr(layer, "linear"):
        made = GCNConv(layer.linear.in_features, layer.linear.out_features).double()
        made.lin.weight, made.bias = layer.linear.weight, layer.bias
    elif hasattr(layer, "itself"):
        made = SAGEConv(layer.itself.in_features, layer.itself.out_features).double()
        made.lin_l, made.lin_r = layer.neighbours, layer.itself
    else:
        made = GINConv(layer.net)
    return made


@pytest.mark.parametrize("kind", [GCN, SAGE, GIN])
def test_sparse_layers_equal_pyg(kind):
    graph, encoder = random_graph(), kind(F_IN, D, depth=2, readout="none").double()
    x = graph.x
    for layer in encoder.layers:
        x = encoder.activation(reference(layer)(x, graph.edge_index))
    pooled = encoder(graph).pooled
    torch.testing.assert_close(pooled, x)
    ours, theirs = (torch.autograd.grad(out.square().sum(), list(encoder.layers.parameters()), retain_graph=True)
                    for out in (pooled, x))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_unsorted_edges_and_weights_give_the_same_adjacency():
    graph = random_graph()
    shuffled = Graph(x=graph.x, edge_index=graph.edge_index[:, torch.randperm(graph.num_edges)])
    torch.testing.assert_close(adjacency(graph).to_dense(), adjacency(shuffled).to_dense())
    weighted = Graph(x=graph.x, edge_index=graph.edge_index, edge_weight=torch.rand(graph.num_edges).double())
    i, j = graph.edge_index[:, 3].tolist()
    assert adjacency(weighted).to_dense()[j, i] == weighted.edge_weight[3]


@pytest.mark.parametrize("kind", [GCN, SAGE, GAT, GIN])
@pytest.mark.parametrize("readout", ["none", "mean", "sum", "max"])
def test_items_are_nodes_or_graphs(kind, readout):
    graphs = [random_graph(n, 4 * n, seed=n).to("cpu") for n in (5, 9, 12)]
    batch, encoder = Batch.from_data_list(graphs), kind(F_IN, D, readout=readout).double().eval()
    out = encoder(batch)
    assert out.pooled.shape == ((26 if readout == "none" else 3), D) and out.tokens.shape == (26, D)
    alone = torch.cat([encoder(g).pooled for g in graphs])
    torch.testing.assert_close(out.pooled, alone)  # a graph does not see the others of its batch


@pytest.mark.parametrize("kind", [GCN, SAGE, GAT, GIN])
def test_isolated_nodes_and_no_edges(kind):
    graph = checked(torch.rand(4, F_IN), torch.zeros(2, 0, dtype=torch.long), where="test")
    assert kind(F_IN, D, readout="none")(graph).pooled.isfinite().all()


def test_hidden_nodes_are_not_seen():
    graph, encoder = random_graph(), GCN(F_IN, D).double()
    keep = torch.rand(30) < 0.5
    changed = graph.clone()
    changed.x = torch.where(keep[:, None], graph.x, torch.randn(30, F_IN).double())
    assert encoder(graph, keep).tokens.shape == (int(keep.sum()), D)
    torch.testing.assert_close(encoder(graph, keep).tokens, encoder(changed, keep).tokens)


def test_rrelu_is_random_only_while_training():
    graph, encoder = random_graph(), GCN(F_IN, D, activation="rrelu").double()
    assert not torch.equal(encoder(graph).pooled, encoder(graph).pooled)
    encoder.eval()
    assert torch.equal(encoder(graph).pooled, encoder(graph).pooled)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiples of heads"):
        GAT(F_IN, 10, heads=4)


def test_multiplex_towers_are_separate():
    encoder = Multiplex(F_IN, relations=3, width=D)
    assert len({id(p) for p in encoder.parameters()}) == 3 * len(list(GCN(F_IN, D).parameters()))
    assert isinstance(encoder, nn.Module)
