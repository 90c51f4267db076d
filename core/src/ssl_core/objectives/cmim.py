"""cMIM's contrast: the negatives are averaged, so that the size of the batch does not matter (arXiv:2502.19642)."""
from __future__ import annotations

from math import log

import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather, rank, world
from .blockwise import log_sum_exp
from .bounds import positive
from .rows import need


class CMIM(nn.Module):
    """Tell the aligned row of the other view from the average other one: chance level is ln 2, whatever the batch.

    This is the contrastive term; the likelihood and the prior of the paper need a decoder and belong to a method.

    Args:
        temperature: of the softmax over cosine similarities.
    """

    gathers = True

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Latents (N, D), codes of what they stand for (N, D) -> (); N of at least 2."""
        need(a, 2, "cMIM")
        a, b, scale = F.normalize(a, dim=1), F.normalize(b, dim=1), 1 / self.temperature
        against, _ = log_sum_exp(a, gather(b), scale, bound=scale, exclude=(rank() * len(a),))
        return F.softplus(against - log(len(a) * world() - 1) - (a * b).sum(dim=1) * scale).mean()
