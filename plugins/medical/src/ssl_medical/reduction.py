"""Leave out volumes that are nearly the same as others, before any training (arXiv:2410.14524).

The paper hashes each slice: 9 x 8 gray values, each compared with its right neighbour, 64 bits. Here a volume is hashed by
its three middle slices, 192 bits.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .volumes import Prepared, unit


def near_copies(volumes: Sequence[Prepared], rows: Tensor, distinct: int) -> dict[int, int]:
    """Volumes to leave out, and the earlier one that each is nearly the same as.

    Args:
        rows: the volumes to look at, in the order in which they are kept.
        distinct: bits in which those that are kept differ at least; 0 keeps all. (The paper: 7 of 64, 21 here.)

    Raises:
        ValueError: there are no so many bits.
    """
    if not 0 <= distinct <= 192:
        raise ValueError(f"distinct should be 0 to 192 bits, got {distinct}")
    left = torch.sort(rows).values
    if not distinct or not len(left):
        return {}
    bits = torch.stack([difference_hash(volumes[i].voxels) for i in left.tolist()])
    found: dict[int, int] = {}
    while len(left):
        near = (bits != bits[0]).sum(dim=1) < distinct
        found |= {i: int(left[0]) for i in left[near].tolist() if i != int(left[0])}
        left, bits = left[~near], bits[~near]
    return found


def difference_hash(voxels: Tensor) -> Tensor:
    """Of the middle slices across each axis of (C, X, Y, Z): (192,) bool."""
    bits = []
    for axis in (1, 2, 3):
        middle = unit(voxels.select(axis, voxels.shape[axis] // 2))[:1]
        gray = F.adaptive_avg_pool2d(middle, (8, 9))[0]
        bits.append((gray[:, 1:] > gray[:, :-1]).flatten())
    return torch.cat(bits)
