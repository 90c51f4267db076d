"""SubTab: rebuild the whole row from each window of its features, and let windows of a row agree (arXiv:2110.04361)."""
from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Method
from ssl_core.modules import mlp

from ..encoders import heads_for
from ..rows import features


class SubTab(Method):
    """Reconstruction of the row from every window, contrast between windows, and their distance, each averaged.

    Noise is drawn once for a row, before it is cut into windows.

    Args:
        encoder: `windows`, whose tokens are windows.
        augmentation: the clean row and a noisy one.
        objective: contrast between the projections of two windows, (B, width) each.
        numeric, cardinalities: the columns; from the data.
        hidden: inner width of decoder and projector.
        contrast, distance: weights of the last two terms.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 hidden: int = 256, contrast: float = 1.0, distance: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective)
        if not hasattr(encoder, "windows"):
            raise ValueError("subtab needs an encoder of windows: encoder=windows")
        self.cardinalities, self.contrast, self.distance = tuple(cardinalities), contrast, distance
        self.decoder = heads_for(numeric, cardinalities, encoder.width, hidden)
        self.projector = mlp(encoder.width, hidden, encoder.width, norm="none", activation=torch.nn.LeakyReLU)

    def step(self, batch: Any) -> dict[str, Tensor]:
        clean, noisy = self.augmentation(batch)[:2]
        tokens = self.encoder(noisy).tokens  # (B * W, D)
        wanted = features(clean, self.cardinalities).repeat_interleave(self.encoder.windows, dim=0)
        rebuilt = F.mse_loss(self.decoder(tokens).float(), wanted, reduction="none").sum(dim=1).mean()
        windows = self.projector(tokens).unflatten(0, (-1, self.encoder.windows)).unbind(dim=1)
        pairs = list(combinations(windows, 2))
        contrast = torch.stack([self.compare(a, b) for a, b in pairs]).mean()
        distance = torch.stack([F.mse_loss(a.float(), b.float()) for a, b in pairs]).mean()
        return {"loss": rebuilt + self.contrast * contrast + self.distance * distance, "rebuilt": rebuilt,
                "contrast": contrast, "distance": distance}
