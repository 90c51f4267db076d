"""Epochs that can be replayed: which batches, in which order, is a function of seed and epoch and of nothing else."""
from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch


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


END = object()


class Batches:
    """The training batches of a data set, epoch by epoch.

    What a loader draws (order, worker seeds) comes from its own stream, seeded by (seed, epoch), so an epoch can be
    replayed and resumed in the middle, whatever kind of iterable it is.
    """

    def __init__(self, batches: Iterable[Any], seed: int) -> None:
        self.batches, self.seed = batches, seed
        self.epoch = self.skip = 0  # set by the trainer before an epoch; `skip` batches of it were seen already

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.batches, (list, tuple)):
            yield from self.batches[self.skip:]
            return
        with unnoticed():
            seed_all(hash((self.seed, self.epoch)) % 2**31)
            epoch, inside = iter(self.batches), random_state(devices=False)
        for i in count():
            with unnoticed():
                restore_random(inside)
                batch = next(epoch, END)
                inside = random_state(devices=False)
            if batch is END:
                return
            if i >= self.skip:
                yield batch


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
