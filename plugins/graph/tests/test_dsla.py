"""D-SLA: what is edited and how much, the three terms, and the errors known in its official code that are not here."""
import pytest
import torch
from torch_geometric.data import Batch, Data as Graph

from ssl_graph.encoders import GIN
from ssl_graph.graphs import checked
from ssl_graph.methods.dsla import DSLA, EditLadder, disagreement, distance, edited
from ssl_graph.objectives import BCE

SIZES = (12, 30, 20, 9)


@pytest.fixture
def graphs():
    torch.manual_seed(0)
    made = [checked(torch.rand(n, 5) + 0.1, torch.randint(n, (2, 3 * n)), where="test") for n in SIZES]
    batch = Batch.from_data_list(made)
    batch.by_target = True
    return batch


def pairs_of(graph):
    return {tuple(sorted(pair)) for pair in graph.edge_index.T.tolist()}


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_copy_loses_edges_and_gets_as_many_new_ones_of_its_own_graph(graphs, share):
    before = pairs_of(graphs)
    copy = edited(graphs, torch.ones(sum(SIZES), dtype=torch.bool), share, graphs.x)
    after = pairs_of(copy)
    assert copy.num_edges == 2 * len(after) and (copy.edge_index[1].diff() >= 0).all()
    owner = graphs.batch.tolist()
    assert all(owner[i] == owner[j] for i, j in after)
    for g in range(len(SIZES)):
        mine = {pair for pair in before if owner[pair[0]] == g}
        lost, new = (sum(owner[i] == g for i, _ in found) for found in (before - after, after - before))
        assert lost == max(1, int(share * len(mine)))
        assert copy.edits[g] == (lost + new) / 2 and new > 0
    assert pairs_of(graphs) == before, "the graph that was given stays as it was"


def test_only_the_region_is_edited(graphs):
    region = torch.arange(sum(SIZES)) % 2 == 0
    changed = pairs_of(graphs) ^ pairs_of(edited(graphs, region, 0.9, graphs.x))
    assert changed and all(region[i] and region[j] for i, j in changed)


def test_a_ladder_has_growing_edits_and_the_same_blank_nodes(graphs):
    torch.manual_seed(1)
    original, *copies, strong = EditLadder(rungs=3, share=0.2, hops=3, blank=0.5)(graphs)
    assert torch.equal(original.edge_index, graphs.edge_index)
    assert len(copies) == 3 and all(torch.equal(copy.x, original.x) for copy in copies), "blanks tell nothing"
    total = [float(copy.edits.sum()) for copy in (*copies, strong)]
    assert total == sorted(total) and total[0] < total[-1]
    gone = (strong.x == 0).all(dim=1).double().mean()
    assert 0.3 < gone < 0.7 and (original.x == 0).all(dim=1).sum() <= (strong.x == 0).all(dim=1).sum()


def test_regions_are_balls_around_one_node(graphs):
    path = checked(torch.rand(20, 2), torch.stack([torch.arange(19), torch.arange(1, 20)]), where="test")
    for _ in range(20):
        inside = EditLadder(hops=3).region(path).nonzero()[:, 0]
        assert (inside.diff() == 1).all() and 4 <= len(inside) <= 7


@pytest.mark.parametrize("n, edges", [(1, []), (2, [(0, 1)]), (3, [(0, 1), (1, 2), (0, 2)]), (4, [])])
def test_tiny_complete_and_empty_graphs(n, edges):
    """Non-edges came from a dense complement of each graph, and a complete graph has none."""
    graph = checked(torch.rand(n, 3), torch.tensor(edges).reshape(-1, 2).T.long(), where="test")
    batch = Batch.from_data_list([graph, graph])
    views = EditLadder()(batch)
    assert len(views) == 5 and all(v.num_nodes == 2 * n and v.edits.isfinite().all() for v in views[1:])
    method = DSLA(GIN(3, 4, depth=1, level="graph", readout="mean"), EditLadder(), BCE())
    method.eval()
    loss = method.step(batch)["loss"]
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in method.encoder.layers.parameters())


def test_terms_equal_the_plain_formulas(graphs):
    torch.manual_seed(2)
    method = DSLA(GIN(5, 6, depth=2, level="graph", readout="mean"), EditLadder(), BCE(), margin=1.0).double().eval()
    graphs.x = graphs.x.double()
    views = method.augmentation(graphs)
    method.augmentation = lambda batch: views
    found = method.step(graphs)
    rows = [method.encoder(Batch.from_data_list([piece(v, g) for g in range(len(SIZES))])).pooled for v in views]
    scores = torch.stack([method.scorer(row)[:, 0] for row in rows], dim=1)
    tell = -scores.log_softmax(dim=1)[:, 0].mean()
    terms, margin = [], []
    for b in range(len(SIZES)):
        ratio = [(rows[i][b] - rows[0][b]).norm() / views[i].edits[b] for i in range(1, 5)]
        terms += [(ratio[i] - ratio[j]) ** 2 for i in range(4) for j in range(i + 1, 4)]
        margin += [(1 + (rows[i][b] - rows[0][b]).norm() - (rows[0][b] - rows[0][c]).norm()).clamp(min=0)
                   for i in range(1, 4) for c in range(len(SIZES)) if c != b]
    torch.testing.assert_close(found["tell"], tell)
    torch.testing.assert_close(found["proportion"], torch.stack(terms).mean())
    torch.testing.assert_close(found["apart"], torch.stack(margin).mean())


def piece(graph, g):
    nodes = (graph.batch == g).nonzero()[:, 0]
    inside = graph.batch[graph.edge_index[0]] == g
    return Graph(x=graph.x[nodes], edge_index=graph.edge_index[:, inside] - nodes[0])


def test_disagreement_is_nothing_for_proportional_distances():
    edits = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()[:, None]
    assert disagreement((2.5 * edits) / edits) == 0
    ratio = torch.rand(4, 7).double().requires_grad_(True)
    plain = torch.stack([(ratio[i] - ratio[j]).square().mean() for i in range(4) for j in range(i + 1, 4)]).mean()
    torch.testing.assert_close(disagreement(ratio), plain)
    torch.testing.assert_close(*(torch.autograd.grad(out, ratio)[0] for out in (disagreement(ratio), plain)))


def test_equal_rows_have_a_gradient():
    """The norm of nothing has none: nan."""
    a = torch.ones(3, 4, requires_grad=True)
    distance(a, torch.ones(3, 4)).sum().backward()
    assert a.grad.isfinite().all()


def test_options_are_checked():
    for wrong in ({"rungs": 0}, {"share": 0.5}, {"blank": 1.0}, {"hops": 0}):
        with pytest.raises(ValueError, match="rungs"):
            EditLadder(**wrong)
