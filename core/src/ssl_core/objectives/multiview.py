"""Contrast of any number of views at once: MV-InfoNCE and MV-DHEL."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .blockwise import log_sum_exp
from .bounds import positive
from .infonce import against_others
from .rows import need


class MVInfoNCE(nn.Module):
    """All views of an item in one fraction: every pair of them against every pair with another item.

    Args:
        temperature: of the softmax over cosine similarities.
        same_view: rows of the same view are candidates too, as in the authors' code; their formula leaves them out.
    """

    gathers = True

    def __init__(self, temperature: float = 0.2, same_view: bool = True) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature, self.same_view = temperature, same_view

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> ()."""
        views, scale = tuple(F.normalize(view, dim=1) for view in views), 1 / self.temperature
        if self.same_view:
            against = against_others(torch.cat(views), scale).view(len(views), -1)
        else:
            everyone = [gather(view) for view in views]
            others = [torch.cat([e for u, e in enumerate(everyone) if u != v]) for v in range(len(views))]
            against = torch.stack([log_sum_exp(a, b, scale, bound=scale)[0] for a, b in zip(views, others, strict=True)])
        alike = within(views) * scale  # (N, pairs); each stands for (l, m) and (m, l)
        return (against.logsumexp(dim=0) - torch.cat([alike, alike], dim=1).logsumexp(dim=1)).mean()


class MVDHEL(nn.Module):
    """Alignment and uniformity decoupled: negatives come from the same view only, a product over views.

    The sums of exponentials are never multiplied, only their logarithms are added, so no view count overflows.

    Args:
        temperature: of the softmax over cosine similarities.
    """

    gathers = True

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> (); N of at least 2."""
        need(views[0], 2, "MV-DHEL")
        views, scale = tuple(F.normalize(view, dim=1) for view in views), 1 / self.temperature
        apart = sum(against_others(view, scale) for view in views)
        return (apart - (within(views) * scale).logsumexp(dim=1)).mean()


def within(views: Sequence[Tensor]) -> Tensor:
    """Inner products of the views of each item: V times (N, D) -> (N, V (V - 1) / 2)."""
    rows = torch.stack([*views], dim=1)  # (N, V, D)
    left, right = torch.triu_indices(len(views), len(views), 1, device=rows.device)
    return torch.bmm(rows, rows.transpose(1, 2))[:, left, right]
