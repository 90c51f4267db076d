"""Probes that judge item by item, so that a score has an interval of confidence."""
from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from torch import Tensor

from ..contracts import Fold


class PerItem:
    """Decorates a function that gives an outcome for every test item: right or not, an error squared, a precision.

    The probe that results gives their mean, or the root of it where the name ends with `rmse`.

        @PerItem
        def nearest(train, validation, test):
            return {"nearest": (guess(train, test.features) == test.labels).double()}

    Args:
        outcomes: train, validation, test -> outcomes (N,) by name.
    """

    def __init__(self, outcomes: Callable[[Fold, Fold, Fold], dict[str, Tensor]]) -> None:
        self.outcomes = outcomes
        update_wrapper(self, outcomes)

    def __call__(self, train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
        return {name: float(mean(name, items)) for name, items in self.outcomes(train, validation, test).items()}


def mean(name: str, outcomes: Tensor) -> Any:
    """The score of outcomes (..., N) -> (...)."""
    found = outcomes.double().mean(dim=-1)
    return found.sqrt() if name.endswith("rmse") else found
