"""What a batch is here: rows of numbers, (B, columns) float. A data set is a function; its parameters are its options."""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_core import Data, DataError

from .folds import fingerprint, folds


def sample(rows: int = 300, columns: int = 8, batch_size: int = 64, seed: int = 0) -> Data:
    """Synthetic: three groups of rows around random centres.

    Args:
        rows, columns: size of the table.
        batch_size: rows of a batch.
        seed: of the rows and the split.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    centres = 3 * torch.randn(3, columns, generator=g)
    return assembled(centres[labels] + torch.randn(rows, columns, generator=g), labels, batch_size, seed)


def read(source: Any, batch_size: int = 64, seed: int = 0) -> Data:
    """Your own: an .npz file with `x` (N, columns) and, if there are labels, `y` (N,); or such an array.

    Args:
        source: path or array.
        batch_size: rows of a batch.
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
    if x.ndim != 2 or not x.isfinite().all():
        raise DataError(f"expected finite numbers (rows, columns), got {tuple(x.shape)}")
    return Data(train=DataLoader(x, batch_size, shuffle=True, drop_last=len(x) > batch_size), size=len(x),
                items=DataLoader(x, batch_size), labels=labels, folds={} if labels is None else folds(len(x), seed),
                raw=lambda batch: batch, facts={"columns": x.shape[1]}, fingerprint=fingerprint(x))
