"""Further ways to score frozen features: two probes, and link prediction, which needs a graph and so is no probe."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data as Graph

from ssl_core import Fold

from .graphs import checked
from .methods.pretext import joined

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of the SVM, as in GraphMAE's protocol
MOST = 10_000  # items beyond which an SVM is not trained


def svm(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Mean accuracy (`svm`) of an RBF-SVM over 10 stratified folds of all items, and their deviation (`svm_deviation`).

    The protocol of graph classification (GraphCL, GraphMAE), where collections are small: C is chosen by 5 folds within
    the training part of each fold. The three folds given are put together. Empty for a quantity or many items.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rows = torch.cat([fold.features for fold in (train, validation, test)]).double().cpu().numpy()
    labels = torch.cat([fold.labels for fold in (train, validation, test)]).cpu().numpy()
    if labels.dtype.kind == "f" or len(rows) > MOST or np.bincount(labels)[np.unique(labels)].min() < 10:
        return {}
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": STRENGTHS},
                          cv=StratifiedKFold(5, shuffle=True, random_state=0))
    scores = []
    for fitted, held in StratifiedKFold(10, shuffle=True, random_state=0).split(rows, labels):
        scores.append(search.fit(rows[fitted], labels[fitted]).score(rows[held], labels[held]))
    return {"svm": float(np.mean(scores)), "svm_deviation": float(np.std(scores))}


def similar(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Share of equal labels among the 5 nearest by cosine, within the test fold (`sim@5`; HDMI's protocol).

    No label is used to fit. Empty for a quantity.
    """
    if test.labels.is_floating_point() or len(test.labels) < 6:
        return {}
    unit, right = F.normalize(test.features, dim=1), []
    for start in range(0, len(unit), 1024):
        block = unit[start: start + 1024] @ unit.T
        block[torch.arange(len(block)), torch.arange(start, start + len(block))] = -torch.inf
        nearest = block.topk(5, dim=1).indices
        right.append(test.labels[nearest] == test.labels[start: start + 1024, None])
    return {"sim@5": float(torch.cat(right).double().mean())}


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
    folds = {name: Fold((found - mean) / deviation, links.folds[name][1]) for name, found in rows.items()}

    def auc(weight: Tensor, fold: Fold) -> float:
        scores = fold.features @ weight[:-1] + weight[-1]
        return float(roc_auc_score(fold.labels, scores[:, 1] - scores[:, 0]))

    weight = chosen = features.new_zeros(features.shape[1] + 1, 2)
    best = -1.0
    for penalty in PENALTIES:
        weight = fit(folds["train"].features, folds["train"].labels, weight, penalty)
        score = auc(weight, folds["validation"])
        if score > best:
            best, chosen = score, weight
    return {"link_auc": auc(chosen, folds["test"])}
