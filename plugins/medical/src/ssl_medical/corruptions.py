"""Corrupted views with what they were: Models Genesis (arXiv:1908.06912), Swin UNETR's pre-training (arXiv:2111.14791)."""
from __future__ import annotations

import torch
from torch import Tensor

from . import warp
from .augmentations import Triple, flipped, ordered, shares, some
from .volumes import Volumes, unit
from .warp import Pair, uniform

BOXES = 5  # most boxes of a painting
AT_ONCE = 8  # boxes that are drawn together, to spare memory


class Genesis:
    """One view, corrupted by a random composition of shuffling, bent brightness and painting; `clean` is what it was.

    Local shuffling permutes the voxels inside small blocks, whose grid lies elsewhere each time; the published code
    permutes ten thousand overlapping windows one by one.

    Args:
        flip: probability of a flip along R, A and S, of both.
        shuffle: probability of local shuffling.
        block: side of the blocks within which voxels change places; 0: a tenth of the shortest side, 2 at least.
        bend: probability of a nonlinear map of brightness; half of them are inverted.
        paint: probability of painting with noise.
        inside: share of paintings that blank boxes inside; the others blank all but some boxes.
    """

    def __init__(self, flip: Triple = (0.4, 0.4, 0.4), shuffle: float = 0.5, block: int = 0, bend: float = 0.9,
                 paint: float = 0.9, inside: float = 0.2) -> None:
        shares(shuffle=shuffle, bend=bend, paint=paint, inside=inside)
        if block < 0 or block == 1:
            raise ValueError(f"block should be 2 or more, or 0 for a tenth of the shortest side, got {block}")
        self.flip, self.shuffle, self.block = flip, shuffle, block
        self.bend, self.paint, self.inside = bend, paint, inside

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        clean = flipped(unit(batch.voxels), self.flip)
        count, device = len(clean), clean.device
        block = self.block or max(2, min(clean.shape[2:]) // 10)
        x = torch.where(some(count, self.shuffle, device), shuffled(clean, block), clean)
        x = torch.where(some(count, self.bend, device), bezier(x), x)
        noise = torch.rand_like(x)
        inner = boxes(count, x.shape[2:], (1 / 6, 1 / 3), 3, device)
        outer = ~boxes(count, x.shape[2:], (3 / 7, 4 / 7), 3, device)
        painted = torch.where(some(count, self.inside, device), inner, outer) & some(count, self.paint, device)
        return (Volumes(torch.where(painted, noise, x), batch.labels, clean),)


def shuffled(x: Tensor, block: int) -> Tensor:
    """Voxels (B, C, X, Y, Z) in another order within blocks of side `block`; what fills no block stays in its place."""
    shape = x.shape[2:]
    roll = torch.randint(block, (3,)).tolist()  # on the CPU: where the grid of blocks starts is one draw for the batch
    coarse = [(side - start) // block for side, start in zip(shape, roll, strict=True)]
    if not all(coarse):
        return x
    part = tuple(slice(start, start + n * block) for start, n in zip(roll, coarse, strict=True))
    inner = x[(..., *part)]
    b, c = inner.shape[:2]
    (i, j, k), s = coarse, block
    cells = inner.reshape(b, c, i, s, j, s, k, s).permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, i * j * k, c, s**3)
    order = torch.rand(b, i * j * k, 1, s**3, device=x.device).argsort(dim=-1).expand(-1, -1, c, -1)
    cells = cells.gather(-1, order).view(b, i, j, k, c, s, s, s).permute(0, 4, 1, 5, 2, 6, 3, 7)
    out = x.clone()
    out[(..., *part)] = cells.reshape(inner.shape)
    return out


def bezier(x: Tensor, bins: int = 256) -> Tensor:
    """Brightness from 0 to 1 along a random cubic Bezier curve per volume, from (0, 0) to (1, 1), half of them inverted."""
    count, device = len(x), x.device
    t = torch.linspace(0, 1, bins, device=device)
    points = torch.rand(count, 2, 2, device=device).sort(dim=1).values  # two control points, rising in both coordinates
    curve = 3 * (1 - t) ** 2 * t * points[:, :1].transpose(1, 2) + 3 * (1 - t) * t**2 * points[:, 1:].transpose(1, 2) + t**3
    along, up = curve[:, 0].contiguous(), curve[:, 1]  # (B, bins) each, along is rising
    even = t.expand(count, bins).contiguous()
    right = torch.searchsorted(along, even).clamp(1, bins - 1)
    low, high = along.gather(1, right - 1), along.gather(1, right)
    share = ((even - low) / (high - low).clamp(min=1e-8)).clamp(0, 1)
    table = torch.lerp(up.gather(1, right - 1), up.gather(1, right), share)  # brightness at even steps
    table = torch.where(torch.rand(count, 1, device=device) < 0.5, 1 - table, table)
    place = x.flatten(1).clamp(0, 1) * (bins - 1)
    left = place.long().clamp(max=bins - 2)
    return torch.lerp(table.gather(1, left), table.gather(1, left + 1), place - left).view_as(x)


def boxes(count: int, shape: tuple[int, int, int], side: Pair, margin: int, device: torch.device) -> Tensor:
    """One to five random boxes per volume, each further one with a probability of 0.95: (count, 1, *shape) bool."""
    length = torch.tensor(shape, device=device)
    wide = (uniform((count, BOXES, 3), side, device) * length).long().clamp(min=1)
    room = (length - wide - 2 * margin + 1).clamp(min=1)
    start = (margin + (torch.rand(count, BOXES, 3, device=device) * room).long()).minimum(length - wide)
    goes_on = torch.rand(count, BOXES, device=device) < 0.95
    goes_on[:, 0] = True
    found = warp.boxes(start, wide, shape) & goes_on.cumprod(dim=1).bool()[:, :, None, None, None]
    return found.any(dim=1, keepdim=True)


class TurnAndCut:
    """Two views, each turned by quarters about S and cut; `clean` is the turned volume, `mark` the number of quarters.

    Boxes are filled with noise first, then others with what another volume of the batch shows there.

    Args:
        most: largest share of the voxels that a round of cutting takes.
        side: smallest and largest side of a box, as a share.
    """

    def __init__(self, most: float = 0.3, side: Pair = (0.1, 0.25)) -> None:
        shares(most=most)
        ordered(side=side)
        self.most, self.side = most, side

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        if batch.voxels.shape[2] != batch.voxels.shape[3]:
            raise ValueError(f"turning by quarters needs equal sides along R and A, got {tuple(batch.voxels.shape[2:])}")
        x = unit(batch.voxels)
        return tuple(self.view(x, batch.labels) for _ in range(2))

    def view(self, x: Tensor, labels: Tensor | None) -> Volumes:
        count, device = len(x), x.device
        quarters = torch.randint(4, (count,), device=device)
        clean = turned(x, quarters)
        cut = torch.where(self.cuts(count, x.shape[2:], device), torch.rand_like(clean), clean)
        other = clean[(torch.arange(count, device=device) + torch.randint(count, (1,), device=device)) % count]
        cut = torch.where(self.cuts(count, x.shape[2:], device), other, cut)
        return Volumes(cut, labels, clean, quarters)

    def cuts(self, count: int, shape: tuple[int, int, int], device: torch.device) -> Tensor:
        """Boxes that together take a random share of each volume, at most: (count, 1, *shape) bool."""
        length = torch.tensor(shape, device=device)
        many = AT_ONCE * max(1, round(self.most / ((self.side[0] + self.side[1]) / 2) ** 3 / AT_ONCE))
        wide = (uniform((count, many, 3), self.side, device) * length).long().clamp(min=1)
        start = (torch.rand(count, many, 3, device=device) * (length - wide + 1)).long()
        taken = wide.prod(dim=2).cumsum(dim=1) / length.prod()
        wide = wide * (taken <= self.most * torch.rand(count, 1, device=device))[:, :, None]  # a side of 0 cuts nothing
        found = torch.zeros(count, 1, *shape, dtype=torch.bool, device=device)
        for some_starts, some_sides in zip(start.split(AT_ONCE, dim=1), wide.split(AT_ONCE, dim=1), strict=True):
            found |= warp.boxes(some_starts, some_sides, shape).any(dim=1, keepdim=True)
        return found


def turned(x: Tensor, quarters: Tensor) -> Tensor:
    """Each volume (B, C, X, Y, Z) turned by its own number of quarters (B,) about the last axis."""
    ways = torch.stack([torch.rot90(x, k, (2, 3)) for k in range(4)])
    return ways[quarters, torch.arange(len(x), device=x.device)]
