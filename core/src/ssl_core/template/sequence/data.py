"""What a batch is here: series of different lengths, padded with zeros. A data set is a function; its parameters are its
options."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from ssl_core import Data, DataError

from .folds import fingerprint, folds


class Series(NamedTuple):
    """A batch.

    Args:
        values: (B, T, channels) float, zeros behind the end of each series.
        lengths: (B,) long.
    """

    values: Tensor
    lengths: Tensor


def collate(items: Sequence[Tensor]) -> Series:
    """Series (T, channels) of any lengths as one batch."""
    return Series(pad_sequence(list(items), batch_first=True), torch.tensor([len(item) for item in items]))


def sample(items: int = 300, channels: int = 2, batch_size: int = 32, seed: int = 0) -> Data:
    """Synthetic: noisy waves of three frequencies, 40 to 80 steps long.

    Args:
        items: series.
        channels: of each.
        batch_size: series of a batch.
        seed: of the series and the split.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(items) % 3
    made = []
    for frequency in (0.15 * (1 + labels)).tolist():
        length = int(torch.randint(40, 81, (), generator=g))
        phase = 6.3 * torch.rand(channels, generator=g)
        wave = torch.sin(frequency * torch.arange(length)[:, None] + phase)
        made.append(wave + 0.5 * torch.randn(length, channels, generator=g))
    return assembled(made, labels, batch_size, seed)


def read(source: Any, batch_size: int = 32, seed: int = 0) -> Data:
    """Your own: an .npz file with one array (T, channels) per series, all but `y` (N,), the labels; or a list of arrays.

    Args:
        source: path or list.
        batch_size: series of a batch.
        seed: of the split.
    """
    if not isinstance(source, (str, Path)):
        return assembled([torch.as_tensor(item).float() for item in source], None, batch_size, seed)
    try:
        with np.load(source, allow_pickle=False) as file:
            made = [torch.from_numpy(file[name]).float() for name in file.files if name != "y"]
            y = torch.from_numpy(file["y"]).long() if "y" in file else None
    except (OSError, ValueError) as error:
        raise DataError(f"{source} should be an .npz file with one array per series: {error}") from error
    return assembled(made, y, batch_size, seed)


def assembled(series: list[Tensor], labels: Tensor | None, batch_size: int, seed: int) -> Data:
    """The record that the runner wants."""
    for i, item in enumerate(series):
        if item.ndim != 2 or not len(item) or item.shape[1:] != series[0].shape[1:] or not item.isfinite().all():
            raise DataError(f"series {i}: expected finite numbers (steps, {series[0].shape[-1]}), got {tuple(item.shape)}")
    return Data(train=DataLoader(series, batch_size, shuffle=True, collate_fn=collate), size=len(series),  # type: ignore
                items=DataLoader(series, batch_size, collate_fn=collate), labels=labels,  # type: ignore[arg-type]
                folds={} if labels is None else folds(len(series), seed), raw=statistics,
                facts={"channels": series[0].shape[1]}, fingerprint=fingerprint(*series))


def statistics(batch: Series) -> Tensor:
    """Plain features that a representation should beat: mean and mean square of each channel, (B, 2 channels)."""
    steps = batch.lengths[:, None]
    return torch.cat([batch.values.sum(dim=1) / steps, batch.values.square().sum(dim=1) / steps], dim=1)
