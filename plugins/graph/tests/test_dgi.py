"""DGI and MVGRL: corruption, summaries, and the discriminator against a plain bilinear form."""
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Batch

from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.methods.dgi import DGI, Discriminator, Shuffle
from ssl_graph.methods.mvgrl import MVGRL, DiffusionGCN
from ssl_graph.objectives import BCE


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(20, 6), torch.randint(20, (2, 60)), where="test")


def test_shuffle_keeps_edges_and_the_rows_but_not_their_order(graph):
    before = graph.x.clone()
    real, fake = Shuffle()(graph)
    assert real is graph and torch.equal(graph.x, before)
    assert fake.edge_index is graph.edge_index
    assert not torch.equal(fake.x, before)
    assert torch.equal(fake.x.sort(dim=0).values, before.sort(dim=0).values)


def test_discriminator_is_a_bilinear_form():
    torch.manual_seed(0)
    score, rows, summary = Discriminator(4), torch.randn(5, 4), torch.randn(2, 4)
    owner = torch.tensor([0, 0, 1, 1, 1])
    plain = torch.stack([rows[i] @ score.between.weight @ summary[owner[i]] for i in range(5)])[:, None]
    torch.testing.assert_close(score(rows, summary, owner), plain)


def test_dgi_by_hand(graph):
    method = DGI(GCN(6, 8), Shuffle(), BCE())
    torch.manual_seed(1)
    loss = method.step(graph)["loss"]
    torch.manual_seed(1)
    real, fake = (method.encoder(view).pooled for view in Shuffle()(graph))
    summary = real.mean(dim=0).sigmoid()
    scores = [rows @ method.discriminator.between.weight @ summary for rows in (real, fake)]
    plain = (-F.logsigmoid(scores[0]).mean() - F.logsigmoid(-scores[1]).mean()) / 2
    torch.testing.assert_close(loss, plain)


def test_every_graph_of_a_batch_has_its_own_summary(graph):
    torch.manual_seed(0)
    other = checked(torch.rand(9, 6), torch.randint(9, (2, 20)), where="test")
    method = DGI(GCN(6, 8, level="graph", readout="mean"), Shuffle(), BCE())
    seen = {}
    method.discriminator.forward = lambda nodes, summaries, owner: seen.update(s=summaries, o=owner) or nodes[:, :1]
    method.step(Batch.from_data_list([graph, other]))
    assert seen["s"].shape == (2, 8) and seen["o"].tolist() == [0] * 20 + [1] * 9
    alone = method.encoder(other).pooled.sigmoid()
    torch.testing.assert_close(seen["s"][1:], alone)


def test_mvgrl_shows_the_graph_and_its_diffusion(graph):
    encoder = DiffusionGCN(6, 8)
    both = encoder.both(graph)
    torch.testing.assert_close(encoder(graph).pooled, both[0] + both[1])
    first = encoder.known[1]
    encoder(Shuffle()(graph)[1])
    assert encoder.known[1] is first, "the diffusion of the same edges is not found again"
    loss = MVGRL(encoder, Shuffle(), BCE()).step(graph)["loss"]
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for tower in encoder.towers for p in tower.layers.parameters())
    with pytest.raises(ValueError, match="diffusion-gcn"):
        MVGRL(GCN(6, 8), Shuffle(), BCE())
