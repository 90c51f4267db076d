"""Which items of each batch are this process's, where several train together.

Every batch is divided among the processes, so the number of devices changes the speed and nothing else: the batch that a
loss sees, the steps of an epoch and the place where a run was stopped stay what they are on one device. All processes
draw the same order, from seed and epoch, and take their part of each batch.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from .distributed import rank, world
from .errors import ConfigError


def shared(batches: Iterable[Any], cut: Callable[[Any], Any]) -> Iterable[Any]:
    """The part of each batch that is this process's. A DataLoader reads no other items than those.

    What does not divide evenly is left out of an epoch, fewer items of a batch than there are processes: a loss that
    compares the rows of all processes needs as many from each. A batch of fewer items than processes goes to all of them.

    Args:
        cut: batch -> the part of it that is this process's (`part`), or None where it cannot be cut.
    """
    if world() == 1:
        return batches
    if indexed(batches):
        return resampled(batches, Share(batches.batch_sampler))  # type: ignore[attr-defined]
    return _Cut(batches, cut)


def indexed(batches: Any) -> bool:
    """Whether it is a DataLoader that draws positions first."""
    return isinstance(batches, DataLoader) and batches.batch_sampler is not None and \
        not isinstance(batches.dataset, IterableDataset)


def resampled(loader: Any, sampler: Any) -> DataLoader[Any]:
    """The same loader with other batches of positions."""
    same = {name: getattr(loader, name) for name in ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn",
                                                     "multiprocessing_context", "generator", "prefetch_factor")}
    return DataLoader(loader.dataset, batch_sampler=sampler, **same)


def part(items: int) -> tuple[int, int]:
    """Where the part of this process starts in a batch of so many items, and how many it holds."""
    each = items // world()
    return (rank() * each, each) if each else (0, items)


class Share:
    """The part of each batch of positions that is this process's."""

    def __init__(self, batches: Iterable[Sequence[int]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Sequence[int]]:
        for positions in self.batches:
            start, count = part(len(positions))
            yield positions[start: start + count]


class Noted:
    """Batches of positions, kept as they are drawn."""

    def __init__(self, batches: Iterable[Sequence[int]]) -> None:
        self.batches, self.drawn = batches, list[list[int]]()

    def __iter__(self) -> Iterator[Sequence[int]]:
        for positions in self.batches:
            self.drawn.append([int(i) for i in positions])
            yield positions


class _Cut:
    def __init__(self, batches: Iterable[Any], cut: Callable[[Any], Any]) -> None:
        self.batches, self.cut = batches, cut

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            mine = self.cut(batch)
            if mine is None:
                raise ConfigError(f"a batch of type {type(batch).__name__} cannot be divided among {world()} processes: its "
                                  f"items hang together.\n  Try: trainer.devices=1")
            yield mine
