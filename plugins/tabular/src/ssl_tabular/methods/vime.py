"""VIME: from corrupted rows, tell which cells were corrupted and what they were (NeurIPS 2020, section 4.1)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..encoders import heads_for
from ..rows import features


class VIME(Method):
    """Mask estimation and feature reconstruction.

    A cell that was replaced by an equal value counts as not replaced. The objective compares reconstructed with true plain
    features (numbers and one-hot categories), (B, N + sum of cardinalities).

    Args:
        numeric, cardinalities: the columns; from the data.
        alpha: weight of the reconstruction.
        hidden: inner width of both heads.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 alpha: float = 2.0, hidden: int = 128) -> None:
        super().__init__(encoder, augmentation, objective)
        self.cardinalities, self.alpha = tuple(cardinalities), alpha
        self.values = heads_for(numeric, cardinalities, encoder.width, hidden)
        self.mask = nn.Sequential(nn.Linear(encoder.width, hidden), nn.ReLU(),
                                  nn.Linear(hidden, numeric + len(cardinalities)))

    def step(self, batch: Any) -> dict[str, Tensor]:
        clean, *corrupted = self.augmentation(batch)
        wanted, masks, values = features(clean, self.cardinalities), [], []
        for view in corrupted:
            z = self.encoder(view).pooled
            masks.append(F.binary_cross_entropy_with_logits(self.mask(z).float(), view.differs(clean).float()))
            values.append(self.compare(self.values(z), wanted))
        mask, value = torch.stack(masks).mean(), torch.stack(values).mean()
        return {"loss": mask + self.alpha * value, "mask": mask, "value": value}
