"""Swin UNETR's pre-training: undo cuts, name the turn, find the other view (arXiv:2111.14791)."""
from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..decoders import Decoder, with_maps
from ..volumes import Volumes


class SwinUNETR(Method):
    """Three tasks on one encoder. The heads read the pooled map; the published ones read the first and the second token.

    Args:
        projection: width of the rows that the objective compares.
        width: channels inside the decoder, which starts from the coarsest map alone.
        restore, turn, contrast: weights of the tasks.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projection: int = 512, width: int = 16,
                 restore: float = 1.0, turn: float = 1.0, contrast: float = 1.0) -> None:
        super().__init__(with_maps(encoder, type(self).__name__), augmentation, objective, projection)
        self.turns, self.projector = nn.Linear(encoder.width, 4), nn.Linear(encoder.width, projection)
        self.decoder = Decoder(encoder.maps[-1:], encoder.strides[-1:], len(encoder.normalized.mean), width)
        self.weights = restore, turn, contrast

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        rows, restored, turned = [], [], []
        for view in self.augmentation(batch):
            coarse = self.encoder.features(view)[-1]
            pooled = coarse.mean(dim=(2, 3, 4))
            guess = self.decoder([coarse], view.voxels.shape[2:])
            restored.append(F.l1_loss(guess.float(), self.encoder.normalized(view.clean)))
            turned.append(F.cross_entropy(self.turns(pooled).float(), view.mark))
            rows.append(self.projector(pooled))
        terms = sum(restored) / len(restored), sum(turned) / len(turned), self.compare(*rows)
        loss = sum(weight * term for weight, term in zip(self.weights, terms, strict=True))
        return {"loss": loss, "restore": terms[0], "turn": terms[1], "contrast": terms[2]}  # type: ignore[dict-item]
