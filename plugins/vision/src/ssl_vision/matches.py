"""A graph of items that match: read, made of the nearest rows, and walked on."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_core import DataError


def pairs(path: Path) -> Tensor:
    """The pairs of items in an .npy, both ways: (2 E, 2).

    Raises:
        DataError: it holds something else.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}\n  Try: method.matches=FILE.npy, pairs of items (E, 2)") from error
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iu" or found.size and found.min() < 0:
        raise DataError(f"{path} should hold pairs of items, whole numbers (E, 2) from 0 on; it holds {found.dtype} "
                        f"{found.shape}")
    found = torch.from_numpy(found.astype(np.int64))
    return torch.stack([found, found.flip(1)], dim=1).flatten(0, 1)


def table(edges: Tensor, names: Tensor, most: int) -> Tensor:
    """For each of the sorted items its matches among them, -1 where there are fewer: (E, 2), (N,) -> (N, most)."""
    rows = torch.searchsorted(names, edges).clamp(max=len(names) - 1)
    rows = rows[(names[rows] == edges).all(dim=1) & (rows[:, 0] != rows[:, 1])]
    rows = rows[rows[:, 0].sort(stable=True).indices]
    count = torch.bincount(rows[:, 0], minlength=len(names))
    place = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows[:, 0]]
    kept = place < most
    found = torch.full((len(names), most), -1, device=names.device)
    found[rows[kept, 0], place[kept]] = rows[kept, 1]
    return found


def nearest(x: Tensor, count: int, block: int = 512) -> Tensor:
    """The nearest other rows of each row: (N, F) -> (N, count), -1 where there are fewer."""
    found = torch.full((len(x), count), -1, device=x.device)
    most = min(count, len(x) - 1)
    for start in range(0, len(x), block):
        far = torch.cdist(x[start: start + block], x)
        far.diagonal(start).fill_(torch.inf)
        found[start: start + block, :most] = far.topk(most, dim=1, largest=False).indices
    return found


def walk(ways: Tensor, row: Tensor, most: int) -> Tensor:
    """Where a random walk of 1 to `most` steps ends that starts from each row: ways (N, K), rows (B,) -> (B,).

    A walk stays where there is no way on.
    """
    steps = torch.randint(1, most + 1, row.shape, device=row.device)
    for step in range(most):
        open_ = ways[row]  # (B, K), -1 where there is none
        drawn = torch.where(open_ >= 0, torch.rand(open_.shape, device=row.device), -1.0).argmax(dim=1, keepdim=True)
        to = open_.gather(1, drawn)[:, 0]
        row = torch.where((step < steps) & (to >= 0), to, row)
    return row
