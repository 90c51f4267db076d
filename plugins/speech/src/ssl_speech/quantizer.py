"""Frames as codes: by Gumbel softmax (wav2vec 2.0, arXiv:2006.11477, section 2), the nearest entry (vq-wav2vec,
arXiv:1910.05453), or what is left to a further codebook (residual quantisation, arXiv:2107.03312)."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Progress

from .clusters import kmeans


class Quantised(NamedTuple):
    """Frames as codes.

    Args:
        rows: (N, D), code vectors; their gradient is that of the soft choice.
        codes: (N, G) long, the entry of each group.
        diversity: (), 0 when all entries are used alike, near 1 when one is.
        perplexity: (), entries in use, summed over groups, at most G * V; by hard choices.
        commit: (), distance of frames and entries, which moves either to the other; 0 for a choice by Gumbel softmax.
    """

    rows: Tensor
    codes: Tensor
    diversity: Tensor
    perplexity: Tensor
    commit: Tensor | float = 0.0


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


class Nearest(nn.Module):
    """The nearest of V entries in each of G groups; the gradient is copied (vq-wav2vec, arXiv:1910.05453, section 3.2).

    Args:
        width: of the frames; each group has an equal part.
        groups, entries: G and V.
        pull: weight of moving frames to entries, beside that of moving entries to frames (gamma).
    """

    def __init__(self, width: int, groups: int = 2, entries: int = 320, pull: float = 0.25) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"the width of the frames should be a multiple of groups={groups}, got {width}")
        self.groups, self.entries, self.pull = groups, entries, pull
        self.book = nn.Parameter(torch.randn(groups, entries, width // groups))

    def forward(self, frames: Tensor) -> Quantised:
        """(N, C) -> codes and the entries (N, C)."""
        with torch.autocast(frames.device.type, enabled=False):
            parts = frames.float().unflatten(1, (self.groups, -1))  # (N, G, C / G)
            away = self.book.square().sum(dim=2) / 2 - torch.einsum("ngd,gvd->ngv", parts, self.book)
            codes = away.argmin(dim=2)  # (N, G)
            chosen = self.book[torch.arange(self.groups, device=codes.device), codes]
            commit = F.mse_loss(chosen, parts.detach()) + self.pull * F.mse_loss(parts, chosen.detach())
            rows = (parts + (chosen - parts).detach()).flatten(1)
            shares = torch.stack([torch.bincount(c, minlength=self.entries) for c in codes.T]).float() / max(1, len(codes))
            used, total = perplexity(shares), self.groups * self.entries
            return Quantised(rows, codes, (total - used) / total, used, commit)

    @torch.no_grad()
    def settle(self, frames: Tensor) -> None:
        """Entries from k-means of frames (N, C), so that all of them are in use at the start."""
        for group, part in enumerate(frames.float().unflatten(1, (self.groups, -1)).unbind(1)):
            self.book[group] = kmeans(part, self.entries)


class Residual(nn.Module):
    """Codebooks one after the other, each for what those before it left (SoundStream, arXiv:2107.03312, section III-C).

    Args:
        width: of the frames.
        books, entries: how many codebooks, and entries in each.
    """

    def __init__(self, width: int, books: int = 8, entries: int = 1024) -> None:
        super().__init__()
        self.books = nn.ModuleList(Nearest(width, 1, entries, 1.0) for _ in range(books))

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Quantised]]:
        """(N, C) -> the sum of the entries (N, C), with the gradient copied, and what each codebook made of its part."""
        left, found = frames, []
        for book in self.books:
            found.append(book(left))
            left = left - found[-1].rows.detach()
        total = torch.stack([part.rows.detach() for part in found]).sum(dim=0)
        return frames + (total - frames).detach(), found

    @torch.no_grad()
    def settle(self, frames: Tensor) -> None:
        """All codebooks from k-means of what is left to them."""
        for book in self.books:
            book.settle(frames)
            frames = frames - book(frames).rows
