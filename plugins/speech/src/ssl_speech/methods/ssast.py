"""SSAST: find and paint hidden patches (Gong et al., 2022, arXiv:2110.09784); with Mamba blocks, SSAMBA (arXiv:2405.11831)."""
from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from .frames import need_patches, read


class SSAST(Method):
    """One mask and one pass for both tasks (section 3.3); the authors' code draws a mask and makes a pass for each.

    Args:
        paint: weight of the mean squared error of hidden patches (lambda: 10).
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, paint: float = 10.0) -> None:
        super().__init__(encoder, augmentation, objective)
        need_patches(encoder)
        width, cells = encoder.width, encoder.channels
        self.finder, self.painter = (mlp(width, width, cells, norm="none", activation=nn.GELU) for _ in range(2))
        self.paint = paint

    def step(self, batch: Any) -> dict[str, Tensor]:
        frames, hidden = read(self.encoder, self.augmentation, batch)
        context = self.encoder.body(frames.x, frames.valid, hidden)[0][-1][hidden]  # (S, D)
        target = frames.x[hidden]
        found = self.compare(self.finder(context), target, hidden.nonzero()[:, 0])
        painted = F.mse_loss(self.painter(context).float(), target.float())
        return {"loss": found + self.paint * painted, "found": found, "painted": painted}
