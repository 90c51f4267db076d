"""Speaker verification: are two recordings of one speaker?"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Fold


def eer(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`eer`: the rate at which as many pairs of one class are refused as pairs of two classes are accepted; lower is better.

    Trials are all pairs of test items, scored by the cosine of their embeddings after the mean of the training fold is taken
    off. Labels should be speakers. Empty for a quantity, and where there are no pairs of both kinds.
    """
    if test.labels.is_floating_point():
        return {}
    rows = F.normalize(test.features - train.features.mean(dim=0), dim=1)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    same = test.labels[first] == test.labels[second]
    if same.all() or not same.any():
        return {}
    return {"eer": equal_error_rate((rows @ rows.T)[first, second], same)}


def equal_error_rate(scores: Tensor, same: Tensor) -> float:
    """Where the rates of false refusals and false acceptances meet, by linear interpolation: (P,), (P,) bool -> [0, 1]."""
    order = scores.argsort(descending=True)
    ordered, right = scores[order], same[order].double()
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])  # ties fall together
    accepted = (1 - right).cumsum(0)[last] / (1 - right).sum()
    refused = 1 - right.cumsum(0)[last] / right.sum()
    accepted, refused = (F.pad(rate, (1, 0), value=edge) for rate, edge in ((accepted, 0.0), (refused, 1.0)))
    at = int((accepted >= refused).double().argmax())  # 1 or more: nothing is accepted before the first score
    gap, after = refused[at - 1] - accepted[at - 1], accepted[at] - refused[at]
    return float(accepted[at - 1] + gap / (gap + after) * (accepted[at] - accepted[at - 1]))
