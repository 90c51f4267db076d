"""Encoders: against PyTorch Geometric's own layers, and their contract."""
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data as Graph
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

from ssl_graph.attention import GATLayer
from ssl_graph.encoders import GAT, GCN, GIN, SAGE, GCNLayer, Multiplex
from ssl_graph.features import dense, entering, projected, thinned
from ssl_graph.graphs import adjacency, checked

F_IN, D = 7, 8


def random_graph(n=30, e=120, seed=0):
    g = torch.Generator().manual_seed(seed)
    return checked(torch.randn(n, F_IN, generator=g).double(), torch.randint(n, (2, e), generator=g), where="test")


def reference(layer):
    """PyG's layer with the same weights."""
    if hasattr(layer, "heads"):
        made = GATConv(layer.linear.in_features, layer.width, layer.heads).double()
        made.lin.weight, made.bias = layer.linear.weight, layer.bias
        made.att_src, made.att_dst = nn.Parameter(layer.source[None]), nn.Parameter(layer.target[None])
    elif hasattr(layer, "linear"):
        made = GCNConv(layer.linear.in_features, layer.linear.out_features).double()
        made.lin.weight, made.bias = layer.linear.weight, layer.bias
    elif hasattr(layer, "itself"):
        made = SAGEConv(layer.itself.in_features, layer.itself.out_features).double()
        made.lin_l, made.lin_r = layer.neighbours, layer.itself
    else:
        made = GINConv(layer.net)
    return made


@pytest.mark.parametrize("kind", [GCN, SAGE, GAT, GIN])
def test_sparse_layers_equal_pyg(kind):
    graph, encoder = random_graph(), kind(F_IN, D, depth=2).double()
    x = graph.x
    for layer in encoder.layers:
        x = encoder.activation(reference(layer)(x, graph.edge_index))
    pooled = encoder(graph).pooled
    torch.testing.assert_close(pooled, x)
    shared = [p for name, p in encoder.layers.named_parameters() if not name.endswith(("source", "target"))]
    ours, theirs = (torch.autograd.grad(out.square().sum(), shared, retain_graph=True) for out in (pooled, x))
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
@pytest.mark.parametrize("level, readout", [("node", "mean"), ("graph", "mean"), ("graph", "sum"), ("graph", "max")])
def test_items_are_nodes_or_graphs(kind, level, readout):
    graphs = [random_graph(n, 4 * n, seed=n).to("cpu") for n in (5, 9, 12)]
    batch, encoder = Batch.from_data_list(graphs), kind(F_IN, D, level=level, readout=readout).double().eval()
    out = encoder(batch)
    assert out.pooled.shape == ((26 if level == "node" else 3), D) and out.tokens.shape == (26, D)
    alone = torch.cat([encoder(g).pooled for g in graphs])
    torch.testing.assert_close(out.pooled, alone)  # a graph does not see the others of its batch


@pytest.mark.parametrize("kind", [GCN, SAGE, GAT, GIN])
def test_isolated_nodes_and_no_edges(kind):
    graph = checked(torch.rand(4, F_IN), torch.zeros(2, 0, dtype=torch.long), where="test")
    assert kind(F_IN, D)(graph).pooled.isfinite().all()


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


def test_attention_learns_where_to_look():
    """The gradient of the two attention vectors, through compressed rows, against a dense softmax."""
    graph, layer = random_graph(12, 40), GAT(F_IN, D, depth=1, heads=2).double().layers[0]
    near = adjacency(graph).to_dense().bool() | torch.eye(12, dtype=torch.bool)
    rows = layer.linear(graph.x).view(12, 2, D // 2)
    scores = (rows * layer.target).sum(dim=2)[:, None] + (rows * layer.source).sum(dim=2)[None]  # (N, N, H)
    scores = nn.functional.leaky_relu(scores, 0.2).masked_fill(~near[:, :, None], -torch.inf)
    dense = torch.einsum("ijh,jhd->ihd", scores.softmax(dim=1), rows).flatten(1) + layer.bias
    ours = layer(graph.x, adjacency(graph), None)
    torch.testing.assert_close(ours, dense)
    torch.testing.assert_close(layer(graph.x, adjacency(graph), None, torch.arange(12) % 3 == 0), dense[::3])
    both = [torch.autograd.grad(out.pow(3).sum(), list(layer.parameters()), retain_graph=True) for out in (ours, dense)]
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layer", [GATLayer(F_IN, 20, 1), GCNLayer(F_IN, 20)], ids=["gat", "gcn"])
def test_layers_that_widen_mix_first_and_say_the_same(layer):
    graph, layer = random_graph(), layer.double()
    neighbours, some = adjacency(graph), torch.arange(30) % 2 == 0
    degree = neighbours.to_dense().sum(dim=1)
    ours, theirs = layer(graph.x, neighbours, degree), reference(layer)(graph.x, graph.edge_index)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(layer(graph.x, neighbours, degree, some), theirs[some])
    for a, b in zip(*(torch.autograd.grad(out.pow(3).sum(), layer.linear.weight) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def test_large_scores_do_not_overflow():
    graph, layer = random_graph(), GAT(F_IN, D, depth=1).double().layers[0]
    with torch.no_grad():
        layer.source.mul_(1e4)
    assert layer(graph.x, adjacency(graph), None).isfinite().all()


def test_dropped_attention_is_scaled_up():
    graph, layer = random_graph(), GAT(F_IN, D, depth=1, attention_dropout=0.5).layers[0].double()
    torch.manual_seed(0)
    mean = torch.stack([layer(graph.x, adjacency(graph), None) for _ in range(3000)]).mean(dim=0)
    torch.testing.assert_close(mean, layer.eval()(graph.x, adjacency(graph), None), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("partly", [True, False])
def test_bags_of_words_are_projected_as_dense_rows_are(bias, partly):
    words, linear, unseen = torch.zeros(2000, 800).bernoulli_(0.01), nn.Linear(800, 5, bias=bias), torch.rand(800)
    keep, leaves = torch.rand(2000) < 0.5 if partly else None, [*linear.parameters(), unseen.requires_grad_()][: 2 + bias]
    shown = words if keep is None else torch.where(keep[:, None], words, unseen)
    entered = entering(words, keep, unseen)
    assert (entered.x if partly else entered).layout == torch.sparse_csr
    assert torch.equal(dense(entered), shown)
    made, wanted = projected(entered, linear), linear(shown)
    torch.testing.assert_close(made, wanted)
    leaves = leaves if partly else leaves[:-1]
    for a, b in zip(*(torch.autograd.grad(out.square().sum(), leaves) for out in (made, wanted)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)


def test_dropped_words_are_dropped_and_the_others_scaled_up():
    words = torch.zeros(2000, 800).bernoulli_(0.01)
    left = dense(thinned(entering(words, None, words[0]), nn.Dropout(0.25)))
    assert set(left.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()} and not left[words == 0].any()
    assert abs(left.count_nonzero() / words.count_nonzero() - 0.75) < 0.03
    assert entering(words.bernoulli_(0.2), None, words[0]).layout == torch.strided


@pytest.mark.parametrize("kind", [GCN, SAGE, GAT, GIN])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_come_before_the_activation(kind, norm):
    graph = random_graph()
    encoder = kind(F_IN, D, depth=2, norm=norm, activation="tanh").double()
    pooled = encoder(graph).pooled
    assert [type(layer) for layer in encoder.norms] == [nn.BatchNorm1d if norm == "batch" else nn.LayerNorm] * 2
    assert pooled.atanh().mean(dim=0 if norm == "batch" else 1).abs().max() < 1e-6


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiples of heads"):
        GAT(F_IN, 10, heads=4)


def test_multiplex_towers_are_separate():
    encoder = Multiplex(F_IN, relations=3, width=D)
    assert len({id(p) for p in encoder.parameters()}) == 3 * len(list(GCN(F_IN, D).parameters()))
    assert isinstance(encoder, nn.Module)
