"""The same data with fewer images to learn from, for measuring what a method needs."""
from __future__ import annotations

from dataclasses import replace

import torch

from ssl_core import Data, DataError

from .images import InMemory


def fewer(data: Data, share: float, seed: int = 0) -> Data:
    """A random share of the training images, for training and for the probes' training fold; the other folds stay.

    Args:
        data: of this plugin, held in memory.
        share: above 0, up to 1; 8 images are kept at least.
        seed: of the choice; a smaller share is a part of a larger one.

    Raises:
        DataError: the images are decoded from files, batch by batch.
        ValueError: no such share.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share should lie above 0 and up to 1, got {share}")
    train = data.train
    if not isinstance(train, InMemory):
        raise DataError("only images that are held in memory can be thinned out.\n  Try: a larger data.memory")
    order = train.rows[torch.randperm(len(train.rows), generator=torch.Generator().manual_seed(seed))]
    rows = order[: max(8, round(share * len(order)))]
    kept = InMemory(train.pixels, train.labels, rows, train.batch_size, train.shuffle)
    known = data.folds.get("train")
    folds = dict(data.folds) | ({} if known is None else {"train": known[torch.isin(known, rows)]})
    return replace(data, train=kept, size=len(kept) * kept.batch_size, folds=folds)
