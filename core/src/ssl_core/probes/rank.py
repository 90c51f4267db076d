"""Label-free scores of an embedding."""
from __future__ import annotations

import torch
from torch import Tensor


def rankme(features: Tensor, limit: int = 20_000, eps: float = 1e-7) -> float:
    """RankMe: exp of the entropy of the normalised singular values, from 1 to D (arXiv:2210.02885, equation 1).

    Args:
        features: (N, D); of more than `limit` rows, evenly spaced ones are taken.
    """
    step = max(1, len(features) // limit)
    values = torch.linalg.svdvals(features[::step].double())
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny) + eps
    return float((-(share * share.log()).sum()).exp())
