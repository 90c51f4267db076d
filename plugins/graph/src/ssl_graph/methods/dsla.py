"""D-SLA: tell a graph from edited copies of itself, and put copies as far away as they were edited (arXiv:2202.02989)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, Data as Graph

from ssl_core import Method
from ssl_core.masks import rank_in_item
from ssl_core.modules import mlp

from ..augmentations import view
from ..graphs import adjacency, aggregate, owners
from .pretext import joined


class EditLadder:
    """The graph and copies of it, each edited more than the one before, with `edits` (G,): how far it is from the graph.

    A copy loses some edges of a region around a random node and gets as many new ones there; the last copy is edited all
    over. The features of some nodes are blanked in all of them.

    Args:
        rungs: copies whose region is edited, beside the last one.
        share: of the region's edges that the first copy loses; the i-th loses i times as many.
        hops: of the region.
        blank: share of the region's nodes whose features are blanked; of all nodes in the last copy.
    """

    def __init__(self, rungs: int = 3, share: float = 0.2, hops: int = 3, blank: float = 0.2) -> None:
        if rungs < 1 or hops < 1 or not 0 < share * (rungs + 1) < 1 or not 0 <= blank < 1:
            raise ValueError(f"rungs and hops should be 1 or more, share * (rungs + 1) below 1 and blank in [0, 1), "
                             f"got {rungs}, {hops}, {share} and {blank}")
        self.rungs, self.share, self.hops, self.blank = rungs, share, hops, blank

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        region = self.region(graph)
        hidden = torch.rand(graph.num_nodes, device=region.device) < self.blank
        x = graph.x * ~(hidden & region)[:, None]
        copies = [edited(graph, region, i * self.share, x) for i in range(1, self.rungs + 1)]
        everywhere = torch.ones_like(region)
        return view(graph, x=x), *copies, edited(graph, everywhere, (self.rungs + 1) * self.share, graph.x * ~hidden[:, None])

    def region(self, graph: Graph) -> Tensor:
        """Nodes within some hops of one random node of each graph, (N,) bool."""
        owner, _ = owners(graph)
        rank, _ = rank_in_item(torch.rand(len(owner), device=owner.device), owner)
        inside, neighbours = (rank == 0).to(graph.x.dtype)[:, None], adjacency(graph)
        for _ in range(self.hops):
            inside = ((aggregate(neighbours, inside) + inside) > 0).to(inside.dtype)
        return inside[:, 0] > 0


def edited(graph: Graph, region: Tensor, share: float, x: Tensor) -> Graph:
    """A copy that lost a share of the edges inside a region (N,), one of each graph at least, and got as many new ones."""
    (source, target), (owner, graphs), n = graph.edge_index, owners(graph), graph.num_nodes
    keys, which = torch.unique(torch.minimum(source, target) * n + torch.maximum(source, target), return_inverse=True)
    low, high = keys // n, keys % n
    inside = (region[low] & region[high]).nonzero()[:, 0]  # undirected edges
    count = torch.bincount(owner[low[inside]], minlength=graphs)
    wanted = (share * count).long().clamp(min=1)  # of each graph
    lost = torch.zeros(len(keys), dtype=torch.bool, device=keys.device)
    if len(inside):
        rank, _ = rank_in_item(torch.rand(len(inside), device=keys.device), owner[low[inside]])
        lost[inside[rank < wanted[owner[low[inside]]]]] = True
    new = strangers(keys, region, owner, graphs, wanted, n)
    edges = torch.cat([graph.edge_index[:, ~lost[which]], new, new.flip(0)], dim=1)
    made = view(graph, x=x)
    made.edge_index = edges[:, (edges[1] * n + edges[0]).argsort()]
    removed = torch.bincount(owner[low[lost]], minlength=graphs)
    made.edits = (removed + torch.bincount(owner[new[0]], minlength=graphs)) / 2
    return made


def strangers(keys: Tensor, region: Tensor, owner: Tensor, graphs: int, wanted: Tensor, nodes: int) -> Tensor:
    """Pairs (2, M) without an edge inside the region, as many as wanted of each graph (graphs,) where there are so many.

    Drawn and rejected: a list of all pairs would be quadratic in the nodes.
    """
    members = region.nonzero()[:, 0]  # by graph
    size = torch.bincount(owner[members], minlength=graphs)
    first = size.cumsum(0) - size
    asked = (4 * wanted + 8) * (size > 1)
    which = torch.arange(graphs, device=keys.device).repeat_interleave(asked)
    ends = [members[first[which] + (torch.rand(len(which), device=keys.device) * size[which]).long()] for _ in range(2)]
    pairs = torch.stack([torch.minimum(*ends), torch.maximum(*ends)])
    pairs = pairs[:, ~joined(keys, pairs, nodes)] if len(keys) else pairs[:, pairs[0] != pairs[1]]
    found = (pairs[0] * nodes + pairs[1]).unique()
    if not len(found):
        return pairs[:, :0]
    pairs = torch.stack([found // nodes, found % nodes])
    rank, _ = rank_in_item(torch.rand(len(found), device=keys.device), owner[pairs[0]])
    return pairs[:, rank < wanted[owner[pairs[0]]]]


class DSLA(Method):
    """Three terms on the graph, its edited copies and the other graphs of the batch, all from one pass of the encoder.

    A scorer picks the graph among its copies (by cross-entropy); distances to the copies are proportional to their edits
    (every two ratios agree); other graphs are farther away than any copy edited in a region only.
    Departs from the paper: edges have no types.

    Args:
        proportion: weight of the second term.
        apart: weight of the third term.
        margin: by how much other graphs are to be farther away.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, proportion: float = 0.7, apart: float = 0.5,
                 margin: float = 5.0) -> None:
        super().__init__(encoder, augmentation, objective)
        if getattr(encoder, "level", "graph") == "node":
            raise ValueError("d-sla tells whole graphs from edited copies, and items of these data are the nodes of one graph")
        self.scorer = mlp(encoder.width, encoder.width, encoder.width, 1, norm="none")
        self.proportion, self.apart, self.margin = proportion, apart, margin

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        together = Batch.from_data_list([Graph(x=v.x, edge_index=v.edge_index) for v in views])
        owner, graphs = owners(batch)
        shift = torch.arange(len(views), device=owner.device).repeat_interleave(len(owner)) * graphs
        together.batch, together.by_target = owner.repeat(len(views)) + shift, True
        together._num_graphs = graphs * len(views)
        rows = self.encoder(together).pooled.unflatten(0, (len(views), graphs))  # (V, B, D)
        scores = self.scorer(rows)[..., 0].T  # (B, V), the graph itself first
        rows, scores = (wide.float() if wide.itemsize < 4 else wide for wide in (rows, scores))
        far = distance(rows[1:], rows[0])  # (V - 1, B)
        tell = F.cross_entropy(scores, torch.zeros_like(scores[:, 0], dtype=torch.long))
        ratio = far / torch.stack([v.edits for v in views[1:]]).clamp(min=0.5)
        proportion = disagreement(ratio)
        apart = self.away(rows[0], far[:-1])
        loss = tell + self.proportion * proportion + self.apart * apart
        return {"loss": loss, "tell": tell, "proportion": proportion, "apart": apart}

    def away(self, graphs: Tensor, far: Tensor) -> Tensor:
        """Mean of max(0, margin + distance to a copy - distance to another graph): (B, D), (V, B) -> ()."""
        b = len(graphs)
        if b < 2:
            return graphs.new_zeros(())
        others = distance(graphs[:, None], graphs[None])[~torch.eye(b, dtype=torch.bool, device=graphs.device)].view(b, b - 1)
        return (self.margin + far[:, :, None] - others).clamp(min=0).mean()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, with a gradient where rows coincide, as unchanged copies do."""
    return ((a - b).square().sum(dim=-1) + 1e-12).sqrt()


def disagreement(ratio: Tensor) -> Tensor:
    """Mean over all pairs of copies and all graphs of (r_i - r_j)^2: (V, B) -> ().

    By sums over copies: the sum over pairs is V sum r^2 - (sum r)^2.
    """
    v = len(ratio)
    pairs = v * ratio.square().sum(dim=0) - ratio.sum(dim=0).square()
    return pairs.clamp(min=0).mean() / max(1, v * (v - 1) // 2)
