"""MMCR: maximum manifold capacity; centroids of items should fill the space, views of one should not (arXiv:2303.03307)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .bounds import at_least
from .moments import nuclear_norm


class MMCR(nn.Module):
    """A large nuclear norm of the centroids of the unit views: at most sqrt(N min(N, D)), reached when they are orthogonal.

    Rows of a teacher, where there is one, count as further views.

    Args:
        within: weight of the nuclear norm of each item's own views, which should be small (lambda).
    """

    gathers = True

    def __init__(self, within: float = 0.0) -> None:
        super().__init__()
        at_least(0, within=within)
        self.within = within

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """V times (N, D), targets any times (N, D) -> ()."""
        rows = F.normalize(torch.stack([*views, *targets], dim=1), dim=2)  # (N, V, D)
        loss = -nuclear_norm(gather(rows.mean(dim=1)))
        if self.within:
            squares = torch.linalg.eigvalsh(torch.bmm(rows, rows.transpose(1, 2)))  # (N, V)
            loss = loss + self.within * squares.clamp(min=1e-12).sqrt().sum(dim=1).mean()
        return loss
