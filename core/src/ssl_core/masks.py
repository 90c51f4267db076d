"""Masks over tokens. They see owners and positions only, so they serve every domain.

Each mask leaves at least one token of every item visible, and hides at least one of every item with two or more.
"""
from __future__ import annotations

import torch
from torch import Tensor

from .contracts import Layout


def rank_in_item(score: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """The rank of each token's score among those of its item, and the number of tokens of its item: (T,), (T,)."""
    items = int(owner[-1]) + 1
    count = torch.bincount(owner, minlength=items)
    order = torch.argsort(owner.double() + score.double() * (1 - 1e-9))  # by item, then by score in [0, 1)
    rank = torch.empty_like(owner)
    rank[order] = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count)[owner]
    return rank, count[owner]


class RandomMask:
    """Hide a share of the tokens of every item, drawn at random.

    Args:
        ratio: share of each item's tokens to hide.
    """

    def __init__(self, ratio: float = 0.5) -> None:
        if not 0 < ratio < 1:
            raise ValueError(f"ratio should lie between 0 and 1, got {ratio}")
        self.ratio = ratio

    def __call__(self, layout: Layout) -> Tensor:
        rank, count = rank_in_item(torch.rand(len(layout.owner), device=layout.owner.device), layout.owner)
        hide = (count * self.ratio).round().clamp(min=1).minimum(count - 1)
        return rank < hide


class BoxMask:
    """Hide random boxes of every item: a span of frames, a block of patches, a cuboid of voxels.

    A box is grown around a random token until it holds the wanted share of the item, so that the share does not
    depend on how many tokens there are or where their centres lie.

    Args:
        ratio: share of each item's tokens in a box.
        boxes: how many, each for itself, so that they may overlap (I-JEPA, arXiv:2301.08243: 4 boxes of 0.15 to 0.2).
    """

    def __init__(self, ratio: float = 0.5, boxes: int = 1) -> None:
        if not 0 < ratio < 1:
            raise ValueError(f"ratio should lie between 0 and 1, got {ratio}")
        if boxes < 1:
            raise ValueError(f"boxes should be 1 or more, got {boxes}")
        self.ratio, self.boxes = ratio, boxes

    def __call__(self, layout: Layout) -> Tensor:
        hidden = self.box(layout)
        if self.boxes == 1:
            return hidden
        owner = layout.owner
        for _ in range(self.boxes - 1):
            hidden = hidden | self.box(layout)
        rank, _ = rank_in_item(torch.rand(len(owner), device=owner.device), owner)
        visible = torch.zeros_like(owner).index_add_(0, owner, (~hidden).to(owner.dtype))  # of each item
        return hidden & ((visible[owner] > 0) | (rank > 0))  # one token is given back where the boxes cover all

    def box(self, layout: Layout) -> Tensor:
        owner, position = layout
        items, axes = int(owner[-1]) + 1, position.shape[1]
        side = self.ratio ** (1 / axes) / 2  # half the side of the box
        centre = side + torch.rand(items, axes, device=position.device) * (1 - 2 * side)  # the box lies inside
        distance = (position - centre[owner]).abs().amax(dim=1)  # in the maximum norm, whose balls are boxes
        rank, count = rank_in_item(distance.clamp(max=1 - 1e-6), owner)
        hide = (count * self.ratio).round().clamp(min=1).minimum(count - 1)
        return rank < hide
