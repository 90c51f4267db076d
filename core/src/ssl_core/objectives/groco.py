"""GroCo: sort an anchor's similarities so that its positives come out on top (arXiv:2301.02009)."""
from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather, rank
from ..modules import mean
from .bounds import at_least, positive
from .rows import held_still, need


class GroCo(nn.Module):
    """Positives should rank above the hardest negatives, in a sorting network with soft swaps.

    Only anchors take a gradient. Similarities are those of unit rows.

    Args:
        negatives: how many of the other items in the same view, the most similar ones, to rank.
        steepness: of the soft swap, alpha = 1/2 + arctan(steepness * (b - a)) / pi (Cauchy).
        target_views: how many of the views, the first ones, are positives of the others; 0 for all.
    """

    gathers = True

    def __init__(self, negatives: int = 10, steepness: float = 1.0, target_views: int = 0) -> None:
        super().__init__()
        at_least(1, negatives=negatives)
        at_least(0, target_views=target_views)
        positive(steepness=steepness)
        self.negatives, self.steepness, self.target_views = negatives, steepness, target_views

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> (); N of at least 2."""
        need(views[0], 2, "GroCo")
        views = tuple(F.normalize(view, dim=1) for view in views)
        still = held_still(views, (), self.target_views)
        losses = []
        for i, anchor in enumerate(views):
            above = [(anchor * row).sum(dim=1) for j, row in enumerate(still) if j != i]
            if above:
                losses.append(self.ranked(self.hardest(anchor), torch.stack(above, dim=1)))
        return mean(losses)

    def hardest(self, anchor: Tensor) -> Tensor:
        """Similarities with the nearest other items of the view, of all processes: (N, D) -> (N, negatives)."""
        everyone = gather(anchor.detach())
        with torch.no_grad():
            alike = anchor @ everyone.T
            alike.diagonal(rank() * len(anchor)).fill_(-torch.inf)
            nearest = alike.topk(min(self.negatives, len(everyone) - 1), dim=1).indices
        return torch.einsum("nd,nkd->nk", anchor, everyone[nearest])

    def ranked(self, below: Tensor, above: Tensor) -> Tensor:
        """Cross entropy of "comes out in the upper group" for scores that should be below, (N, K), and above, (N, P).

        The soft permutation has rows that sum to 1, so the paper's second term, for the lower group, is the same.
        """
        scores = torch.cat([below.sort(dim=1).values, above.sort(dim=1).values], dim=1)
        wanted = torch.zeros_like(scores)
        wanted[:, below.shape[1]:] = 1
        return F.binary_cross_entropy(ascend(scores, wanted, self.steepness).clamp(0, 1), wanted)


def ascend(scores: Tensor, group: Tensor, steepness: float) -> Tensor:
    """The share of each score that an ascending soft odd-even sort puts on the ranks in `group`: (N, n), (N, n) -> (N, n).

    With the network's layers L_1 ... L_n the soft permutation is X = L_1 ... L_n, and only X @ group is wanted: swaps are
    found going forward, then the vector is swept backward through them. O(n) numbers per layer instead of O(n^2).
    """
    n, swaps = scores.shape[1], []
    for layer in range(n):
        start = layer % 2
        pairs = scores[:, start: start + (n - start) // 2 * 2].unflatten(1, (-1, 2))
        keep = 0.5 + torch.atan(steepness * (pairs[..., 1] - pairs[..., 0])) / pi  # (N, pairs)
        swaps.append((start, keep))
        scores = _exchanged(scores, start, keep)
    for start, keep in reversed(swaps):
        group = _exchanged(group, start, keep)
    return group


def _exchanged(x: Tensor, start: int, keep: Tensor) -> Tensor:
    """Neighbours mixed: (a, b) -> (keep a + (1 - keep) b, (1 - keep) a + keep b)."""
    stop = start + 2 * keep.shape[1]
    a, b = x[:, start:stop:2], x[:, start + 1:stop:2]
    moved = (1 - keep) * (b - a)
    mixed = torch.stack([a + moved, b - moved], dim=2).flatten(1)
    return torch.cat([x[:, :start], mixed, x[:, stop:]], dim=1)
