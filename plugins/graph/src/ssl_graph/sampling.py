"""Mini-batches of one large graph: sampled neighbourhoods and clusters, in plain torch, without a loop over nodes.

A batch is a graph of its own; all of its nodes are items. Features are gathered batch by batch, so `x` may lie in a
memory-mapped file. Everything is drawn from torch's generator, so that an epoch can be replayed.
"""
from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor
from torch_geometric.data import Data as Graph


class Neighbours:
    """Who points at whom, in compressed rows.

    Args:
        graph: edges sorted by target or not.
    """

    def __init__(self, graph: Graph) -> None:
        source, target = graph.edge_index
        order = torch.arange(len(target)) if graph.get("by_target") is not None else target.argsort(stable=True)
        self.sources, self.edges = source[order], order
        self.starts = torch.zeros(graph.num_nodes + 1, dtype=torch.long)
        self.starts[1:] = torch.bincount(target, minlength=graph.num_nodes).cumsum(0)

    def all(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Every edge into these nodes: the place of its target in `nodes`, and its place in `sources`: (M,), (M,)."""
        start, count = self.starts[nodes], self.starts[nodes + 1] - self.starts[nodes]
        target = torch.arange(len(nodes)).repeat_interleave(count)
        return target, torch.arange(len(target)) + (start - (count.cumsum(0) - count))[target]

    def some(self, nodes: Tensor, fanout: int) -> tuple[Tensor, Tensor]:
        """At most `fanout` edges into each of these nodes, every subset as likely as any other; as `all` gives them.

        Floyd's sampling without replacement for all nodes at once: O(nodes * fanout^2), whatever their degrees.
        """
        start, count = self.starts[nodes], self.starts[nodes + 1] - self.starts[nodes]
        picked = torch.arange(fanout).expand(len(nodes), fanout).clone()  # right for those with no more than `fanout`
        many = count > fanout
        chosen, size = picked[many], count[many]
        for i in range(fanout):
            last = size - fanout + i
            guess = (torch.rand(len(size), dtype=torch.float64) * (last + 1)).long()
            taken = (chosen[:, :i] == guess[:, None]).any(dim=1)
            chosen[:, i] = torch.where(taken, last, guess)
        picked[many] = chosen
        target, column = (torch.arange(fanout) < count[:, None]).nonzero(as_tuple=True)
        return target, start[target] + picked[target, column]


class _Batches:
    """Cut graphs out of one large graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.neighbours = graph, Neighbours(graph)
        self.place = torch.full((graph.num_nodes,), -1)  # of each node in the batch in hand; -1 outside of it

    def induced(self, nodes: Tensor) -> Graph:
        """These nodes, in this order, and every edge between them."""
        self.place[nodes] = torch.arange(len(nodes))
        target, at = self.neighbours.all(nodes)
        source = self.place[self.neighbours.sources[at]]
        self.place[nodes] = -1
        return self.cut(nodes, source[source >= 0], target[source >= 0], at[source >= 0])

    def cut(self, nodes: Tensor, source: Tensor, target: Tensor, at: Tensor) -> Graph:
        """A batch, its edges sorted by target and then by source."""
        order = (target * len(nodes) + source).argsort()
        made = Graph(x=self.graph.x[nodes], edge_index=torch.stack([source, target])[:, order], nodes=nodes)
        made.by_target = True
        for name in ("edge_type", "edge_weight"):
            if self.graph.get(name) is not None:
                made[name] = self.graph[name][self.neighbours.edges[at[order]]]
        return made


class Neighbourhoods(_Batches):
    """Batches of random nodes and what lies around them (GraphSAGE, arXiv:1706.02216). Each node is a seed once an epoch.

    Args:
        graph: on the CPU.
        batch_size: seeds of a batch; they are its first nodes.
        fanouts: neighbours drawn per node, one number for each hop.
        induced: keep every edge between the nodes of a batch, not only those along which they were drawn.
    """

    def __init__(self, graph: Graph, batch_size: int = 1024, fanouts: tuple[int, ...] = (10, 10), induced: bool = True
                 ) -> None:
        if batch_size < 1 or not fanouts or min(fanouts) < 1:
            raise ValueError(f"batch_size and fanouts should be 1 or more, got {batch_size} and {fanouts}")
        super().__init__(graph)
        self.batch_size, self.fanouts, self.all_edges = batch_size, fanouts, induced

    def __len__(self) -> int:
        return ceil(self.graph.num_nodes / self.batch_size)

    def __iter__(self) -> Iterator[Graph]:
        for seeds in torch.randperm(self.graph.num_nodes).split(self.batch_size):
            yield self.around(seeds)

    def around(self, seeds: Tensor) -> Graph:
        """The seeds and their sampled surroundings, hop by hop; a node is expanded once."""
        nodes = frontier = seeds
        self.place[seeds] = torch.arange(len(seeds))
        edges: list[tuple[Tensor, Tensor]] = []  # target in the batch, place in `sources`
        for fanout in self.fanouts:
            target, at = self.neighbours.some(frontier, fanout)
            edges.append((target + len(nodes) - len(frontier), at))
            found = self.neighbours.sources[at]
            frontier = found[self.place[found] < 0].unique()
            self.place[frontier] = torch.arange(len(nodes), len(nodes) + len(frontier))
            nodes = torch.cat([nodes, frontier])
        if self.all_edges:
            return self.induced(nodes)
        target, at = (torch.cat(parts) for parts in zip(*edges, strict=True))
        source = self.place[self.neighbours.sources[at]]
        self.place[nodes] = -1
        return self.cut(nodes, source, target, at)


class Clusters(_Batches):
    """Batches of clusters with all edges inside and between them (Cluster-GCN, arXiv:1905.07953), grown, not by METIS.

    Args:
        graph: on the CPU.
        clusters: how many to grow; found once.
        together: clusters of a batch, drawn anew each epoch.
        seed: of the clusters.
    """

    def __init__(self, graph: Graph, clusters: int = 100, together: int = 10, seed: int = 0) -> None:
        if not 1 <= together <= clusters <= graph.num_nodes:
            raise ValueError(f"expected 1 <= together <= clusters <= nodes, got {together}, {clusters}, {graph.num_nodes}")
        super().__init__(graph)
        self.together = together
        member = partition(graph, clusters, seed)
        self.clusters = torch.argsort(member, stable=True).split(torch.bincount(member, minlength=clusters).tolist())

    def __len__(self) -> int:
        return ceil(len(self.clusters) / self.together)

    def __iter__(self) -> Iterator[Graph]:
        for chosen in torch.randperm(len(self.clusters)).split(self.together):
            yield self.induced(torch.cat([self.clusters[i] for i in chosen.tolist()]))


def partition(graph: Graph, parts: int, seed: int = 0) -> Tensor:
    """Connected regions grown from random nodes, (N,) long: in each round a free node joins a random neighbour's region.

    No part is empty. What no region reaches is dealt out at random. O(N) per round; does not touch torch's generator.
    """
    draw = torch.Generator().manual_seed(seed)
    neighbours, n = Neighbours(graph), graph.num_nodes
    member = torch.full((n,), -1)
    member[torch.randperm(n, generator=draw)[:parts]] = torch.arange(parts)
    count = neighbours.starts.diff()
    free = ((member < 0) & (count > 0)).nonzero()[:, 0]
    idle = 0
    while len(free) and idle < 20:  # a free node beside a region may draw another neighbour a few times
        asked = neighbours.starts[free] + (torch.rand(len(free), generator=draw, dtype=torch.float64) * count[free]).long()
        member[free] = member[neighbours.sources[asked]]
        left = free[member[free] < 0]
        free, idle = left, idle + 1 if len(left) == len(free) else 0
    rest = member < 0
    member[rest] = torch.randint(parts, (int(rest.sum()),), generator=draw)
    return member
