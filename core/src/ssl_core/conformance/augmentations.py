"""What is asked of an augmentation."""
from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import torch

from .. import checks
from ..batches import seed_all
from ..checks import attempt, need
from .subject import Subject, batch_of, pooled


def items(subject: Subject, name: str) -> None:
    """Views hold the items of the batch, a mask leaves a token of each; the batch is left as it was."""
    run = subject.using("augmentation", name)
    method, batch = run.method.eval(), batch_of(run)
    before = deepcopy(batch)
    checks.augmentation(method, batch, len(pooled(method.encoder, batch)))
    need(same(before, batch), f"augmentation {name}", "it changes the batch that it was given")


def seed(subject: Subject, name: str) -> None:
    """All that it draws comes from torch's generator: one seed gives one set of views, after a pickle too."""
    run = subject.using("augmentation", name)
    batch, who, drawn = batch_of(run), f"augmentation {name}", []
    given = run.method.encoder.layout(batch) if run.method.shown == "mask" else batch
    for augmentation in (run.method.augmentation, pickle.loads(pickle.dumps(run.method.augmentation))):
        torch.manual_seed(3)
        drawn.append(attempt(who, augmentation, given))
        seed_all(4)  # numbers from numpy or python would now differ
    need(same(*drawn), who, "one seed of torch gives two sets of views: does it draw from numpy or random?")


def same(a: Any, b: Any) -> bool:
    """Whether two batches hold the same, whatever they are."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "to_dict"):
        a, b = a.to_dict(), b.to_dict()
    if isinstance(a, dict):
        return bool(a.keys() == b.keys()) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b)


QUESTIONS = {"items": items, "seed": seed}
