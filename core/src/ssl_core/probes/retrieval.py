"""A retrieval probe: are the nearest neighbours of an item of its class?"""
from __future__ import annotations

from torch import Tensor

from ..contracts import Fold
from ..metrics import average_precision
from .base import PerItem


@PerItem
def retrieval(train: Fold, validation: Fold, test: Fold) -> dict[str, Tensor]:
    """Mean average precision (`map`) and `recall@1`, `@5`, `@10` of each test item among all others by cosine.

    No label is used to fit. Empty for a quantity, and where no class has two test items.
    """
    if test.labels.is_floating_point() or int(test.labels.unique(return_counts=True)[1].max()) < 2:
        return {}
    return average_precision(test.features, test.labels)
