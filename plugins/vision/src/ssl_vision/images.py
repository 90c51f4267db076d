"""The batch of this plugin, and the loaders that make it: from memory by index, or from files by decoding."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_core import DataError


class Images(NamedTuple):
    """A batch of images of one size.

    Args:
        pixels: (B, C, H, W), uint8 from 0 to 255, or float from 0 to 1.
        labels: (B,) long, -1 where there is none; or None.
        ids: (B,) long, the place of each in the data set; or None. Views have none.
    """

    pixels: Tensor
    labels: Tensor | None = None
    ids: Tensor | None = None


def unit(pixels: Tensor) -> Tensor:
    """Pixels as floats from 0 to 1; floats are given back as they are."""
    return pixels if pixels.is_floating_point() else pixels.float().div_(255)


class InMemory:
    """Batches of images that lie in memory: one gather per batch, no work per image.

    Args:
        pixels: (N, C, H, W).
        labels: (N,) or None.
        rows: (M,) the images to take.
        batch_size: images per batch.
        shuffle: draw a new order every epoch, from torch's generator, and leave out what does not fill a batch.
    """

    def __init__(self, pixels: Tensor, labels: Tensor | None, rows: Tensor, batch_size: int, shuffle: bool = False) -> None:
        self.pixels, self.labels, self.rows, self.shuffle = pixels, labels, rows, shuffle
        self.batch_size, self.count = min(batch_size, len(rows)), len(rows)

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size if self.shuffle else -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Images]:
        order = self.rows[torch.randperm(len(self.rows))] if self.shuffle else self.rows
        for chosen in order.split(self.batch_size)[: len(self)]:
            yield self._batch(chosen)

    def items_at(self, places: Tensor) -> Images:
        """The images at these places, (B,), of `rows`."""
        return self._batch(self.rows[places])

    def _batch(self, chosen: Tensor) -> Images:
        return Images(self.pixels[chosen], None if self.labels is None else self.labels[chosen], chosen)


class FromFiles:
    """Batches of images that are decoded when they are needed, in worker processes.

    Args:
        decode: position -> (C, H, W); raises DataError.
        labels, rows, batch_size, shuffle: as in `InMemory`.
        workers: processes; 0 to decode in this one.
    """

    def __init__(self, decode: Callable[[int], Tensor], labels: Tensor | None, rows: Tensor, batch_size: int, shuffle: bool,
                 workers: int) -> None:
        self.images, self.count = _Decoded(decode, labels, rows), len(rows)
        self.loader = DataLoader(self.images, min(batch_size, len(rows)), shuffle, num_workers=workers,
                                 collate_fn=together, drop_last=shuffle, pin_memory=torch.cuda.is_available())

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Images]:
        yield from map(sound, self.loader)

    def items_at(self, places: Tensor) -> Images:
        """The images at these places, (B,), of `rows`, decoded in this process."""
        return sound(together([self.images[place] for place in places.tolist()]))


class _Decoded(Dataset):  # type: ignore[type-arg]
    """What the workers see. An error is handed over as a value, or it would arrive wrapped in the worker's traceback."""

    def __init__(self, decode: Callable[[int], Tensor], labels: Tensor | None, rows: Tensor) -> None:
        self.decode, self.labels, self.rows = decode, labels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor | None, int] | DataError:
        row = int(self.rows[i])
        try:
            return self.decode(row), None if self.labels is None else self.labels[row], row
        except DataError as error:
            return error


def together(found: Sequence[tuple[Tensor, Tensor | None, int] | DataError]) -> Images | DataError:
    """One batch of single images, or the first error among them."""
    for item in found:
        if isinstance(item, DataError):
            return item
    pixels, labels, rows = zip(*found)
    return Images(stack(pixels), None if labels[0] is None else torch.stack(labels), torch.tensor(rows))


def sound(batch: Images | DataError) -> Images:
    """The batch, if it is one."""
    if isinstance(batch, DataError):
        raise batch
    return batch


def stack(pixels: Sequence[Tensor]) -> Tensor:
    """(C, H, W) each -> (N, C, H, W); bytes if all are bytes, else floats from 0 to 1."""
    return torch.stack(list(pixels) if all(p.dtype is torch.uint8 for p in pixels) else [unit(p) for p in pixels])
