"""SupCon: items of one class are positives of each other (arXiv:2004.11362, equation 2)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather, rank
from ..errors import DataError
from .bounds import positive
from .infonce import against_others


class SupCon(nn.Module):
    """Contrast in which all other rows of the same class are positives, outside the logarithm.

    The mean similarity with the positives is the inner product with their sum, so no M x M mask is made.

    Args:
        temperature: of the softmax over cosine similarities.
    """

    gathers = True

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        """V times (N, D), labels (N,) long -> (). An item labelled -1 has its own views as positives only.

        Raises:
            DataError: the labels are quantities, not classes.
        """
        if labels.is_floating_point():
            raise DataError("SupCon needs classes; these labels are quantities.\n  Try: objective=supremix")
        rows, scale = F.normalize(torch.cat(views), dim=1), 1 / self.temperature  # (M, D)
        everyone, classes = gather(rows), gather(own_class(labels).repeat(len(views)))
        group = first_of_kind(classes)
        mine = group[rank() * len(rows):][: len(rows)]
        whole = torch.zeros_like(everyone).index_add(0, group, everyone)[mine]  # sum of the anchor's class, itself included
        count = torch.zeros_like(everyone[:, 0]).index_add(0, group, torch.ones_like(everyone[:, 0]))[mine] - 1
        alike = (rows * (whole - rows)).sum(dim=1) / count.clamp(min=1) * scale
        against = against_others(rows, scale)
        return ((against - alike) * (count > 0)).sum() / len(rows)


def own_class(labels: Tensor) -> Tensor:
    """Labels with a class of its own for each item without a label (-1), different on every process."""
    alone = -1 - torch.arange(len(labels), device=labels.device) - rank() * len(labels)
    return torch.where(labels < 0, alone, labels)


def first_of_kind(labels: Tensor) -> Tensor:
    """A number below M for each label, the same for equal ones: (M,) -> (M,). Unlike `unique`, no wait for the device."""
    return torch.searchsorted(labels.sort().values, labels)
