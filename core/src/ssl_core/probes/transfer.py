"""Scores that say without any training how well features suit a task."""
from __future__ import annotations

from .. import metrics
from ..contracts import Fold


def transfer(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`logme`, and for classes `hscore` and `ped`, of the training fold: larger is better, for features of one task only.

    Neither validation nor test labels are looked at.
    """
    found = {"logme": metrics.logme(train.features, train.labels)}
    if train.labels.is_floating_point():
        return found
    return found | {"hscore": metrics.h_score(train.features, train.labels),
                    "ped": metrics.ped(train.features, train.labels)}
