"""DEPICT: clusters whose targets are balanced by how often each is used (arXiv:1704.06327, equations 2 and 5)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..distributed import total
from ..modules import mean
from .bounds import at_least
from .rows import crossed, held_still


class DEPICT(nn.Module):
    """Cross entropy of each view's clusters with the balanced clusters of every other view.

    The paper's views are a noisy and a clean pass, and it also reconstructs the input, which is left to the composer.

    Args:
        clusters: how many; by default the number of classes, where the data know it.
    """

    gathers = True

    def __init__(self, classes: int = 10, clusters: int = 0) -> None:
        super().__init__()
        self.clusters = clusters or classes
        at_least(2, clusters=self.clusters)

    def allocate(self, width: int) -> None:
        self.layer = nn.Linear(width, self.clusters)

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        balanced = [frequency_balanced(self.layer(row).softmax(dim=1)) for row in held_still(views, targets)]
        shares = [self.layer(view).log_softmax(dim=1) for view in views]
        return mean(-(target * share).sum(dim=1).mean() for share, target in crossed(shares, balanced))


@torch.no_grad()
def frequency_balanced(shares: Tensor) -> Tensor:
    """Shares over the root of how often their cluster is used, as distributions again: (N, K) -> (N, K)."""
    scaled = shares / total(shares.sum(dim=0)).sqrt().clamp(min=1e-12)
    return scaled / scaled.sum(dim=1, keepdim=True)
