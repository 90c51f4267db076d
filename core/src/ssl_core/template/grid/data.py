"""What a batch is here: grids of numbers, (B, channels, height, width) float. A data set is a function; its parameters are
its options."""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_core import Data, DataError

from .folds import fingerprint, folds


def sample(items: int = 300, size: int = 16, batch_size: int = 64, seed: int = 0) -> Data:
    """Synthetic: stripes of three directions in noise.

    Args:
        items: grids.
        size: rows and columns of each.
        batch_size: grids of a batch.
        seed: of the grids and the split.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(items) % 3
    angle, phase = labels * torch.pi / 3, 6.3 * torch.rand(items, generator=g)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y
    stripes = torch.sin(along + phase[:, None, None])[:, None]
    return assembled(stripes + 0.5 * torch.randn(items, 1, size, size, generator=g), labels, batch_size, seed)


def read(source: Any, batch_size: int = 64, seed: int = 0) -> Data:
    """Your own: an .npz file with `x` (N, channels, height, width) and, if there are labels, `y` (N,); or such an array.

    Args:
        source: path or array.
        batch_size: grids of a batch.
        seed: of the split.
    """
    if not isinstance(source, (str, Path)):
        return assembled(torch.as_tensor(source).float(), None, batch_size, seed)
    try:
        with np.load(source, allow_pickle=False) as file:
            x, y = torch.from_numpy(file["x"]).float(), torch.from_numpy(file["y"]).long() if "y" in file else None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{source} should be an .npz file with an array x: {error}") from error
    return assembled(x, y, batch_size, seed)


def assembled(x: Tensor, labels: Tensor | None, batch_size: int, seed: int) -> Data:
    """The record that the runner wants."""
    if x.ndim != 4 or not x.isfinite().all():
        raise DataError(f"expected finite numbers (items, channels, height, width), got {tuple(x.shape)}")
    return Data(train=DataLoader(x, batch_size, shuffle=True, drop_last=len(x) > batch_size), size=len(x),
                items=DataLoader(x, batch_size), labels=labels, folds={} if labels is None else folds(len(x), seed),
                raw=lambda batch: batch.flatten(1), facts={"channels": x.shape[1]}, fingerprint=fingerprint(x))
