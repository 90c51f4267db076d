"""Decoupled contrastive learning: the positive leaves the denominator (arXiv:2110.06848)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import average, gather, rank
from .blockwise import log_sum_exp
from .bounds import at_least, positive
from .rows import need


class DCL(nn.Module):
    """NT-Xent without the positive among the candidates, so that small batches learn as fast as large ones.

    Args:
        temperature: of the softmax over cosine similarities.
        sigma: of the weights that count hard positives more (DCLW: 0.5); 0 for none.
    """

    gathers = True

    def __init__(self, temperature: float = 0.1, sigma: float = 0.0) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(0, sigma=sigma)
        self.temperature, self.sigma = temperature, sigma

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> (); N of at least 2."""
        need(a, 2, "DCL")
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        n, scale = len(a), 1 / self.temperature
        everyone = gather(torch.cat([a, b]))
        own = (2 * n * rank(), 2 * n * rank() + n)  # the diagonals where the item itself stands, in either view
        against = sum(log_sum_exp(rows, everyone, scale, bound=scale, exclude=own)[0] for rows in (a, b))
        alike = (a * b).sum(dim=1)
        return (against / 2 - self.weight(alike) * alike * scale).mean()

    def weight(self, alike: Tensor) -> Tensor | float:
        """2 - exp(s / sigma) / mean(exp(s / sigma)), from von Mises-Fisher: small where the pair agrees already."""
        if not self.sigma:
            return 1.0
        share = (alike.detach() / self.sigma).exp()  # |s| <= 1: no overflow for any sensible sigma
        return 2 - share / average(share.mean())
