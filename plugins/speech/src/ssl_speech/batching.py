"""From recordings of all lengths to batches: crops, buckets of similar length, and a budget of seconds per batch.

What is random (order, crops) comes from torch's generator when an epoch starts; threads only read and decode.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_core import DataError

from .readers import SILENT, Bad, Clip, decode
from .waves import Waves, collate


class Piece(NamedTuple):
    """A part of one recording: `start` and `length` in samples at the rate of the model."""

    item: int
    start: int
    length: int


Row = tuple[Piece, ...]  # pieces joined to one recording of a batch


class Store:
    """Recordings by number, kept decoded where they are few.

    Args:
        clips: what there is.
        lengths: of each at `rate`, in samples.
        rate: of the model.
        limit: recordings that may turn out bad while training before it stops.
        skipped: (name, reason) of those; grows.
    """

    def __init__(self, clips: Sequence[Clip], lengths: Tensor, rate: int, limit: int, skipped: list[tuple[str, str]]) -> None:
        self.clips, self.lengths, self.rate, self.limit, self.skipped = clips, lengths, rate, limit, skipped
        self.held: dict[int, Tensor] = {}
        self.bad: set[int] = set()

    def __getitem__(self, piece: Piece) -> Tensor:
        """Samples of a piece, (length,) or a few less at the end of a resampled recording."""
        if piece.item in self.held:
            return self.held[piece.item][piece.start: piece.start + piece.length]
        if piece.item not in self.bad:
            whole = piece.start == 0 and piece.length >= self.lengths[piece.item]
            part = (0.0, 0.0) if whole else (piece.start / self.rate, piece.length / self.rate)
            try:
                return decode(self.clips[piece.item], self.rate, *part)[: piece.length]
            except Bad as why:
                if whole or str(why) != SILENT:  # a pause in a recording is fine
                    self.note(piece.item, str(why))
        return torch.zeros(piece.length)

    def note(self, item: int, why: str) -> None:
        """List a recording that cannot be decoded after all; silence stands in for it.

        Raises:
            DataError: there are more of them than the limit.
        """
        self.bad.add(item)
        self.skipped.append((self.clips[item].name, why))
        if len(self.bad) > self.limit:
            raise DataError(f"{len(self.bad)} recordings could not be decoded, the last: {self.clips[item].name}: {why}.\n"
                            f"  Try: data.skip=1.0 to go on without them")


class Loader:
    """Batches of an epoch, each a `Waves`.

    Args:
        store: where samples come from.
        plan: the rows of every batch of an epoch; draws from torch's generator; always as many batches.
        size: that number.
        workers: threads that decode ahead; 0 to decode when asked.
        labels: (N,) long, of each recording of the store; None for batches without.
    """

    def __init__(self, store: Store, plan: Callable[[], list[list[Row]]], size: int, workers: int = 0,
                 labels: Tensor | None = None) -> None:
        self.store, self.plan, self.size, self.workers = store, plan, size, workers
        self.labels = None if labels is None else labels.tolist()

    def __len__(self) -> int:
        return self.size

    def batch(self, rows: list[Row]) -> Waves:
        joined = [torch.cat([self.store[piece] for piece in row]) for row in rows]
        return collate(joined, None if self.labels is None else [self.label(row) for row in rows])

    def label(self, row: Row) -> int:
        """That of all pieces of a row; -1 where they differ."""
        assert self.labels is not None
        found = {self.labels[piece.item] for piece in row}
        return found.pop() if len(found) == 1 else -1

    def __iter__(self) -> Iterator[Waves]:
        batches = self.plan()
        if not self.workers:
            yield from map(self.batch, batches)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            ahead = deque(pool.submit(self.batch, rows) for rows in batches[: 2 * self.workers])
            for rows in batches[2 * self.workers:]:
                yield ahead.popleft().result()
                ahead.append(pool.submit(self.batch, rows))
            while ahead:
                yield ahead.popleft().result()


def in_order(items: Tensor, lengths: Tensor, budget: int, longest: int) -> list[list[Row]]:
    """Batches of consecutive items, cut to the middle `longest` samples; padded, none exceeds `budget` samples (unless
    one item does)."""
    batches: list[list[Row]] = [[]]
    widest = 0
    for item in items.tolist():
        whole = int(lengths[item])
        length = min(whole, longest)
        widest = max(widest, length)
        if batches[-1] and widest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            widest = length
        batches[-1].append((Piece(item, (whole - length) // 2, length),))
    return batches if batches[0] else []


class Buckets:
    """A shuffled epoch whose batches hold recordings of about the same length.

    Items are sorted by length times a random factor in [1, spread] and cut at the same places every epoch; no length can
    then exceed `spread` times the sorted length at its place, so the budget holds. Long ones are cropped at random.

    Args:
        items: (N,) which recordings.
        lengths: (N,) of these, in samples.
        budget: samples of a padded batch, at most.
        longest: samples of a crop, at most.
        spread: of the lengths in a batch.
    """

    def __init__(self, items: Tensor, lengths: Tensor, budget: int, longest: int, spread: float = 1.2) -> None:
        self.items, self.whole, self.spread = items, lengths, spread
        self.lengths = lengths.clamp(max=longest)
        bound = (self.lengths.sort(descending=True).values * spread).clamp(max=longest)
        sizes, at = [], 0
        while at < len(bound):
            sizes.append(min(max(1, int(budget / bound[at])), len(bound) - at))
            at += sizes[-1]
        if len(sizes) > 1 and sizes[-1] < sizes[-2]:  # what is left for the last, the shortest items: share evenly
            both = sizes[-1] + sizes[-2]
            sizes[-2:] = [both // 2, both - both // 2]
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __call__(self) -> list[list[Row]]:
        factor = 1 + (self.spread - 1) * torch.rand(len(self.items))
        order = (self.lengths * factor).argsort(descending=True)
        start = (torch.rand(len(self.items)) * (self.whole - self.lengths + 1)).long()
        rows = [(Piece(*piece),) for piece in torch.stack([self.items, start, self.lengths], dim=1)[order].tolist()]
        cuts = torch.tensor([0, *self.sizes]).cumsum(0).tolist()
        return [rows[cuts[i]: cuts[i + 1]] for i in torch.randperm(len(self.sizes)).tolist()]


class Joined:
    """A shuffled epoch whose rows are several recordings of one speaker, joined to at most `target` samples.

    Args:
        items, lengths: (N,) which recordings, and how long they are.
        groups: (N,) the speaker of each.
        budget: samples of a batch, at most.
        target: samples of a row.
    """

    def __init__(self, items: Tensor, lengths: Tensor, groups: Tensor, budget: int, target: int) -> None:
        self.items, self.lengths, self.target = items, lengths, target
        self.parts = [(groups == g).nonzero()[:, 0] for g in groups.unique()]
        self.counts = [min(len(part), max(1, round(float(lengths[part].sum()) / target))) for part in self.parts]
        self.size = -(-sum(self.counts) // max(1, budget // target))

    def __len__(self) -> int:
        return self.size

    def __call__(self) -> list[list[Row]]:
        rows: list[Row] = []
        for part, count in zip(self.parts, self.counts, strict=True):
            shuffled = part[torch.randperm(len(part))]
            rows += [self.row(some) for some in shuffled.tensor_split(count)]
        return [[rows[i] for i in some.tolist()] for some in torch.randperm(len(rows)).tensor_split(self.size)]

    def row(self, some: Tensor) -> Row:
        pieces, left = [], self.target
        for i in some.tolist():
            length = min(int(self.lengths[i]), left)
            if length > 0:
                pieces.append(Piece(int(self.items[i]), 0, length))
            left -= length
        return tuple(pieces)
