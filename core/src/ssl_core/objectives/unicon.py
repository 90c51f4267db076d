"""UniCon: pull all inliers together, push virtual outliers apart from each other, for anomaly detection (arXiv:2308.10155)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from .bounds import at_least, positive
from .infonce import against_others
from .multiview import within
from .rows import need


class UniCon(nn.Module):
    """Views of untransformed items are inliers and positives of each other; transformed ones only of their own twin.

    Args:
        temperature: of the softmax over cosine similarities.
        transformations: how many, the first of them the identity; its views come first, then those of the second, ...
        soft: weigh an inlier as a positive by its cosine with the mean of all inliers, where that is above 0.
    """

    gathers = True

    def __init__(self, temperature: float = 0.5, transformations: int = 4, soft: bool = True) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(2, transformations=transformations)
        self.scale, self.transformations, self.soft = 1 / temperature, transformations, soft
        self.views = 2 * transformations  # at least

    def forward(self, *views: Tensor) -> Tensor:
        """A multiple of the transformations times (N, D), two or more each -> ().

        Raises:
            ValueError: views that do not fall into twins or more for every transformation.
        """
        twins, rest = divmod(len(views), self.transformations)
        if rest or twins < 2:
            raise ValueError(f"UniCon needs 2 or more views of each of {self.transformations} transformations, "
                             f"got {len(views)} views")
        need(views[0], 2, "UniCon")
        views = tuple(F.normalize(view, dim=1) for view in views)
        against = against_others(torch.cat(views), self.scale).mean()
        own = [within(views[i: i + twins]).mean() for i in range(twins, len(views), twins)]  # one per outlier kind
        alike = (self.together(torch.cat(views[:twins])) + sum(own)) / self.transformations
        return against - alike * self.scale

    def together(self, rows: Tensor) -> Tensor:
        """Mean over inliers of their weighted mean cosine with all other inliers: (M, D) -> ()."""
        everyone = gather(rows)
        middle = F.normalize(everyone.mean(dim=0), dim=0)
        shares, mine = self.weights(everyone, middle), self.weights(rows, middle)
        others = (shares * everyone).sum(dim=0) - mine * rows  # (M, D), without the anchor itself
        return ((rows * others).sum(dim=1, keepdim=True) / (shares.sum() - mine)).mean()

    def weights(self, rows: Tensor, middle: Tensor) -> Tensor:
        """How much each inlier counts as a positive, (M, 1). They take no gradient."""
        return (rows @ middle).detach().clamp(min=1e-6)[:, None] if self.soft else torch.ones_like(rows[:, :1])
