"""VISReg: views agree, and every view has mean 0, variance 1 and normal slices, a term for each (arXiv:2606.02572)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..modules import mean
from .bounds import at_least, shares
from .lejepa import spread
from .rows import need


class VISReg(nn.Module):
    """(1 - weight) invariance + weight (centre + scale + shape).

    The gradient of LeJEPA's test vanishes where rows collapse; the pull of the scale on the deviations does not. Every
    process draws slices of its own and sees its own rows only.

    Args:
        weight: of the three terms (lambda): 0.9 for large data, 0.6 for small.
        shape: weight of the shape among them; more for long-tailed data.
        slices: random directions per step.
        target_views: how many of the views, the first ones, make the centre of an item (the large crops); 0 for all.
    """

    def __init__(self, weight: float = 0.6, shape: float = 1.0, slices: int = 1024, target_views: int = 0) -> None:
        super().__init__()
        shares(weight=weight)
        at_least(1, slices=slices)
        at_least(0, shape=shape, target_views=target_views)
        self.weight, self.shape, self.slices, self.target_views = weight, shape, slices, target_views

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> (); N of at least 2."""
        need(views[0], 2, "VISReg")
        return (1 - self.weight) * spread(views, self.target_views) + self.weight * mean(map(self.far, views))

    def far(self, rows: Tensor) -> Tensor:
        """How far rows are from a standard normal sample, (N, D) -> ()."""
        middle, deviation = rows.mean(dim=0), rows.std(dim=0, correction=0)
        directions = F.normalize(torch.randn(rows.shape[1], self.slices, device=rows.device, dtype=rows.dtype), dim=0)
        slices = (directions.T @ ((rows - middle) / (deviation.detach() + 1e-4)).T).sort(dim=1).values  # (S, N)
        place = torch.arange(1, len(rows) + 1, device=rows.device, dtype=rows.dtype) / (len(rows) + 1)
        normal = torch.special.ndtri(place)  # the quantiles of N(0, 1)
        shape = (slices - normal).square().mean()
        return middle.square().mean() + (1 - deviation).square().mean() + self.shape * shape
