"""gCooL: the formulas against plain versions, the paper's invariants, and the errors known in its official code."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data as Graph

from ssl_core import Progress
from ssl_core.objectives.infonce import InfoNCE
from ssl_graph.augmentations import Adaptive, Relations
from ssl_graph.communities import communal_contrast, deca, kmeans, prototypes
from ssl_graph.encoders import GCN, Multiplex
from ssl_graph.gcool import GCooL, weights
from ssl_graph.graphs import checked

N, E, K, D = 40, 300, 5, 8


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(N, 12).double(), torch.randint(N, (2, E)), where="test")


def shares_of(rows):
    return rows.softmax(dim=1)


def dense_deca(r, edges, balance):
    """The formula of the paper, with dense matrices: lambda * between - inside + |R|^2 / 2N."""
    n = len(r)
    a = torch.zeros(n, n, dtype=r.dtype)
    a[edges[1], edges[0]] = 1
    m = r.T @ a @ r
    between = sum(m[k, j] for k in range(len(m)) for j in range(len(m)) if k != j) / (n * (n - 1))
    return balance * between - sum(m[k, k] for k in range(len(m))) / n + (r**2).sum() / (2 * n)


def dense_normalized(r, edges, balance):
    n, k = r.shape
    a = torch.zeros(n, n, dtype=r.dtype)
    a[edges[1], edges[0]] = 1
    sizes = r.sum(dim=0)
    density = torch.stack([torch.stack([(r[:, i] @ a @ r[:, j]) / (sizes[i] * sizes[j]) for j in range(k)]) for i in range(k)])
    off = [density[i, j] for i in range(k) for j in range(k) if i != j]
    return balance * sum(off) / len(off) - density.diagonal().mean() + (r**2).sum() / (2 * n)


@pytest.mark.parametrize("normalized, plain", [(False, dense_deca), (True, dense_normalized)])
@pytest.mark.parametrize("balance", [0.0, 0.9, 10.0])
def test_deca_along_edges_equals_dense(graph, normalized, plain, balance):
    ours, theirs = (torch.randn(N, K, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
                    for _ in range(2))
    value = deca(shares_of(ours), graph.edge_index, balance, normalized)
    expected = plain(shares_of(theirs), graph.edge_index, balance)
    value.backward(), expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_the_papers_balance_is_inert_and_the_normalized_one_is_not():
    """Rows of R sum to 1, so lambda only rescales the other term by 1 + lambda / (N - 1)."""
    torch.manual_seed(0)
    n = 2000
    edges, rows = torch.randint(n, (2, 20_000)), torch.randn(n, K, dtype=torch.double)
    found = {}
    for normalized in (False, True):
        for balance in (0.0, 10.0):
            leaf = rows.clone().requires_grad_()
            deca(shares_of(leaf), edges, balance, normalized).backward()
            found[normalized, balance] = leaf.grad
    change = {kind: ((found[kind, 10.0] - found[kind, 0.0]).norm() / found[kind, 0.0].norm()).item() for kind in (False, True)}
    assert change[False] < 0.01 and change[True] > 3 * change[False]


def made(graph, **options):
    torch.manual_seed(0)
    encoder = GCN(graph.x.shape[1], width=D).double()
    return GCooL(encoder, Adaptive(), InfoNCE(0.4), communities=K, **options).double()


@pytest.mark.parametrize("similarity", ["cosine", "rbf"])
def test_deca_teaches_centres_only_and_contrast_teaches_encoder_only(graph, similarity):
    method = made(graph, similarity=similarity, schedule="constant")
    losses = method.step(graph)
    encoder = [*method.encoder.parameters(), *method.projector.parameters()]
    by_density = torch.autograd.grad(losses["density"], [method.centres, *encoder], retain_graph=True, allow_unused=True)
    assert by_density[0].norm() > 0 and all(g is None for g in by_density[1:])
    by_contrast = torch.autograd.grad(losses["communal"] + losses["node"], [method.centres, *encoder], allow_unused=True)
    assert by_contrast[0] is None and sum(g.norm() for g in by_contrast[1:] if g is not None) > 0


def test_paper_schedule_peaks_where_the_paper_says():
    steps, stride = 10_000, 0.5
    found = [weights(Progress(i, steps), "paper", stride) for i in range(steps)]
    communal = [alpha * (1 - c) for alpha, c in found]
    best = max(range(steps), key=lambda i: communal[i])
    assert communal[best] == pytest.approx(0.0476, abs=1e-4)
    assert best / steps / stride == pytest.approx(0.098, abs=2e-3)
    assert found[0] == (1.0, 1.0)
    assert all(alpha == 0 for alpha, _ in found[int(0.2 * stride * steps):])


def test_other_schedules_keep_the_communal_terms():
    assert [weights(Progress(i, 10), "constant", 0.5)[0] for i in (0, 5, 10)] == [1.0, 1.0, 1.0]
    assert weights(Progress(0, 10), "warm", 0.5) == (1.0, 1.0)
    assert weights(Progress(10, 10), "warm", 0.5)[1] == pytest.approx(math.exp(0.2 - 2))


def plain_contrast(rows, means, alive, member, temperature, gamma):
    """One node at a time: -log(positive / (positive + weighted negatives))."""
    total = rows.new_zeros(())
    for i, k in enumerate(member.tolist()):
        terms = []
        for j in range(len(means)):
            if not alive[j]:
                continue
            if gamma is None:
                near = torch.exp(rows[i] @ F.normalize(means[j], dim=0) / temperature)
            else:
                near = torch.exp(-(rows[i] - means[j]).square().sum() / temperature)
                near = near * (1 if j == k else torch.exp(-gamma * (means[k] - means[j]).square().sum()))
            terms.append(near)
            if j == k:
                positive = near
        total = total - torch.log(positive / sum(terms))
    return total / len(rows)


@pytest.mark.parametrize("gamma", [None, 0.3])
def test_communal_contrast_equals_one_node_at_a_time(gamma):
    torch.manual_seed(0)
    rows = F.normalize(torch.randn(30, D, dtype=torch.double)).requires_grad_()
    others = F.normalize(torch.randn(30, D, dtype=torch.double))
    member = torch.randint(K - 1, (30,))  # the last community is empty
    means, alive = prototypes(others, member, K)
    assert alive.tolist() == [True] * (K - 1) + [False]
    ours, theirs = (f(rows, means, alive, member, 0.4, gamma) for f in (communal_contrast, plain_contrast))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(x, rows)[0] for x in (ours, theirs)), rtol=1e-8, atol=1e-12)


def test_empty_communities_are_no_negatives():
    rows, member = F.normalize(torch.randn(20, D)), torch.zeros(20, dtype=torch.long)
    means, alive = prototypes(rows, member, K)
    assert communal_contrast(rows, means, alive, member, 0.4, None).item() == 0  # one community: nothing to tell apart


def test_prototypes_are_means():
    torch.manual_seed(0)
    rows, member = torch.randn(50, D), torch.randint(K, (50,))
    means, _ = prototypes(rows, member, K)
    for k in range(K):
        torch.testing.assert_close(means[k], rows[member == k].mean(dim=0))


def test_node_contrast_is_symmetric():
    """The official code averages the first direction with itself."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 30, D, dtype=torch.double).unbind()
    torch.testing.assert_close(InfoNCE(0.4)(a, b), InfoNCE(0.4)(b, a))
    one_sided = InfoNCE(0.4, symmetric=False)
    torch.testing.assert_close(InfoNCE(0.4)(a, b), (one_sided(a, b) + one_sided(b, a)) / 2)
    assert (one_sided(a, b) - one_sided(b, a)).abs() > 1e-3


def test_kmeans_start_puts_centres_on_clusters(graph):
    method = made(graph, centres="kmeans").eval()
    method.prepare([graph])
    with torch.no_grad():
        h = F.normalize(method.projector(method.encoder(graph).pooled))
    assert torch.cdist(method.centres, h).min(dim=1).values.max() < 0.5


def test_kmeans_with_fewer_points_than_clusters():
    assert kmeans(torch.randn(3, D), 5).shape == (5, D)


def test_refresh_restarts_centres_at_its_steps(graph):
    method = made(graph, refresh=3)
    for step, changed in ((1, False), (3, True), (4, False)):
        before = method.centres.detach().clone()
        method.progress = Progress(step, 10)
        method.step(graph)
        assert (not torch.equal(before, method.centres)) == changed


def multiplex_graph():
    torch.manual_seed(0)
    edges = torch.cat([torch.randint(N, (2, 100)), torch.randint(N, (2, 60))], dim=1)
    return Graph(x=torch.rand(N, 12), edge_index=edges, edge_type=torch.arange(160) // 100)


def test_multiplex_contrasts_every_pair_of_relations():
    graph = multiplex_graph()
    method = GCooL(Multiplex(12, relations=2, width=D), Relations(2), InfoNCE(0.4), communities=K)
    views = method.augmentation(graph)
    assert [v.num_edges for v in views] == [100, 60]
    losses = method.step(graph)
    losses["loss"].backward()
    for tower in method.encoder.towers:
        assert tower.layers[0].linear.weight.grad.norm() > 0
    h = [tower(view).pooled for tower, view in zip(method.encoder.towers, views, strict=True)]
    torch.testing.assert_close(method.embed(graph), (h[0] + h[1]) / 2)


def test_finds_planted_communities():
    """Five blocks: the communities of the centres follow them, with k-means starts and normalised densities."""
    from sklearn.metrics import normalized_mutual_info_score
    torch.manual_seed(0)
    n, blocks = 500, 5
    y = torch.arange(n) % blocks
    same = y[:, None] == y
    edges = (torch.rand(n, n) < torch.where(same, 0.088, 0.008)).nonzero().T
    words = torch.rand(blocks, 100) < 0.1
    x = (torch.rand(n, 100) < torch.where(words[y], 0.3, 0.05)).float()
    graph = checked(x, edges, where="blocks")
    method = GCooL(GCN(100, 32, 64), Adaptive(), InfoNCE(0.3), communities=blocks, temperature=0.3, density="normalized",
                   schedule="constant", centres="kmeans", refresh=20)
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for step in range(81):
        method.progress = Progress(step, 100)
        optimizer.zero_grad()
        method.step(graph)["loss"].backward()
        optimizer.step()
    method.eval()
    with torch.no_grad():
        members = method.assign(F.normalize(method.projector(method.encoder(graph).pooled))).argmax(dim=1)
    assert normalized_mutual_info_score(y, members) > 0.9
