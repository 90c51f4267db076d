"""Objectives on frames: contrast within a recording, classes, absolute error."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.modules import pad

from .masks import distractors


class WithinContrast(nn.Module):
    """Tell the right frame from other hidden frames of the same recording (wav2vec 2.0, arXiv:2006.11477, equation 3).

    All similarities within a recording are one matrix product; the drawn distractors are columns of it. A distractor
    with the same code as the right frame is left out; codes are compared, not vectors.

    Args:
        temperature: of the softmax over cosine similarities.
        negatives: distractors drawn for each frame; 0 for all other hidden frames of the recording.
        cosine: compare by cosine, or by the plain product of the rows (SSAST, arXiv:2110.09784, equation 1).
    """

    by_item = True  # it is told which recording each row belongs to, and its code

    def __init__(self, temperature: float = 0.1, negatives: int = 100, cosine: bool = True) -> None:
        super().__init__()
        if temperature <= 0 or negatives < 0:
            raise ValueError(f"temperature should be positive and negatives 0 or more, got {temperature} and {negatives}")
        self.temperature, self.negatives, self.cosine = temperature, negatives, cosine

    def forward(self, a: Tensor, b: Tensor, owner: Tensor | None = None, codes: Tensor | None = None) -> Tensor:
        """Predictions (N, D), targets (N, D), recording of each (N,) ascending, its code (N,) long -> ()."""
        owner = torch.zeros(len(a), dtype=torch.long, device=a.device) if owner is None else owner
        codes = torch.arange(len(a), device=a.device) if codes is None else codes
        items = int(owner[-1]) + 1
        a, b = (F.normalize(a, dim=1), F.normalize(b, dim=1)) if self.cosine else (a, b)
        rows, valid = pad(a, owner, items)  # (B, M, D)
        columns, names = pad(b, owner, items)[0], pad(codes[:, None], owner, items)[0][..., 0]
        logits = rows @ columns.transpose(1, 2) / self.temperature  # (B, M, M)
        right = logits.diagonal(dim1=1, dim2=2)
        if self.negatives:
            other = distractors(valid.sum(dim=1), logits.shape[1], self.negatives)  # (B, M, N)
            other = other.clamp(max=logits.shape[1] - 1)
            logits = logits.gather(2, other)
            name = names.gather(1, other.flatten(1)).view_as(other)
        else:
            name = names[:, None, :].expand_as(logits)
            logits = logits.masked_fill(~valid[:, None, :], -torch.inf)
        logits = logits.masked_fill(name == names[..., None], -torch.inf)
        loss = torch.cat([right[..., None], logits], dim=2).logsumexp(dim=2) - right
        return (loss * valid).sum() / valid.sum()


class CrossEntropy(nn.Module):
    """Name the right class (HuBERT, arXiv:2106.07447, equation 1)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (N, K), classes (N,) long -> ()."""
        return F.cross_entropy(a, b)


class Binary(nn.Module):
    """Say of each candidate by itself whether it is the right one (wav2vec, arXiv:1904.05862, equation 2)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logits (N, K), the right column of each row (N,) long -> (); summed over candidates, as the paper's weight of
        negatives is their number."""
        right = a.gather(1, b[:, None])[:, 0]
        return (F.softplus(a).sum(dim=1) - F.softplus(right) + F.softplus(-right)).mean()


class L1(nn.Module):
    """Mean absolute error (TERA, arXiv:2007.06028)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Predictions (N, D), targets (N, D) -> ()."""
        return F.l1_loss(a, b.detach())
