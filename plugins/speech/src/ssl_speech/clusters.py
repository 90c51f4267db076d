"""k-means on the device, for the targets of HuBERT (arXiv:2106.07447, section II-A)."""
from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def nearest(rows: Tensor, centres: Tensor, block: int = 2**16) -> Tensor:
    """The nearest centre of each row by Euclidean distance: (N, D), (K, D) -> (N,) long."""
    offset = centres.square().sum(dim=1) / 2
    return torch.cat([(part @ centres.T - offset).argmax(dim=1) for part in rows.split(block)])


@torch.no_grad()
def kmeans(rows: Tensor, clusters: int, steps: int = 30) -> Tensor:
    """Centres (clusters, D) of rows (N, D): k-means++, then Lloyd's steps; a centre without rows moves to a far row."""
    rows = rows.float()
    centres = plus_plus(rows, clusters)
    for _ in range(steps):
        owner = nearest(rows, centres)
        total = torch.zeros_like(centres).index_add_(0, owner, rows)
        count = torch.bincount(owner, minlength=clusters)
        moved = total / count.clamp(min=1)[:, None]
        far = (rows - centres[owner]).square().sum(dim=1).topk(min(clusters, len(rows))).indices
        empty = count == 0
        moved[empty] = rows[far[torch.arange(clusters, device=rows.device) % len(far)]][empty]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def plus_plus(rows: Tensor, clusters: int) -> Tensor:
    """Starting centres, each drawn with the squared distance to those before as weight (k-means++)."""
    centres = [rows[torch.randint(len(rows), (), device=rows.device)]]
    distance = (rows - centres[0]).square().sum(dim=1)
    for _ in range(clusters - 1):
        far = distance.clamp(min=0) + 1e-12
        at = torch.rand((), device=rows.device) * far.sum()
        centres.append(rows[torch.searchsorted(far.cumsum(0), at).clamp(max=len(rows) - 1)])
        distance = distance.minimum((rows - centres[-1]).square().sum(dim=1))
    return torch.stack(centres)


@torch.no_grad()
def gathered(parts: Iterable[Tensor], most: int) -> Tensor:
    """`most` rows at random out of many parts (N, D), without holding all of them; every row is as likely as any other."""
    rows, keys = None, None
    for part in parts:
        key = torch.rand(len(part), device=part.device)
        rows = part.float() if rows is None else torch.cat([rows, part.float()])
        keys = key if keys is None else torch.cat([keys, key])
        if len(rows) > 2 * most:
            keys, kept = keys.topk(most)
            rows = rows[kept]
    assert rows is not None and keys is not None
    return rows[keys.topk(min(most, len(rows))).indices]
