"""UniCon-HA: contrast for anomaly detection, at every stage of the network with views of its own (arXiv:2308.10155)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Norm, mean, mlp

from ..graded import Graded, quarters
from ..images import Images


class UniConHA(Method):
    """The objective of each level of augmentation on the stage that it belongs to: the strongest views on the last stage.

    Each stage has a head of its own, and weak views pass through the first stages only.

    Args:
        projector: widths of each head.
        norm: normalisation inside the heads.
    """

    augmentation: Graded

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (512, 128),
                 norm: Norm = "batch") -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if not isinstance(augmentation, Graded):
            raise ValueError(f"it needs the views of augmentation=graded, got {type(augmentation).__name__}")
        widths = getattr(encoder, "stage_widths", [])
        if len(widths) < augmentation.levels:
            raise ValueError(f"{type(encoder).__name__} has {len(widths)} stages; augmentation.levels should not be more, "
                             f"got {augmentation.levels}")
        if getattr(objective, "transformations", augmentation.turns) != augmentation.turns:
            raise ValueError(f"objective.transformations should be augmentation.turns={augmentation.turns}, "
                             f"got {objective.transformations}")
        self.stages = range(len(widths) - augmentation.levels, len(widths))
        self.heads = nn.ModuleList(mlp(widths[stage], *projector, norm=norm) for stage in self.stages)

    def step(self, batch: Images) -> dict[str, Tensor]:
        views, losses = self.augmentation(batch), {}
        each = len(views) // len(self.heads)
        for level, (stage, head) in enumerate(zip(self.stages, self.heads, strict=True)):
            some = views[level * each: (level + 1) * each]
            together = Images(torch.cat([view.pixels for view in some]))  # batch norms see every turn
            losses[f"stage_{stage + 1}"] = self.compare(*head(self.encoder.stage(together, stage)).chunk(each))
        return {"loss": mean(losses.values())} | losses

    @torch.no_grad()
    def rows(self, batch: Images) -> Tensor:
        """What `inlierness` compares: the last head's rows of each turn of the images as they are, (turns, B, D)."""
        return torch.stack([self.heads[-1](self.encoder.stage(turned, self.stages[-1]))
                            for turned in quarters(batch, self.augmentation.turns)])


def inlierness(known: Tensor, rows: Tensor) -> Tensor:
    """How normal items look, higher is more: the cosine with the nearest known inlier times the length, over all turns.

    Args:
        known: rows of training items, (turns, M, D).
        rows: of the items to judge, (turns, B, D).

    Returns:
        (B,)
    """
    nearest = (F.normalize(rows, dim=2) @ F.normalize(known, dim=2).mT).amax(dim=2)  # (turns, B)
    return (nearest * rows.norm(dim=2)).mean(dim=0)
