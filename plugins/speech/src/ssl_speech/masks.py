"""Hidden spans of frames and squares of patches: masks over the layout of any batch, without loops over items."""
from __future__ import annotations

import torch
from torch import Tensor

from ssl_core import Layout
from ssl_core.modules import pad


class SpanMask:
    """Hide spans of frames (wav2vec 2.0, arXiv:2006.11477, section 3.1).

    They start anywhere in the recording, without replacement, and may overlap.

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


class ClusterMask:
    """Hide squares of patches around random centres until a share of each item is hidden (SSAST, arXiv:2110.09784, 3.2).

    Every centre is as likely as any other, squares end at the edges, and the last one is thinned out at random: no corner of
    the spectrogram is spared.

    Args:
        ratio: share of the patches of an item (the paper: 400 of 512).
        smallest, largest: side of a square, in patches; 1 and 1 hide single patches.
    """

    def __init__(self, ratio: float = 0.6, smallest: int = 3, largest: int = 5) -> None:
        if not 0 < ratio < 1 or not 1 <= smallest <= largest:
            raise ValueError(f"wanted: 0 < ratio < 1 and 1 <= smallest <= largest, got {ratio}, {smallest}, {largest}")
        self.ratio, self.smallest, self.largest = ratio, smallest, largest

    def __call__(self, layout: Layout) -> Tensor:
        owner, position = layout
        if position.shape[1] != 2:
            raise ValueError(f"squares need tokens along 2 axes, these have {position.shape[1]}")
        counts, device = torch.bincount(owner), owner.device
        rows = (0.5 / position[:, 1].amin()).round()
        columns = (counts / rows)[owner]
        grid, valid = pad(torch.stack([position[:, 0] * columns, position[:, 1] * rows], dim=1).floor(), owner, len(counts))
        shape = valid.shape  # (B, L)
        turn = torch.rand(shape, device=device, dtype=torch.float64).masked_fill(~valid, 2.0)  # when a patch is a centre
        side = torch.randint(self.smallest, self.largest + 1, shape, device=device)[:, None]  # of its square
        covered = valid[:, :, None] & valid[:, None]
        for axis in (0, 1):
            offset = grid[:, :, None, axis] - grid[:, None, :, axis]  # (B, patches, centres)
            low = -((side - torch.randint(2, side.shape, device=device)) // 2)  # an even square leans to either side
            covered = covered & (offset >= low) & (offset < low + side)
        reached = torch.where(covered, turn[:, None], 3.0).amin(dim=2)
        reached = reached + 1e-9 * torch.rand(shape, device=device, dtype=torch.float64)
        rank = reached.masked_fill(~valid, 9.0).argsort(dim=1).argsort(dim=1)
        wanted = (self.ratio * counts).round().long().clamp(min=1).minimum(counts - 1)
        return (rank < wanted[:, None])[valid]


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
