"""Transitive invariance: if a matches b and b matches c, then a and c belong together (arXiv:1708.02901)."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import DataError, Method
from ssl_core.modules import mean, mlp

from ..images import Images, unit
from ..matches import nearest, pairs, table, walk


class Triplet(nn.Module):
    """The aligned row should be nearer than other rows, by a margin of cosine.

    Args:
        margin: in cosine.
        hardest: other rows to keep away from, the nearest ones; 0 for all. With few of them, all rows may fall together
            early on: the loss then stands at the margin.
    """

    def __init__(self, margin: float = 0.5, hardest: int = 0) -> None:
        super().__init__()
        if margin <= 0 or hardest < 0:
            raise ValueError(f"margin should be positive and hardest not below 0, got {margin} and {hardest}")
        self.margin, self.hardest = margin, hardest

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T  # (N, N)
        aligned, count = cosines.diagonal()[:, None], len(cosines) - 1
        others = cosines.masked_fill(torch.eye(len(a), dtype=torch.bool, device=a.device), -torch.inf)
        return F.relu(others.topk(min(self.hardest or count, count), dim=1).values - aligned + self.margin).mean()


class Transitive(Method):
    """Two views of an image and one of another that a graph of matches leads to; each pair of the three belongs together.

    The paper's graph comes from tracks in films and clusters of patches. Here it is given, or made before training of the
    images whose pixels are nearest to each other. A walk of one or two steps draws the partner: two steps close triangles.

    Args:
        channels, image_size: of the images; from the data.
        projector: widths of the head.
        matches: an .npy of pairs of items, (E, 2) whole numbers: places in the data set. None: nearest pixels.
        neighbours: matches of an image that are kept, the first ones in the file.
        bank: images, the first ones of an epoch, that may be partners. They are held, and saved with every checkpoint.
        hops: steps of a walk, at most.
    """

    bank: Tensor
    names: Tensor
    table: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, channels: int, image_size: tuple[int, int],
                 projector: tuple[int, ...] = (2048, 128), matches: Path | None = None, neighbours: int = 5, bank: int = 4096,
                 hops: int = 2) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if min(neighbours, bank, hops) < 1:
            raise ValueError(f"neighbours, bank and hops should be 1 or more, got {neighbours}, {bank} and {hops}")
        self.edges = None if matches is None else pairs(matches)
        self.projector, self.hops = mlp(encoder.width, *projector), hops
        self.register_buffer("bank", torch.zeros(bank, channels, *image_size, dtype=torch.uint8))
        self.register_buffer("names", torch.full((bank,), torch.iinfo(torch.long).max))  # of the images held, ascending
        self.register_buffer("table", torch.full((bank, neighbours), -1))  # rows of the bank that each row matches

    def prepare(self, batches: Iterable[Images]) -> None:
        held, ids, count = list[Tensor](), list[Tensor](), 0
        for batch in batches:
            if batch.ids is None:
                raise DataError("partners are found by the number of the item, and these batches have none (Images.ids)")
            held.append((unit(batch.pixels) * 255).round().to(torch.uint8))
            ids.append(batch.ids)
            count += len(batch.pixels)
            if count >= len(self.bank):
                break
        names, order = torch.cat(ids)[: len(self.bank)].sort()
        n, k = len(names), self.table.shape[1]
        self.names[:n], self.bank[:n] = names, torch.cat(held)[order]
        small = unit(self.bank[:n]).flatten(1)
        self.table[:n] = nearest(small, k) if self.edges is None else table(self.edges.to(names.device), names, k)

    def partners(self, images: Images) -> Tensor:
        """Pixels of an image that a walk leads to from each, (B, C, H, W); its own where it has no match."""
        row = torch.searchsorted(self.names, images.ids).clamp(max=len(self.names) - 1)
        known = self.names[row] == images.ids
        row = walk(self.table, row, self.hops)
        return torch.where(known[:, None, None, None], unit(self.bank[row]), unit(images.pixels))

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = self.augmentation(batch)[:2]
        c = self.augmentation(batch._replace(pixels=self.partners(batch)))[0]
        a, b, c = (self.projector(self.encoder(view).pooled) for view in (a, b, c))
        return {"loss": mean([self.compare(a, b), self.compare(a, c), self.compare(b, c)])}
