"""MEOW: paths through context nodes, weights of negatives against plain formulas, what the two looks see."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import DataError, pretrain
from ssl_graph.encoders import GCN
from ssl_graph.hetero import ContextGCN, MaskOnce, digit_words
from ssl_graph.meta_paths import MetaPath, heterogeneous, pathsim
from ssl_graph.methods import meow
from ssl_graph.methods.meow import Meow, Pairs, concentration, elsewhere, prototype_contrast, weighted_contrast
from ssl_graph.objectives import BCE

N = 40


@pytest.fixture
def graph():
    draw = np.random.default_rng(0)
    links = [np.stack([draw.integers(12, size=90), draw.integers(N - 1, size=90)]) for _ in range(2)]  # one has no links
    paths = {"a": MetaPath(links[0], draw.random((12, 3)), 5), "b": MetaPath(links[1], np.eye(12), 5)}
    return heterogeneous(draw.random((N, 6), dtype=np.float32), paths, "test")


def made(adaptive=False, **options):
    return Meow(ContextGCN(6, 2, (3, 12), 8), MaskOnce(), BCE(), adaptive=adaptive, **options)


def test_pathsim_equals_its_definition():
    links = np.array([[0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 1, 2, 3, 0, 4]])
    matrix = np.zeros((5, 3))
    matrix[links[1], links[0]] = 1
    paths = matrix @ matrix.T
    like = 2 * paths / (paths.diagonal()[:, None] + paths.diagonal())
    for block in (2, 100):
        found = {(int(i), int(j)) for j, i in pathsim(links, 5, 10, block).T}
        assert found == {(i, j) for i in range(5) for j in range(5) if i != j and like[i, j] > 0}
        best = pathsim(links, 5, 1, block)
        assert all(like[i, j] == max(like[i, k] for k in range(5) if k != i) for j, i in best.T)


def test_digit_words_are_a_heterogeneous_graph():
    found = digit_words(images=300, words=16, keep=5)
    (graph,) = found.items
    assert found.facts == {"in_features": 64, "level": "node", "classes": 10, "relations": 2, "context_features": (32, 32)}
    assert graph.num_nodes == 300 and set(graph.edge_type.tolist()) == {0, 1} and len(graph.contexts) == 2
    assert all(links.shape == (2, 2 * 300) and x.shape == (16, 32) for links, x in graph.contexts)
    (source, target), labels = graph.edge_index, found.labels
    assert (labels[source] == labels[target]).double().mean() > 0.3  # by chance: 0.1


def test_masks_are_drawn_once_for_a_seed(graph):
    before = torch.get_rng_state()
    whole, masked = MaskOnce(seed=3, features=0.3, links=0.4)(graph)
    again = MaskOnce(seed=3, features=0.3, links=0.4)(graph)[1]
    assert torch.equal(torch.get_rng_state(), before) and whole is graph
    assert torch.equal(masked.x, again.x) and all(torch.equal(a[0], b[0]) for a, b in zip(masked.contexts, again.contexts))
    assert 0.1 < (masked.x == 0).double().mean() < 0.5
    assert all(0.3 < masked.contexts[i][0].shape[1] / graph.contexts[i][0].shape[1] < 0.9 for i in (0, 1))
    assert not torch.equal(MaskOnce(seed=4)(graph)[1].x, masked.x)


def test_the_coarse_look_sees_no_context_and_the_fine_one_does(graph):
    encoder, other = ContextGCN(6, 2, (3, 12), 8).eval(), graph.clone()
    other.contexts = [(links, x + 1) for links, x in graph.contexts]
    assert torch.equal(encoder.coarse(graph), encoder.coarse(other))
    assert (encoder.fine(graph) - encoder.fine(other)).abs().max() > 1e-3
    assert torch.equal(encoder(graph).pooled, encoder.fine(graph)) and encoder.fine(graph).isfinite().all()


def plain_contrast(a, b, temperature, weights):
    logits = a @ b.T / temperature
    return torch.stack([-(logits[i, i].exp() / (weights[i] * logits[i].exp()).sum()).log() for i in range(len(a))]).mean()


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_contrast_weighted_by_clusters_equals_the_plain_formula(monkeypatch, block):
    monkeypatch.setattr(meow, "BLOCK", block)
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(9, 4).double(), dim=1).requires_grad_() for _ in range(2))
    member = torch.randint(3, (9, 2))
    counts = torch.tensor([[sum(int(member[i, m] != member[j, m]) for m in (0, 1)) for j in range(9)] for i in range(9)])
    ours, theirs = weighted_contrast(a, b, 0.5, elsewhere, member, member), plain_contrast(a, b, 0.5, counts)
    torch.testing.assert_close(ours, theirs)
    for x, y in zip(*(torch.autograd.grad(out, (a, b)) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("block", [1, 10**6])
def test_learned_weights_equal_a_network_on_every_pair(monkeypatch, block):
    """The official code makes (N, N, D) of all pairs."""
    monkeypatch.setattr(meow, "BLOCK", block)
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(8, 4).double(), dim=1).requires_grad_() for _ in range(2))
    pairs = Pairs(4).double()
    weights = pairs.leave(pairs.enter(b[:, None] + b[None]).tanh())[..., 0].sigmoid()
    ours = weighted_contrast(a, b, 0.5, pairs.block, *pairs.sides(b))
    theirs = plain_contrast(a, b, 0.5, weights)
    torch.testing.assert_close(ours, theirs)
    leaves = [a, b, *pairs.parameters()]
    for x, y in zip(*(torch.autograd.grad(out, leaves) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(x, y)


def test_a_node_like_all_others_has_no_negatives():
    a = F.normalize(torch.randn(5, 3), dim=1).requires_grad_()
    member = torch.zeros(5, 2, dtype=torch.long)
    loss = weighted_contrast(a, a.detach(), 0.5, elsewhere, member, member)
    loss.backward()
    assert loss.isfinite() and a.grad.isfinite().all()


def test_prototypes_equal_the_plain_formula():
    torch.manual_seed(0)
    rows, centres = F.normalize(torch.randn(20, 4).double(), dim=1), F.normalize(torch.randn(3, 4).double(), dim=1)
    member = (rows @ centres.T).argmax(dim=1)
    phi = concentration(rows, centres, member, 0.4)
    assert phi.mean() == pytest.approx(0.4) and (phi > 0).all()
    plain = torch.stack([-((rows[i] @ centres[member[i]] / phi[member[i]]).exp()
                           / (20 / 3 * (rows[i] @ centres.T / phi).exp().sum())).log() for i in range(20)]).mean()
    torch.testing.assert_close(prototype_contrast(rows, centres, member, 0.4), plain)
    tight = torch.cat([centres[:1].expand(10, -1) + 1e-3, rows[:10]])
    member = torch.cat([torch.zeros(10, dtype=torch.long), 1 + torch.arange(10) % 2])
    assert concentration(tight, centres, member, 0.4)[0] < concentration(tight, centres, member, 0.4)[1]


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_step_teaches_both_looks(graph, adaptive):
    torch.manual_seed(0)
    method = made(adaptive, clusters=(4, 8))
    method.step(graph)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_options_are_checked():
    for make in (lambda: made(temperature=0.0), lambda: made(clusters=(1,)), lambda: ContextGCN(6, 2, (3,)),
                 lambda: MaskOnce(features=1.0), lambda: Meow(GCN(6, 8), MaskOnce(), BCE())):
        with pytest.raises(ValueError):
            make()


@pytest.mark.parametrize("method, options", [
    ("grace", {"augmentation": "mask-once"}),  # of a graph that never had any
    ("meow", {"augmentation": "diffusion", "data.images": 300})])  # which leaves target nodes only
def test_a_graph_without_context_nodes_is_said_to_have_none(method, options, tmp_path):
    with pytest.raises(DataError, match="nodes of several kinds are needed.*\n.*data=digit-words.*augmentation=mask-once"):
        pretrain("graph", method, epochs=1, quiet=True, out=tmp_path / "run", **options)
