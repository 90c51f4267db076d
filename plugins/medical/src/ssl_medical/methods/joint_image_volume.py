"""Cluster slices, guess hidden slices, cluster volumes: one encoder for images and volumes (arXiv:2212.01893)."""
from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import ConfigError, Method
from ssl_core.modules import mlp

from ..volumes import Volumes


class JointImageVolume(Method):
    """Three stages of one training: views of slices agree; hidden slices are guessed from the others; views of volumes agree.

    Two views should show the same slices, so they are not to be turned about R or A, or flipped along S. In the second stage
    the two-dimensional network is held still, and hidden slices only count; in the published code all do.

    Args:
        projector: widths of the heads of slices and of volumes.
        hidden: share of slices to guess.
        stages: shares of training at which the second and the third stage begin.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 64),
                 hidden: float = 0.1, stages: tuple[float, float] = (0.4, 0.5)) -> None:
        if not hasattr(encoder, "slices"):
            raise ConfigError(f"JointImageVolume needs an encoder of slices, which {type(encoder).__name__} is not.\n"
                              f"  Try: encoder=slices")
        if not 0 <= stages[0] <= stages[1] <= 1 or not 0 < hidden < 1:
            raise ValueError(f"stages should be two rising shares and hidden a share, got {stages} and {hidden}")
        images = deepcopy(objective)
        super().__init__(encoder, augmentation, objective, projector[-1])
        if hasattr(images, "allocate"):
            images.allocate(projector[-1])
        self.images, self.stages, self.hidden = images, stages, hidden
        self.of_slices, self.of_volumes = mlp(encoder.width, *projector), mlp(encoder.width, *projector)
        self.guess = mlp(encoder.width, encoder.width, encoder.width, norm="layer")

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        if self.progress.fraction < self.stages[0]:
            rows = [self.of_slices(self.encoder.slices(view).flatten(0, 1)).float() for view in views]
            with torch.autocast(rows[0].device.type, enabled=False):
                loss = self.images(*rows)
        elif self.progress.fraction < self.stages[1]:
            loss = self.guessed(views[0])
        else:
            loss = self.compare(*(self.of_volumes(self.encoder(view).pooled) for view in views))
        # a gradient of zeros rather than none for what this stage has no use for, as distributed training wants
        return {"loss": loss + 0 * torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum()}

    def guessed(self, view: Volumes) -> Tensor:
        """Mean squared error of hidden slices, whose embeddings are normalised over their features."""
        with torch.no_grad():
            rows = self.encoder.slices(view)
        count = max(1, round(self.hidden * rows.shape[1]))
        rank = torch.rand(rows.shape[:2], device=rows.device).argsort(dim=1).argsort(dim=1)
        hidden = rank < count
        found = self.guess(self.encoder.joined(rows, hidden)[hidden])
        return F.mse_loss(found.float(), F.layer_norm(rows, rows.shape[2:])[hidden])

    def after_step(self) -> None:
        super().after_step()
        if hasattr(self.images, "after_step"):
            self.images.after_step()
