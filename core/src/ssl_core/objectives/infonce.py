"""Tell the aligned row from all others: InfoNCE (arXiv:1807.03748) and NT-Xent (SimCLR, arXiv:2002.05709).

Both are exact and blockwise: no N x N matrix is kept, whatever the batch. Candidates are the rows of all processes.
"""
from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather, rank, world
from .blockwise import log_sum_exp
from .bounds import at_least, positive


class InfoNCE(nn.Module):
    """Cross-view contrast: the candidates of a row are the rows of the other view.

    Args:
        temperature: of the softmax over cosine similarities.
        symmetric: average both directions, a to b and b to a; else a to b only.
        negatives: compare with so many random rows instead of all, for batches of hundreds of thousands; 0 for all.
    """

    gathers = True

    def __init__(self, temperature: float = 0.2, symmetric: bool = True, negatives: int = 0) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(0, negatives=negatives)
        self.temperature, self.symmetric, self.negatives = temperature, symmetric, negatives

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        scale = 1 / self.temperature
        aligned = (a * b).sum(dim=1) * scale
        if 0 < self.negatives < len(b) - 1:
            rows = sampled(a, b, aligned, scale, self.negatives)
            columns = sampled(b, a, aligned, scale, self.negatives) if self.symmetric else rows
        elif world() == 1:
            rows, columns = log_sum_exp(a, b, scale, bound=scale, columns=self.symmetric)
        else:
            rows, _ = log_sum_exp(a, gather(b), scale, bound=scale)
            columns, _ = log_sum_exp(b, gather(a), scale, bound=scale) if self.symmetric else (rows, None)
        against = (rows + columns) / 2 if self.symmetric else rows
        return (against - aligned).mean()


def sampled(a: Tensor, b: Tensor, aligned: Tensor, scale: float, count: int) -> Tensor:
    """Log-sum-exp of each row with its own row and an estimate of all others, from `count` of them: (N,).

    The others are drawn without replacement, the same for every row, and weighted to stand for all N - 1.
    """
    chosen = torch.randperm(len(b), device=b.device)[:count]
    among, _ = log_sum_exp(a, b[chosen], scale, bound=scale)
    itself = torch.zeros_like(aligned, dtype=torch.bool).index_fill_(0, chosen, True)  # rows whose own was drawn too
    share = (aligned - among).exp().clamp(max=1 - 1e-6)
    others = torch.where(itself, among + torch.log1p(-share), among) - (count - itself.to(among.dtype)).log()
    return torch.logaddexp(others + log(len(b) - 1), aligned)


class NTXent(nn.Module):
    """Contrast with all other rows of both views; only the row itself is left out (SimCLR, section 2.1).

    Args:
        temperature: of the softmax over cosine similarities.
    """

    gathers = True

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        scale = 1 / self.temperature
        return against_others(torch.cat([a, b]), scale).mean() - (a * b).sum(dim=1).mean() * scale


def against_others(rows: Tensor, scale: float) -> Tensor:
    """Log-sum-exp of the similarities of each unit row with every row of every process but itself: (M, D) -> (M,)."""
    return log_sum_exp(rows, gather(rows), scale, bound=scale, exclude=(rank() * len(rows),))[0]
