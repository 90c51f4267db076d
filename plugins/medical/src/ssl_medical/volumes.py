"""The batch of this plugin, and the loader that makes it: cubes cut from volumes that are decoded once and kept."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int, int]
SPOTS = 512  # foreground voxels that are remembered per volume, to centre crops on


class Volumes(NamedTuple):
    """A batch of cubes of one size. Axes run from left to right, from back to front and from bottom to top (RAS).

    Args:
        voxels: (B, C, X, Y, Z), float from 0 to 1, or uint8 from 0 to 255.
        labels: (B,) long, -1 where there is none, or float; or None.
        clean: what a method that restores volumes should make of `voxels`, of the same shape; set by augmentations.
        mark: what was done to each item, set by augmentations that know: (B,) the class of a turn, or
            (B, 1, X, Y, Z) True where voxels were hidden.
    """

    voxels: Tensor
    labels: Tensor | None = None
    clean: Tensor | None = None
    mark: Tensor | None = None


def unit(voxels: Tensor) -> Tensor:
    """Voxels as float32 from 0 to 1; floats of 32 bits are given back as they are."""
    return voxels.float() if voxels.is_floating_point() else voxels.float().div_(255)


def blocks(voxels: Tensor, patch: int) -> Tensor:
    """Voxels (B, C, X, Y, Z) as blocks of side `patch`, the last axis fastest: (B, L, C * patch^3), channel after channel."""
    b, c, x, y, z = voxels.shape
    found = voxels.reshape(b, c, x // patch, patch, y // patch, patch, z // patch, patch).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return found.reshape(b, -1, c * patch**3)


class Prepared(NamedTuple):
    """A volume as it is kept: oriented, resampled, normalised.

    Args:
        voxels: (C, X, Y, Z), float16 from 0 to 1, or uint8; in memory or mapped from a file, of which crops read their part.
        spots: (K, 3) long, voxels of the foreground, drawn at random; K is 0 for a volume without any.
        box: (2, 3) long, the first and the last voxel of the foreground along each axis.
    """

    voxels: Tensor
    spots: Tensor
    box: Tensor


def prepared(voxels: Tensor, seed: int = 0) -> Prepared:
    """Find the foreground of a volume (C, X, Y, Z): what is brighter than its mean, looked for on a grid of up to 96^3."""
    steps = [max(1, -(-side // 96)) for side in voxels.shape[1:]]
    coarse = voxels[0, :: steps[0], :: steps[1], :: steps[2]].float()
    inside = (coarse > coarse.mean()).nonzero() * torch.tensor(steps)
    if not len(inside):
        return Prepared(voxels, inside, torch.tensor([[0, 0, 0], [side - 1 for side in voxels.shape[1:]]]))
    box = torch.stack([inside.amin(dim=0), inside.amax(dim=0)])
    drawn = torch.randint(len(inside), (min(SPOTS, len(inside)),), generator=torch.Generator().manual_seed(seed))
    return Prepared(voxels, inside[drawn], box)


def cut(voxels: Tensor, centre: Sequence[int], size: Size) -> Tensor:
    """The box of `size` voxels around `centre`, moved to lie inside; zeros where the volume is smaller: (C, *size)."""
    places, before = [], []
    for middle, side, wanted in zip(centre, voxels.shape[1:], size, strict=True):
        start = min(max(0, middle - wanted // 2), max(0, side - wanted))
        places.append(slice(start, start + wanted))
        before.append(max(0, wanted - side) // 2)
    found = voxels[(slice(None), *places)]
    if found.shape[1:] == size:
        return found
    ends = [(b, wanted - side - b) for b, wanted, side in zip(before, size, found.shape[1:], strict=True)]
    return F.pad(found, [n for pair in reversed(ends) for n in pair])


class Crops:
    """Batches of cubes from volumes of any size: at random places to learn from, in the middle of the foreground to embed.

    Args:
        volumes: N of them.
        labels: (N,) or None.
        rows: (M,) the volumes to take.
        size: of a cube in voxels.
        batch_size: cubes per batch.
        shuffle: new order and places for every epoch, from torch's generator; what does not fill a batch is left out.
        foreground: share of cubes that are centred on a voxel of the foreground; the others lie anywhere.
        repeats: cubes from each volume per epoch.
        paired: cubes 2k and 2k + 1 of a batch are cut at the same place of two bodies, as a share of their foreground's
            box: a weak correspondence of anatomy.
    """

    def __init__(self, volumes: Sequence[Prepared], labels: Tensor | None, rows: Tensor, size: Size, batch_size: int,
                 shuffle: bool = False, foreground: float = 0.5, repeats: int = 1, paired: bool = False) -> None:
        self.volumes, self.labels, self.size, self.shuffle = volumes, labels, size, shuffle
        self.rows = rows.repeat(repeats) if shuffle else rows
        self.foreground, self.paired = foreground, paired
        self.batch_size = min(batch_size, len(self.rows))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size if self.shuffle else -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Volumes]:
        order = self.rows[torch.randperm(len(self.rows))] if self.shuffle else self.rows
        for chosen in order.split(self.batch_size)[: len(self)]:
            centres = self.places(chosen) if self.shuffle else [self.middle(i) for i in chosen.tolist()]
            cubes = [cut(self.volumes[i].voxels, c, self.size) for i, c in zip(chosen.tolist(), centres, strict=True)]
            cubes = cubes if all(cube.dtype is cubes[0].dtype for cube in cubes) else [unit(cube) for cube in cubes]
            yield Volumes(torch.stack(cubes), None if self.labels is None else self.labels[chosen])

    def middle(self, i: int) -> list[int]:
        """The middle of the foreground's box, or of what there is to see of it."""
        return (self.volumes[i].box.sum(dim=0) // 2).tolist()

    def places(self, chosen: Tensor) -> list[list[int]]:
        """The centre of a random cube for each of the chosen volumes, in voxels."""
        share, lot, spot = torch.rand(len(chosen), 3), torch.rand(len(chosen)), torch.rand(len(chosen))
        if self.paired:
            share[1::2] = share[: 2 * (len(share) // 2): 2]
        found = []
        for i, u, draw, which in zip(chosen.tolist(), share, lot.tolist(), spot.tolist(), strict=True):
            voxels, spots, box = self.volumes[i]
            if self.paired:
                found.append((box[0] + u * (box[1] - box[0])).round().long().tolist())
            elif len(spots) and draw < self.foreground:
                found.append(spots[int(which * len(spots))].tolist())
            else:
                found.append([int(u_k * side) for u_k, side in zip(u.tolist(), voxels.shape[1:], strict=True)])
        return found
