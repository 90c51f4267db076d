"""Questions about a graph that answer themselves, each a component of its own: SelfTask-GNN's catalogue (arXiv:2006.10141).

A task is called with a graph and returns a `Question`; what it draws is drawn anew at every call. Its `weight` beside the
others is the paper's on Cora, a hundredth of its lambda.
"""
from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data as Graph

from ..augmentations import degree, view
from ..graphs import adjacency

FAR = 4  # hops at which a search stops: "four or more"


class Question(NamedTuple):
    """What to show, what to ask, and the answer.

    Args:
        graph: what the encoder sees.
        nodes: (M,) nodes that are asked about, or (2, M) pairs, of which |h_i - h_j| is seen.
        answers: (M, C): a quantity in each column, or one-hot classes.
        classes: whether the answers are classes.
    """

    graph: Graph
    nodes: Tensor
    answers: Tensor
    classes: bool


class Degree:
    """Has a node few, some or many neighbours? All nodes are asked.

    Args:
        cuts: the most neighbours of the first and of the second class.
    """

    outputs, weight = 3, 0.05

    def __init__(self, cuts: tuple[int, int] = (2, 7)) -> None:
        self.cuts = cuts

    def __call__(self, graph: Graph) -> Question:
        size = torch.bucketize(degree(graph), torch.tensor(self.cuts, dtype=graph.x.dtype, device=graph.x.device))
        return Question(graph, torch.arange(graph.num_nodes, device=size.device), one_hot(size, 3), True)


class EdgeMask:
    """Was there an edge? Asked of edges that were taken out and of as many random pairs without one.

    Args:
        share: of the edges to take out, both directions together.
    """

    outputs, weight = 2, 0.1

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    def __call__(self, graph: Graph) -> Question:
        (source, target), n = graph.edge_index, graph.num_nodes
        low, high = torch.minimum(source, target), torch.maximum(source, target)
        keys, which = torch.unique(low * n + high, return_inverse=True)  # one per undirected edge
        taken = torch.rand(len(keys), device=keys.device) < self.share
        pairs = torch.stack([keys[taken] // n, keys[taken] % n])
        guesses = torch.randint(n, (2, 2 * pairs.shape[1]), device=keys.device)
        strangers = guesses[:, ~joined(keys, guesses, n)][:, : pairs.shape[1]]
        answers = torch.arange(2, device=keys.device).repeat_interleave(
            torch.tensor([strangers.shape[1], pairs.shape[1]], device=keys.device))
        return Question(view(graph, ~taken[which]), torch.cat([strangers, pairs], dim=1), one_hot(answers, 2), True)


class AttributeMask:
    """Which features were blanked? Asked as the leading principal components of the features of some nodes.

    Args:
        share: of the nodes to blank.
        outputs: principal components to guess.
    """

    weight = 1.0

    def __init__(self, share: float = 0.1, outputs: int = 32) -> None:
        self.share, self.outputs = share, outputs
        self.known: tuple[Tensor, Tensor] | None = None  # features, and their components

    def __call__(self, graph: Graph) -> Question:
        if self.known is None or self.known[0] is not graph.x:
            self.known = graph.x, principal(graph.x, self.outputs)
        blank = torch.rand(graph.num_nodes, device=graph.x.device) < self.share
        nodes = blank.nonzero()[:, 0]
        return Question(view(graph, x=graph.x * ~blank[:, None]), nodes, self.known[1][nodes], False)


class PairDistance:
    """How many hops apart are two nodes: 1, 2, 3, or more? As many pairs of each kind, where there are.

    Args:
        pairs: of each kind.
        sources: nodes from which distances are found.
    """

    outputs, weight = FAR, 0.2

    def __init__(self, pairs: int = 400, sources: int = 64) -> None:
        self.pairs, self.sources = pairs, sources

    def __call__(self, graph: Graph) -> Question:
        start = torch.randperm(graph.num_nodes, device=graph.x.device)[: self.sources]
        hops = distances(graph, start, FAR)  # (N, S)
        found = [(hops == k).nonzero() for k in range(1, FAR + 1)]
        found = [place[torch.randperm(len(place), device=place.device)[: self.pairs]] for place in found]
        answers = torch.cat([torch.full((len(place),), k, device=place.device) for k, place in enumerate(found)])
        places = torch.cat(found)
        return Question(graph, torch.stack([places[:, 0], start[places[:, 1]]]), one_hot(answers, FAR), True)


class CentreDistance:
    """How far is each node from centres spread over the graph? Asked as 1 / (1 + hops), 0 where there is no way.

    Args:
        outputs: centres, found once per graph.
    """

    weight = 1.0

    def __init__(self, outputs: int = 10) -> None:
        self.outputs = outputs
        self.known: tuple[Tensor, Tensor] | None = None  # edges, and the answers for them

    def __call__(self, graph: Graph) -> Question:
        if self.known is None or self.known[0] is not graph.edge_index:
            self.known = graph.edge_index, (1 / (1 + spread(graph, self.outputs).to(graph.x.dtype)))
        return Question(graph, torch.arange(graph.num_nodes, device=graph.x.device), self.known[1], False)


class PairSimilarity:
    """How alike are the features of two nodes? Asked of the pairs most and least alike, by cosine.

    Args:
        nodes: drawn each time; each is asked about with its most and its least similar nodes.
        pairs: of either kind per node.
    """

    outputs, weight = 1, 1.0

    def __init__(self, nodes: int = 256, pairs: int = 5) -> None:
        self.nodes, self.pairs = nodes, pairs

    def __call__(self, graph: Graph) -> Question:
        drawn = torch.randperm(graph.num_nodes, device=graph.x.device)[: self.nodes]
        unit, count = F.normalize(graph.x, dim=1), min(self.pairs, graph.num_nodes - 1)
        alike = unit[drawn] @ unit.T
        alike[torch.arange(len(drawn), device=drawn.device), drawn] = torch.nan  # a node and itself is no question
        most = alike.nan_to_num(-torch.inf).topk(count, dim=1)
        least = alike.nan_to_num(torch.inf).topk(count, dim=1, largest=False)
        others = torch.cat([most.indices, least.indices], dim=1)
        answers = torch.cat([most.values, least.values], dim=1).flatten()
        return Question(graph, torch.stack([drawn.repeat_interleave(2 * count), others.flatten()]), answers[:, None], False)


TASKS: dict[str, Callable[[], Callable[[Graph], Question]]] = {
    "degree": Degree, "edge-mask": EdgeMask, "attribute-mask": AttributeMask, "pair-distance": PairDistance,
    "centre-distance": CentreDistance, "pair-similarity": PairSimilarity,
}


class Same:
    """One view: the graph as it is."""

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        return (copy(graph),)


def one_hot(classes: Tensor, count: int) -> Tensor:
    return F.one_hot(classes, count).to(torch.get_default_dtype())


def joined(keys: Tensor, pairs: Tensor, nodes: int) -> Tensor:
    """Whether pairs (2, M) are loops or among the sorted keys `low * nodes + high`: (M,) bool."""
    asked = pairs.amin(dim=0) * nodes + pairs.amax(dim=0)
    place = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
    return (keys[place] == asked) | (pairs[0] == pairs[1])


@torch.no_grad()
def principal(x: Tensor, count: int) -> Tensor:
    """The leading principal components of the rows, each with variance 1: (N, F) -> (N, count), zeros if F < count.

    Exact and without random numbers, so that a resumed run finds the same.
    """
    centred = x - x.mean(dim=0)
    with torch.autocast(x.device.type, enabled=False):
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
        found = centred @ vectors[:, -count:].flip(1)
    found = found / found.square().mean(dim=0).sqrt().clamp(min=1e-6)
    return F.pad(found, (0, count - found.shape[1]))


@torch.no_grad()
def distances(graph: Graph, start: Tensor, limit: int) -> Tensor:
    """Hops from each start to each node, at most `limit`: (N, S) long. A breadth-first search from all starts at once."""
    neighbours = adjacency(graph)
    reached = torch.zeros(graph.num_nodes, len(start), dtype=graph.x.dtype, device=graph.x.device)
    reached[start, torch.arange(len(start), device=start.device)] = 1
    hops = (1 - reached).long() * limit
    for step in range(1, limit):
        wider = widened(neighbours, reached)
        hops[(wider > reached)] = step
        reached = wider
    return hops


def widened(neighbours: Tensor, reached: Tensor) -> Tensor:
    """What is reached, 1 or 0, after one more hop: (N, S) -> (N, S)."""
    with torch.autocast(reached.device.type, enabled=False):  # sparse products know no 16 bits
        return ((torch.sparse.mm(neighbours, reached) + reached) > 0).to(reached.dtype)


@torch.no_grad()
def spread(graph: Graph, count: int) -> Tensor:
    """Hops from each node to centres far from each other, (N, count) float, infinite where there is no way.

    The first centre has the most neighbours; each next one is the node farthest from all centres so far, and of several
    the one with the most neighbours. A node beyond reach is farther than any other.
    """
    neighbours, size = adjacency(graph), degree(graph)
    columns: list[Tensor] = []
    nearest = torch.full_like(size, torch.inf)
    for _ in range(count):
        far = nearest == nearest.max()
        centre = torch.where(far, size, -1.0).argmax()
        hops = torch.full_like(size, torch.inf).index_fill(0, centre[None], 0.0)
        reached = (hops == 0).to(size.dtype)[:, None]
        for step in range(1, graph.num_nodes):
            wider = widened(neighbours, reached)
            new = (wider > reached)[:, 0]
            if not new.any():
                break
            hops[new], reached = float(step), wider
        columns.append(hops)
        nearest = torch.minimum(nearest, hops)
    return torch.stack(columns, dim=1)
