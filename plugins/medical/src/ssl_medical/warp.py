"""Geometry of views: turn, scale, flip, shift and bend in one pass over the voxels, a different one for every volume.

Places are from -1 to 1 along each axis, in the order of the axes of the volume: (X, Y, Z).
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[float, float]


def uniform(shape: tuple[int, ...], span: Pair, device: torch.device) -> Tensor:
    """Numbers between both ends."""
    return torch.empty(shape, device=device).uniform_(*span)


def rotations(angles: Tensor) -> Tensor:
    """Rotations about X, then Y, then Z, by angles (B, 3) in radians: (B, 3, 3)."""
    cos, sin = angles.cos(), angles.sin()
    turn = torch.eye(3, device=angles.device).expand(len(angles), 3, 3)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        step = torch.zeros(len(angles), 3, 3, device=angles.device)
        step[:, axis, axis] = 1
        step[:, i, i] = step[:, j, j] = cos[:, axis]
        step[:, j, i], step[:, i, j] = sin[:, axis], -sin[:, axis]
        turn = step @ turn
    return turn


def grid(matrix: Tensor, shift: Tensor, shape: tuple[int, int, int], sides: tuple[int, int, int]) -> Tensor:
    """Where each voxel of a view of `shape` looks in volumes of `sides`: (B, *shape, 3), by x -> matrix x + shift.

    `matrix`, (B, 3, 3), acts on voxels of equal edges, so that a turn stays one where the sides differ.
    """
    length = torch.tensor(sides, dtype=matrix.dtype, device=matrix.device)
    matrix = matrix * length / length[:, None]  # from shares of each side to shares of each side, by way of voxels
    flipped = torch.cat([matrix.flip((1, 2)), shift.flip(1)[:, :, None]], dim=2)  # torch counts axes from the last
    return F.affine_grid(flipped, [len(matrix), 1, *shape], align_corners=False).flip(-1)


def bend(count: int, points: int, strength: float, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Smooth random displacements: (count, *shape, 3), up to `strength` of half a side, from a grid of control points."""
    knots = uniform((count, 3, points, points, points), (-strength, strength), device)
    return F.interpolate(knots, shape, mode="trilinear", align_corners=True).permute(0, 2, 3, 4, 1)


def look(voxels: Tensor, places: Tensor) -> Tensor:
    """Voxels (B, C, X, Y, Z) seen at places (B, X', Y', Z', 3): (B, C, X', Y', Z'), trilinear; beyond the edge, its nearest."""
    return F.grid_sample(voxels, places.flip(-1), mode="bilinear", padding_mode="border", align_corners=False)


def boxes(start: Tensor, side: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """True inside boxes (B, K, 3) of voxels, start and side: (B, K, *shape) bool."""
    inside = []
    for axis, length in enumerate(shape):
        place = torch.arange(length, device=start.device)
        first, last = start[..., axis, None], (start + side)[..., axis, None]
        inside.append((place >= first) & (place < last))  # (B, K, length)
    x, y, z = inside
    return x[..., :, None, None] & y[..., None, :, None] & z[..., None, None, :]


def cubes(voxels: Tensor, start: Tensor, size: tuple[int, int, int]) -> Tensor:
    """A box of `size` from each volume (B, C, X, Y, Z), starting at whole voxels (B, 3): (B, C, *size)."""
    x, y, z = (start[:, axis, None] + torch.arange(n, device=start.device) for axis, n in enumerate(size))
    item = torch.arange(len(voxels), device=start.device)[:, None, None, None]
    rows = voxels.permute(0, 2, 3, 4, 1)[item, x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]]
    return rows.permute(0, 4, 1, 2, 3)
