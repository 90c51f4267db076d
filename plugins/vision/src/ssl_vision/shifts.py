"""Test images from another domain than the training ones: corrupted or recoloured, for measuring what a shift costs."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Data, DataError
from ssl_core.batches import seed_all, unnoticed

from . import colour
from .images import Images, unit

Change = Callable[[Tensor], Tensor]  # pixels (B, C, H, W) from 0 to 1 -> as many


def noise(x: Tensor) -> Tensor:
    """Normal noise of deviation 0.15."""
    return (x + 0.15 * torch.randn_like(x)).clamp(0, 1)


def blurred(x: Tensor) -> Tensor:
    """Means of three by three pixels."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def faded(x: Tensor) -> Tensor:
    """A third of the contrast."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) / 3


def coarse(x: Tensor) -> Tensor:
    """Half as many pixels along each side."""
    small = F.adaptive_avg_pool2d(x, [max(1, side // 2) for side in x.shape[2:]])
    return F.interpolate(small, x.shape[2:], mode="nearest")


def recoloured(x: Tensor) -> Tensor:
    """Other brightness, contrast, saturation and hue for each image."""
    return colour.apply(x, colour.draw(len(x), (0.5, 0.5, 0.8, 0.3), 1.0, 0.0, x.device))


def negative(x: Tensor) -> Tensor:
    """Dark and light exchanged."""
    return 1 - x


SHIFTS: dict[str, Change] = {"noise": noise, "blurred": blurred, "faded": faded, "coarse": coarse, "recoloured": recoloured,
                             "negative": negative}


def shifted(data: Data, change: Change, seed: int = 0) -> Data:
    """The same data, the images of the test fold changed: probes learn on the others as they are.

    Args:
        data: of this plugin, with a test fold.
        change: one of `SHIFTS`.
        seed: of what it draws, so that two encoders see the same images.

    Raises:
        DataError: there is no test fold.
    """
    if "test" not in data.folds or data.items is None:
        raise DataError("a shift is measured on the test fold, and these data have none.\n  Try: labelled data")
    return replace(data, items=_Changed(data.items, data.folds["test"], change, seed))


class _Changed:
    """Batches of all items in their order, some of them changed."""

    def __init__(self, batches: Any, rows: Tensor, change: Change, seed: int) -> None:
        self.batches, self.rows, self.change, self.seed = batches, rows, change, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Images]:
        start = 0
        for number, batch in enumerate(self.batches):
            x = unit(batch.pixels)
            with unnoticed():
                seed_all(self.seed + number)
                changed = self.change(x)
            test = torch.isin(torch.arange(start, start + len(x)), self.rows).to(x.device)
            start += len(x)
            yield batch._replace(pixels=torch.where(test[:, None, None, None], changed, x))
