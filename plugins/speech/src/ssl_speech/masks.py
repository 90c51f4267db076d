"""Spans of hidden frames (wav2vec 2.0, arXiv:2006.11477, section 3.1): a mask over the layout of any batch, without loops."""
from __future__ import annotations

import torch
from torch import Tensor

from ssl_core import Layout


class SpanMask:
    """Hide spans of frames; they start anywhere in the recording, without replacement, and may overlap.

    A recording of L frames gets ratio * L / span spans, rounded up or down at random. Recordings shorter than two spans
    get spans of a quarter of their length. At least one frame of each recording stays visible.

    Args:
        ratio: share of the frames that would be hidden if no spans overlapped; 0.65 hides about 0.49.
        span: frames of a span.
        least: spans of a recording, at least.
    """

    def __init__(self, ratio: float = 0.65, span: int = 10, least: int = 2) -> None:
        if not 0 < ratio < 1 or span < 1 or least < 1:
            raise ValueError(f"ratio should lie between 0 and 1, span and least be 1 or more, got {ratio}, {span}, {least}")
        self.ratio, self.span, self.least = ratio, span, least

    def __call__(self, layout: Layout) -> Tensor:
        owner, device = layout.owner, layout.owner.device
        counts = torch.bincount(owner)
        tokens, first = torch.arange(len(owner), device=device), counts.cumsum(0) - counts
        span = torch.where(counts >= 2 * self.span, self.span, (counts // 4).clamp(min=1))
        legal = counts - span + 1
        spans = (self.ratio * counts / span + torch.rand(len(counts), device=device)).long()
        spans = spans.clamp(min=self.least).minimum(legal)
        place = tokens - first[owner]
        key = torch.rand(len(owner), device=device, dtype=torch.float64) + (place >= legal[owner]) + 2 * owner
        rank = torch.empty_like(owner)
        rank[key.argsort()] = place  # sorted by item, the places of an item run from 0: they are the ranks
        start = (rank < spans[owner]).long()
        steps = torch.cat([start, start.new_zeros(1)]).index_add(0, tokens + span[owner] * start, -start)
        hidden = steps.cumsum(0)[:-1] > 0
        seen = torch.zeros_like(counts).index_add(0, owner, (~hidden).long())
        shown = (torch.rand(len(counts), device=device) * counts).long()
        return hidden & ~((seen[owner] == 0) & (place == shown[owner]))


def spread(rows: Tensor, valid: Tensor) -> Tensor:
    """One value per valid frame (T,) -> (B, L), 0 or False elsewhere."""
    return torch.zeros(valid.shape, dtype=rows.dtype, device=rows.device).masked_scatter(valid, rows)


def distractors(counts: Tensor, size: int, number: int) -> Tensor:
    """Other places of the same item, drawn with replacement, never the place itself: (B,) -> (B, size, number).

    Args:
        counts: (B,) rows of each item; an item with one row has no others and gets 0.
        size: rows of the padded batch.
        number: to draw for each row.
    """
    drawn = torch.rand(len(counts), size, number, device=counts.device)
    other = (drawn * (counts - 1).clamp(min=0)[:, None, None]).long()
    return other + (other >= torch.arange(size, device=counts.device)[:, None])
