"""Tell the aligned row from all others: InfoNCE (arXiv:1807.03748) and NT-Xent (SimCLR, arXiv:2002.05709).

Both are exact and blockwise: no N x N matrix is kept, whatever the batch.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blockwise import log_sum_exp


class InfoNCE(nn.Module):
    """Cross-view contrast: the candidates of a row are the rows of the other view.

    Args:
        temperature: of the softmax over cosine similarities.
        symmetric: average both directions, a to b and b to a; else a to b only.
    """

    def __init__(self, temperature: float = 0.2, symmetric: bool = True) -> None:
        super().__init__()
        self.temperature, self.symmetric = temperature, symmetric

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        scale = 1 / self.temperature
        rows, columns = log_sum_exp(a, b, scale, bound=scale, columns=self.symmetric)
        against = (rows + columns) / 2 if self.symmetric else rows
        return (against - (a * b).sum(dim=1) * scale).mean()


class NTXent(nn.Module):
    """Contrast with all other rows of both views; only the row itself is left out (SimCLR, section 2.1).

    Args:
        temperature: of the softmax over cosine similarities.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        both, scale = torch.cat([a, b]), 1 / self.temperature
        against, _ = log_sum_exp(both, both, scale, bound=scale, exclude_self=True)
        return against.mean() - (a * b).sum(dim=1).mean() * scale
