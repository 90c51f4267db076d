"""Epochs that can be replayed: which batches, in which order, is a function of seed and epoch and of nothing else."""
from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch

from .distributed import world
from .sharding import Noted, indexed, part, resampled, shared


def seed_all(seed: int) -> None:
    """Seed torch (all devices), numpy and python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(devices: bool = True) -> dict[str, Any]:
    """The state of every random generator, as plain values and tensors, fit for a checkpoint."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    state = {"torch": torch.get_rng_state(), "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
             "python": random.getstate()}
    if devices and torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random(state: dict[str, Any]) -> None:
    """Put every generator back to where `random_state` found it."""
    torch.set_rng_state(state["torch"].cpu())
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


@contextmanager
def unnoticed() -> Iterator[None]:
    """Whatever is drawn inside leaves the random generators outside as they were."""
    state = random_state(devices=torch.cuda.is_available() and torch.cuda.is_initialized())
    try:
        yield
    finally:
        restore_random(state)


class Begun(NamedTuple):
    """Where training on these data begins: later than at 0 for a run that goes on from another one.

    Args:
        epoch, step: what was done before, on other data.
    """

    epoch: int = 0
    step: int = 0


END = object()


class Batches:
    """The training batches of a data set, epoch by epoch; of several processes each gets its part of every batch.

    What a loader draws (order, worker seeds) comes from its own stream, seeded by (seed, epoch), so an epoch can be
    replayed and resumed in the middle, whatever kind of iterable it is. A loader with `state_dict` and `load_state_dict`
    is put back to where it was instead of being replayed, which would read a long stream again.
    """

    def __init__(self, batches: Iterable[Any], seed: int, begun: Begun | None = None) -> None:
        self.batches, self.seed, self.begun = batches, seed, begun or Begun()
        self.epoch = self.skip = 0  # set by the trainer before an epoch; `skip` batches of it were seen already
        self.stateful = hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict")
        self.states: dict[int, Any] = {}  # of such a loader: after so many batches of this epoch, the last few

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        mine = shared(self.batches, own)
        if isinstance(mine, (list, tuple)):
            yield from mine[self.skip:]
        else:
            yield from self._replayed(mine)

    def _replayed(self, batches: Any) -> Iterator[Any]:
        resumed = self.states.get(self.skip) if self.skip and self.stateful else None
        with unnoticed():
            seed_all(hash((self.seed, self.epoch)) % 2**31)
            if getattr(batches, "generator", None) is not None:  # a DataLoader that was given one of its own
                batches.generator.manual_seed(self.seed + self.epoch)
            if resumed is not None:
                self.batches.load_state_dict(resumed["loader"])  # type: ignore[attr-defined]
                restore_random(resumed["random"])
            epoch, inside = iter(batches), random_state(devices=False)
        for i in count(0 if resumed is None else self.skip):
            with unnoticed():
                restore_random(inside)
                batch = next(epoch, END)
                inside = random_state(devices=False)
            if batch is END:
                return
            if self.stateful:
                self.states = {n: state for n, state in self.states.items() if i - 3 < n <= i}
                self.states[i + 1] = {"loader": self.batches.state_dict(), "random": inside}  # type: ignore[attr-defined]
            if i >= self.skip:
                yield batch

    def again(self, epoch: int, index: int) -> tuple[Any, list[int] | None]:
        """One batch of an epoch once more, and the positions of its items where they are known.

        They are where the batch has `ids`, or where a DataLoader drew them.
        """
        noted = Noted(self.batches.batch_sampler) if indexed(self.batches) and world() == 1 else None  # type: ignore[attr-defined]
        copy = Batches(self.batches if noted is None else resampled(self.batches, noted), self.seed)
        copy.epoch, copy.skip = epoch, index
        batch = next(iter(copy))
        ids = batch.get("ids") if isinstance(batch, dict) else getattr(batch, "ids", None)
        if ids is not None:
            return batch, ids.tolist() if hasattr(ids, "tolist") else list(ids)
        return batch, noted.drawn[index] if noted is not None else None


def move(batch: Any, device: torch.device | str) -> Any:
    """The batch on a device: anything with `.to`, and tuples, lists and mappings of such."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: move(item, device) for key, item in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move(item, device) for item in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(move(item, device) for item in batch)
    return batch


def cut(batch: Any, items: int, count: int, start: int = 0) -> Any:
    """`count` of the `items` of a batch, from `start` on: tensors and arrays, and tuples, lists and mappings of such.

    None for a batch that cannot be cut so: a graph, whose items hang together.
    """
    try:
        return _cut(batch, items, slice(start, start + count))
    except _Whole:
        return None


class _Whole(Exception):
    """A part of a batch does not hold its items one after the other."""


def _cut(batch: Any, items: int, rows: slice) -> Any:
    if hasattr(batch, "shape") and hasattr(batch, "__getitem__") and len(batch.shape) and batch.shape[0] == items:
        return batch[rows]
    if isinstance(batch, dict) and batch:
        return {key: part if part is None else _cut(part, items, rows) for key, part in batch.items()}
    if isinstance(batch, (tuple, list)) and len(batch):
        parts = [part if part is None else _cut(part, items, rows) for part in batch]
        kind: Any = type(batch)
        return kind(*parts) if hasattr(batch, "_fields") else kind(parts)
    raise _Whole


def own(batch: Any) -> Any:
    """The part of a batch that is this process's; None for one that cannot be cut."""
    start, count = part(size(batch))
    return cut(batch, size(batch), count, start)


def size(batch: Any) -> int:
    """How many items a batch holds, by the first tensor or array in it; 0 where that cannot be told."""
    if hasattr(batch, "shape"):
        return int(batch.shape[0]) if len(batch.shape) else 0
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (tuple, list)) else ()
    return next((found for part in parts if (found := size(part))), 0)
