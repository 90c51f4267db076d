"""Is the encoder any good to use? One word, and the reason in a sentence."""
from __future__ import annotations

from math import isfinite
from typing import NamedTuple


class Verdict(NamedTuple):
    """`word`: healthy, collapsed, diverged, untrained or interrupted; `reason`: what was seen and what to try."""

    word: str
    reason: str


def verdict(*, steps: int, loss: float | None, rankme: float, untrained_rankme: float | None, width: int) -> Verdict:
    """Judge a finished run by its loss and the effective rank of its embedding.

    Collapsed: the rank is under 5 % of the width, and also under half of what the untrained encoder had (narrow data
    give a low rank without any collapse).
    """
    if not steps:
        return Verdict("untrained", "no step was taken: these are the scores of the untrained encoder")
    if loss is not None and not isfinite(loss) or rankme == 0.0:
        return Verdict("diverged", f"the loss ended at {loss}. Try a lower optimizer.lr or trainer.clip=1.0")
    floor = max(1.5, 0.05 * width)
    if rankme < floor and (untrained_rankme is None or rankme < untrained_rankme / 2):
        before = "" if untrained_rankme is None else f", from {untrained_rankme:.1f} before training"
        return Verdict("collapsed", f"the embedding uses {rankme:.1f} of {width} dimensions{before}. Try a lower "
                       "optimizer.lr, stronger views, or an objective with negatives or a variance term")
    return Verdict("healthy", f"the embedding uses {rankme:.1f} of {width} dimensions")
