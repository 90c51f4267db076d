"""A clustering probe: do k-means clusters of the embedding match the classes?"""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..contracts import Fold


def clustering(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`nmi`, `ari` and `acc` (best matching, Hungarian) of k-means on the unit rows of the test fold.

    k is the number of classes; no label is used to fit. Ten starts from the seed of torch, the tightest is taken. Empty for a
    quantity.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score

    if test.labels.is_floating_point():
        return {}
    rows, labels = F.normalize(test.features, dim=1).cpu().double().numpy(), test.labels.cpu().numpy()
    classes = len(np.unique(labels))
    if len(np.unique(rows.round(6), axis=0)) < classes:  # fewer points than clusters: the embedding has collapsed
        return {"nmi": 0.0, "ari": 0.0, "acc": float(np.bincount(labels).max() / len(labels))}
    found = KMeans(classes, n_init=10, random_state=torch.initial_seed() % 2**32).fit_predict(rows)
    table = confusion_matrix(np.unique(labels, return_inverse=True)[1], found)
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    return {"nmi": float(normalized_mutual_info_score(labels, found)), "ari": float(adjusted_rand_score(labels, found)),
            "acc": float(matched / len(labels))}
