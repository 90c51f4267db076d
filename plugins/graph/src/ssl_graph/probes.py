"""Further ways to score frozen features by labels."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ssl_core import Fold

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
