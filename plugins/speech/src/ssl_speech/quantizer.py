"""Product quantisation by Gumbel softmax (wav2vec 2.0, arXiv:2006.11477, section 2; vq-wav2vec, arXiv:1910.05453)."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Progress


class Quantised(NamedTuple):
    """Frames as codes.

    Args:
        rows: (N, D), code vectors; their gradient is that of the soft choice.
        codes: (N, G) long, the entry of each group.
        diversity: (), 0 when all entries are used alike, near 1 when one is.
        perplexity: (), entries in use, summed over groups, at most G * V; by hard choices.
    """

    rows: Tensor
    codes: Tensor
    diversity: Tensor
    perplexity: Tensor


class ProductQuantizer(nn.Module):
    """Choose one of V entries in each of G groups.

    Args:
        inputs: width of the frames.
        groups, entries: G and V.
        width: D of the code vectors, over all groups.
        temperatures: of the choice, at the start and at the end; falls geometrically.
        anneal: share of training after which the end is reached.
    """

    progress = Progress()

    def __init__(self, inputs: int, groups: int = 2, entries: int = 320, width: int = 256,
                 temperatures: tuple[float, float] = (2.0, 0.5), anneal: float = 0.7) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"the width of the codes should be a multiple of groups={groups}, got {width}")
        if min(temperatures) <= 0 or anneal <= 0:
            raise ValueError(f"temperatures and anneal should be positive, got {temperatures} and {anneal}")
        self.groups, self.entries, self.temperatures, self.anneal = groups, entries, temperatures, anneal
        self.choose = nn.Linear(inputs, groups * entries)
        nn.init.normal_(self.choose.weight)
        nn.init.zeros_(self.choose.bias)
        self.book = nn.Parameter(torch.rand(groups, entries, width // groups))
        self.leave = nn.Linear(width, width)

    @property
    def temperature(self) -> float:
        start, end = self.temperatures
        return start * (end / start) ** min(1.0, self.progress.fraction / self.anneal)

    def forward(self, frames: Tensor) -> Quantised:
        """(N, C) -> codes; with Gumbel noise while training, the best entry otherwise."""
        with torch.autocast(frames.device.type, enabled=False):
            logits = self.choose(frames.float()).unflatten(1, (self.groups, self.entries))  # (N, G, V)
            if self.training:
                noisy = (logits - torch.empty_like(logits).exponential_().log()) / self.temperature
                codes, soft = noisy.argmax(dim=2), noisy.softmax(dim=2)
                chosen = F.one_hot(codes, self.entries).to(soft.dtype)
                choice = chosen + soft - soft.detach()
            else:
                codes = logits.argmax(dim=2)
                choice = chosen = F.one_hot(codes, self.entries).to(logits.dtype)
            rows = self.leave(torch.einsum("ngv,gvd->ngd", choice, self.book).flatten(1))
            used, total = perplexity(logits.softmax(dim=2).mean(dim=0)), self.groups * self.entries
            return Quantised(rows, codes, (total - used) / total, perplexity(chosen.mean(dim=0)))


def perplexity(shares: Tensor) -> Tensor:
    """Exponential of the entropy, summed over groups: (G, V) -> ()."""
    return torch.special.entr(shares).sum(dim=1).exp().sum()
