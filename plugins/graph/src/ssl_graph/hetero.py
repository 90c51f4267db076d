"""For graphs with nodes of several kinds (see `meta_paths`): an encoder, an augmentation, and small data to try them on."""
from __future__ import annotations

from copy import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Data, DataError, Representation
from ssl_core.modules import scatter_mean

from .data import folds, one_graph
from .encoders import GCNLayer
from .graphs import adjacency, relation
from .meta_paths import MetaPath, facts, heterogeneous


def digit_words(images: int = 600, words: int = 64, near: int = 2, keep: int = 10, seed: int = 0) -> Data:
    """scikit-learn's digits and their visual words: real images of 8 x 8, linked to the centres of k-means that their
    upper halves are nearest to, and their lower halves; images with words in common are joined.

    Args:
        images: how many, of 1,797.
        words: of the upper halves, and as many of the lower halves.
        near: nearest words that a half is linked to.
        keep: images that an image is joined to along either kind of words, at most.
        seed: of the random 10/10/80 split.
    """
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits

    if not 100 <= images <= 1797:
        raise ValueError(f"images should be 100 to 1797, got {images}")
    digits = load_digits()
    x, labels = digits.data[:images].astype(np.float32) / 16, torch.from_numpy(digits.target[:images]).long()
    paths = {}
    for name, half in ("upper", x[:, :32]), ("lower", x[:, 32:]):
        centres = KMeans(words, n_init=1, random_state=0).fit(half).cluster_centers_
        order = ((half[:, None] - centres) ** 2).sum(axis=2).argsort(axis=1)[:, :near]
        paths[name] = MetaPath(np.stack([order.ravel(), np.arange(len(x)).repeat(near)]), centres, keep)
    graph = heterogeneous(x, paths, "digit-words")
    return one_graph(graph, labels, folds(labels, {}, "random", seed, "digit-words"), "digit-words",
                     [str(i) for i in range(10)], **facts(paths))


def surroundings(graph: Graph) -> list[tuple[Tensor, Tensor]]:
    """For each meta-path the links from context nodes to target nodes, (2, L), and the features of the context nodes.

    Raises:
        DataError: the graph has nodes of one kind only.
    """
    if graph.get("contexts") is None:
        raise DataError("nodes of several kinds are needed, and this graph has one, or its augmentation left it one.\n"
                        "  Try: data=digit-words, or your own HeteroData, with augmentation=mask-once")
    return graph.contexts  # type: ignore[no-any-return]


class MaskOnce:
    """The graph, and the same with some features and links to context nodes left out: those drawn at the start, for good.

    They follow from the seed of the run, so that a run that goes on leaves out the same.

    Args:
        seed: of what is left out; from the run.
        features: share of the features of the target nodes that are set to 0.
        links: share of the links to context nodes.
    """

    def __init__(self, seed: int = 0, features: float = 0.3, links: float = 0.3) -> None:
        if not 0 <= features < 1 or not 0 <= links < 1:
            raise ValueError(f"features and links should be at least 0 and below 1, got {features} and {links}")
        self.seed, self.features, self.links = seed, features, links

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        draw, device = torch.Generator().manual_seed(self.seed), graph.x.device
        made = copy(graph)
        made.x = graph.x * (torch.rand(graph.x.shape, generator=draw) >= self.features).to(device)
        made.contexts = [(links[:, (torch.rand(links.shape[1], generator=draw) >= self.links).to(device)], x)
                         for links, x in surroundings(graph)]
        return graph, made


class ContextGCN(nn.Module):
    """Two looks at target nodes (MEOW, arXiv:2212.13847): who is joined to whom, and through what. It keeps the second.

    `coarse` convolves the nodes' own features, averaged over meta-paths. `fine` convolves them beside the mean of the context
    nodes of a meta-path, in one network for all, and weighs meta-paths by attention. Departs from the paper: the norm is over
    each row, not over all of them, so that no row depends on how many others there are.

    Args:
        in_features, relations, context_features: of target nodes, meta-paths, and context nodes of each; from the data.
        width: of both.
        dropout: share of the projected features dropped while training.
    """

    def __init__(self, in_features: int, relations: int, context_features: tuple[int, ...], width: int = 64,
                 dropout: float = 0.3) -> None:
        super().__init__()
        if len(context_features) != relations:
            raise ValueError(f"expected one context for each of {relations} meta-paths, got {len(context_features)}")
        self.width, self.dropout = width, nn.Dropout(dropout)
        self.enter = nn.Linear(in_features, width)
        self.contexts = nn.ModuleList(nn.Linear(features, width) for features in context_features)
        self.outer, self.first, self.second = GCNLayer(width, width), GCNLayer(2 * width, width), GCNLayer(width, width)
        self.norm, self.activation = nn.LayerNorm(width), nn.PReLU()
        self.ask, self.answer = nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, graph: Graph) -> Representation:
        rows = self.fine(graph)
        return Representation(rows, rows)

    def coarse(self, graph: Graph) -> Tensor:
        """(N, width), without a look at context nodes."""
        x = self.dropout(F.elu(self.enter(graph.x)))
        parts = [self.outer(x, *self.near(graph, i)) for i in range(len(self.contexts))]
        return self.activation(torch.stack(parts).mean(dim=0))  # type: ignore[no-any-return]

    def fine(self, graph: Graph) -> Tensor:
        """(N, width), with the context nodes of every meta-path."""
        x, parts = self.dropout(F.elu(self.enter(graph.x))), []
        for i, (enter, (links, features)) in enumerate(zip(self.contexts, surroundings(graph), strict=True)):
            context = scatter_mean(F.elu(enter(features)).index_select(0, links[0]), links[1], len(x))
            near = self.near(graph, i)
            inner = self.activation(self.first(torch.cat([self.dropout(context), x], dim=1), *near))
            parts.append(self.norm(self.second(inner, *near)))
        rows = torch.stack(parts)  # (P, N, D)
        share = self.answer(self.ask(rows).tanh().mean(dim=1)).softmax(dim=0)  # (P, 1): one weight for all nodes
        return (share[:, :, None] * rows).sum(dim=0)  # type: ignore[no-any-return]

    @staticmethod
    def near(graph: Graph, number: int) -> tuple[Tensor, Tensor]:
        """Adjacency and degrees along one meta-path."""
        neighbours = adjacency(relation(graph, number))
        return neighbours, neighbours.sum(dim=1, keepdim=True).to_dense()[:, 0]
