"""Regions of an image, found in the image itself: clusters of its patches."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def clustered(rows: Tensor, labels: Tensor, count: int, among: Tensor | None = None, rounds: int = 5) -> Tensor:
    """Some rounds of k-means in every image, from labels that are given: (B, L, D), (B, L) -> labels (B, L).

    Args:
        rows: what is clustered.
        labels: below `count`, to begin with. A cluster that is empty stays so.
        count: of clusters.
        among: (B, L) bool, the rows that the centres are means of; None for all.
        rounds: of k-means.
    """
    for _ in range(rounds):
        members = F.one_hot(labels, count).to(rows.dtype)  # (B, L, K)
        members = members if among is None else members * among[:, :, None]
        size = members.sum(dim=1)
        centres = members.transpose(1, 2) @ rows / size.clamp(min=1)[:, :, None]  # (B, K, D)
        labels = torch.cdist(rows, centres).masked_fill(size[:, None] == 0, float("inf")).argmin(dim=2)
    return labels


def cells(height: int, width: int, count: int, device: torch.device) -> Tensor:
    """A start for k-means: about equal rows of cells of the grid, numbered below `count`: (height * width,)."""
    across = max(1, round(count**0.5))
    down = -(-count // across)
    y, x = torch.arange(height, device=device) * down // height, torch.arange(width, device=device) * across // width
    return (y[:, None] * across + x).clamp(max=count - 1).flatten()
