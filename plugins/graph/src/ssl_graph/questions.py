"""What can be asked of nodes without their labels: which edges were hidden, and which region each lies in.

They are options of data sets (`data.hidden_links=0.15 data.regions=10`), since edges have to be hidden before training.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data as Graph

from ssl_core import Data, DataError, Fold

from .graphs import checked, fingerprint, random_folds
from .methods.pretext import joined
from .sampling import partition

MOST = 50_000  # links that are asked about in a fold, and as many pairs that are none
Ask = Callable[[Tensor], dict[str, float]]


def asking(data: Data, hidden_links: float = 0.0, regions: int = 0, seed: int = 0) -> Data:
    """The same data set without some of its links, and what is asked of every embedding of it.

    Args:
        hidden_links: share of the links that are taken out of the graph before training, a third of them to choose by and the
            rest to score by (`link_auc`, see `predict_links`); 0 for none.
        regions: parts of the graph, of which each node's is to be told (`partition`, see `tell_regions`); 0 for none. With
            both, and classes, `four_tasks` is the mean of accuracy, NMI, `link_auc` and `partition` (ParetoGNN,
            arXiv:2210.02016, section 4; there by METIS, and from two trainings, with and without the links).
        seed: of what is hidden.

    Raises:
        DataError: there are many graphs, or relations of several kinds.
    """
    if not 0 <= hidden_links <= 0.5 or regions < 0 or regions == 1:
        raise ValueError(f"hidden_links should be 0 to 0.5, and regions 0, or 2 or more, got {hidden_links} and {regions}")
    if not hidden_links and not regions:
        return data
    if not isinstance(data.items, list) or data.items[0].get("edge_type") is not None:
        raise DataError("data.hidden_links and data.regions ask about one graph with edges of one kind; here are "
                        "many graphs, or edges of several kinds")
    (graph,), asks = data.items, []
    if regions:
        asks.append(partial(tell_regions, member=partition(graph, min(regions, graph.num_nodes)), folds=data.folds))
    if hidden_links:
        links = hide_links(graph, seed, hidden_links / 3, 2 * hidden_links / 3)
        if any(len(there.unique()) < 2 for _, there in links.folds.values()):
            raise DataError(f"data.hidden_links={hidden_links:g} needs links to hide, and pairs without one, in every fold; "
                            f"the graph has {graph.num_nodes} nodes and {graph.num_edges // 2} links.\n"
                            f"  Try: a larger share, or data.hidden_links=0")
        asks.append(partial(predict_links, links=links))
        data = replace(data, train=[links.graph], items=[links.graph],
                       fingerprint=fingerprint(links.graph.x, links.graph.edge_index))
    return replace(data, asks=partial(answers, asks=asks, data=data))


def answers(features: Tensor, asks: list[Ask], data: Data) -> dict[str, float]:
    """The scores of all that is asked, and the mean of ParetoGNN's four tasks where all four are there."""
    found = {name: score for ask in asks for name, score in ask(features).items()}
    if len(asks) == 2 and data.labels is not None and not data.labels.is_floating_point():
        from ssl_core.evaluation import folds
        from ssl_core.probes.clustering import clustering
        from ssl_core.probes.linear import linear
        given = folds(features, data)
        found["four_tasks"] = fmean([linear(*given)["linear"], clustering(*given)["nmi"], *found.values()])
    return found


class Links(NamedTuple):
    """A graph without some of its edges, and what to ask about it.

    Args:
        graph: with the edges that may be seen; train the encoder on it.
        folds: for "train", "validation" and "test": pairs (2, M), and 1 where there is an edge, else 0 (M,).
    """

    graph: Graph
    folds: dict[str, tuple[Tensor, Tensor]]


def hide_links(graph: Graph, seed: int = 0, validation: float = 0.05, test: float = 0.1) -> Links:
    """Take edges out of an undirected graph, for link prediction.

    Edges of the training fold stay in the graph. Each fold has as many pairs without an edge in the whole graph; no pair
    is in two folds.

    Args:
        validation, test: shares of the edges.
    """
    n, draw = graph.num_nodes, torch.Generator().manual_seed(seed)
    keys = (graph.edge_index.amin(dim=0) * n + graph.edge_index.amax(dim=0)).unique()
    guesses = torch.randint(n, (2, 3 * len(keys) + 100), generator=draw)
    none = guesses[:, ~joined(keys, guesses, n)]
    none = (none.amin(dim=0) * n + none.amax(dim=0)).unique()

    def cut(found: Tensor) -> tuple[Tensor, ...]:
        found = found[torch.randperm(len(found), generator=draw)[: len(keys)]]
        return found.tensor_split([round(len(found) * (1 - validation - test)), round(len(found) * (1 - test))])

    edges, strangers = cut(keys), cut(none)
    folds = {}
    for name, here, away in zip(("train", "validation", "test"), edges, strangers, strict=True):
        here, away = here[:MOST], away[:MOST]
        both = torch.cat([here, away])
        folds[name] = torch.stack([both // n, both % n]), (torch.arange(len(both)) < len(here)).long()
    seen = torch.stack([edges[0] // n, edges[0] % n])
    return Links(checked(graph.x, seen, where="the graph with hidden links"), folds)


def predict_links(features: Tensor, links: Links) -> dict[str, float]:
    """ROC-AUC (`link_auc`) of logistic regression on products h_i * h_j; its penalty is chosen on validation."""
    from sklearn.metrics import roc_auc_score

    from ssl_core.probes.linear import STRENGTHS as PENALTIES, fit

    rows = {name: features[i] * features[j] for name, ((i, j), _) in links.folds.items()}
    mean, deviation = rows["train"].mean(dim=0), rows["train"].std(dim=0).clamp(min=1e-6)
    folds = {name: Fold((found - mean) / deviation, links.folds[name][1].to(found.device)) for name, found in rows.items()}

    def auc(weight: Tensor, fold: Fold) -> float:
        scores = fold.features @ weight[:-1] + weight[-1]
        return float(roc_auc_score(fold.labels.cpu(), (scores[:, 1] - scores[:, 0]).cpu()))

    weight = chosen = features.new_zeros(features.shape[1] + 1, 2)
    best = -1.0
    for penalty in PENALTIES:
        weight = fit(folds["train"].features, folds["train"].labels, weight, penalty)
        score = auc(weight, folds["validation"])
        if score > best:
            best, chosen = score, weight
    return {"link_auc": auc(chosen, folds["test"])}


def tell_regions(features: Tensor, member: Tensor, folds: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy (`partition`) of logistic regression that tells the region of a node, on the folds of the nodes, or on
    10/10/80 % of them where there are none.

    Args:
        member: the region of each node, (N,).
    """
    from ssl_core.probes.linear import linear
    folds, member = folds or random_folds(len(member), 0), member.to(features.device)
    parts = (folds[name] for name in ("train", "validation", "test"))
    return {"partition": linear(*(Fold(features[part], member[part]) for part in parts))["linear"]}
