"""VoCo: where does a crop come from, by its likeness to the regions of its volume (arXiv:2402.17300)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher, mlp

from .. import warp
from ..volumes import Volumes, unit


class Regions:
    """Views that are crops at random places, then views that are the regions of the volume, which together cover it.

    Crops have the size of a region; the `mark` of a crop is its share in each region, (B, G), of a region None.

    Args:
        grid: regions along each axis. (The paper: 3, 3 and 1.)
        crops: how many random crops.
    """

    def __init__(self, grid: tuple[int, int, int] = (2, 2, 2), crops: int = 2) -> None:
        if min(grid) < 1 or max(grid) < 2 or crops < 1:
            raise ValueError(f"grid should have two regions or more and crops be 1 or more, got {grid} and {crops}")
        self.grid, self.crops = grid, crops

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        x, device = unit(batch.voxels), batch.voxels.device
        size = tuple(side // n for side, n in zip(x.shape[2:], self.grid, strict=True))
        room = torch.tensor([side - s for side, s in zip(x.shape[2:], size, strict=True)], device=device)
        corners = torch.cartesian_prod(*(torch.arange(n, device=device) * s for n, s in zip(self.grid, size, strict=True)))
        views = []
        for _ in range(self.crops):
            start = (torch.rand(len(x), 3, device=device) * (room + 1)).long()
            views.append(Volumes(warp.cubes(x, start, size), batch.labels, mark=shared(start, corners, size)))
        regions = [Volumes(warp.cubes(x, corner.expand(len(x), 3), size), batch.labels) for corner in corners]
        return (*views, *regions)


def shared(start: Tensor, corners: Tensor, size: tuple[int, int, int]) -> Tensor:
    """The share of each crop, starting at (B, 3), that lies in each region, starting at (G, 3): (B, G)."""
    length = torch.tensor(size, device=start.device)
    common = (length - (start[:, None] - corners).abs()).clamp(min=0)
    return (common / length).prod(dim=2)


class VolumeContrast(Method):
    """Likeness of a crop to a region should be the share of the crop that lies in it; regions should be unlike each other.

    The regions that crops are compared with are embedded by a slow copy, which takes no gradient.

    Args:
        projector: widths of the head.
        momentum: of the slow copy.
        apart: weight of the likeness among the regions of a volume.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 128),
                 momentum: float = 0.99, apart: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective)
        self.projector = mlp(encoder.width, *projector, norm="layer")
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "projector": self.projector}), momentum)
        self.apart = apart

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        crops, regions = [v for v in views if v.mark is not None], [v for v in views if v.mark is None]
        slow: Any = self.teacher.copy
        whole, count = Volumes(torch.cat([region.voxels for region in regions])), len(regions)
        with torch.no_grad():
            bases = unit_rows(slow["projector"](slow["encoder"](whole).pooled), count)  # (B, G, P)
        own = unit_rows(self.projector(self.encoder(whole).pooled), count)
        seen = self.projector(self.encoder(Volumes(torch.cat([crop.voxels for crop in crops]))).pooled)
        guess = torch.einsum("cbp,bgp->cbg", F.normalize(seen.float(), dim=1).unflatten(0, (len(crops), -1)), bases)
        share = torch.stack([crop.mark for crop in crops])  # type: ignore[misc]
        where = self.compare(guess.relu().flatten(0, 1), share.flatten(0, 1))
        alike = torch.einsum("bgp,bhp->bgh", own, own).abs()
        other = (alike.sum(dim=(1, 2)) - alike.diagonal(dim1=1, dim2=2).sum(dim=1)).mean() / (count * (count - 1))
        return {"loss": where + self.apart * other, "where": where, "apart": other}

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}), self.progress)


def unit_rows(rows: Tensor, views: int) -> Tensor:
    """Rows (views * B, P), view after view, of length 1: (B, views, P)."""
    return F.normalize(rows.float(), dim=1).unflatten(0, (views, -1)).transpose(0, 1)
