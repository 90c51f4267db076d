"""What numbers an objective may be given. NaN is never one of them."""
from __future__ import annotations

from math import isfinite


def positive(**options: float) -> None:
    """Raise a ValueError unless every option is a number above 0: a temperature is divided by."""
    for name, number in options.items():
        if not (number > 0 and isfinite(number)):
            raise ValueError(f"{name} should be above 0, got {number}")


def at_least(least: int, **options: float) -> None:
    """Raise a ValueError unless every option is so much or more."""
    for name, number in options.items():
        if not (number >= least and isfinite(number)):
            raise ValueError(f"{name} should be {least} or more, got {number}")


def shares(**options: float) -> None:
    """Raise a ValueError unless every option lies between 0 and 1."""
    for name, number in options.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name} should lie between 0 and 1, got {number}")
