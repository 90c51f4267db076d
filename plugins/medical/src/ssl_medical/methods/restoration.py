"""Restore a corrupted volume: Models Genesis (arXiv:1908.06912), SimMIM in three dimensions (arXiv:2111.09886)."""
from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_core import Method

from ..decoders import Blockwise, Decoder, with_maps
from ..volumes import Volumes


class Restoration(Method):
    """Show the encoder a corrupted volume and rebuild the clean one from its maps.

    Args:
        decoder: `unet`: all maps, from coarse to fine; `linear`: one layer on the coarsest map.
        width: channels inside the decoder.
        where: compare all voxels, or the `hidden` ones only, which the augmentation marks.
        token: hidden voxels get a learned value instead of the augmentation's.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, decoder: Literal["unet", "linear"] = "unet",
                 width: int = 16, where: Literal["all", "hidden"] = "all", token: bool = False) -> None:
        channels = len(with_maps(encoder, type(self).__name__).normalized.mean)
        super().__init__(encoder, augmentation, objective, channels)
        self.decoder = Decoder(encoder.maps, encoder.strides, channels, width) if decoder == "unet" else \
            Blockwise(encoder.maps[-1], encoder.strides[-1], channels)
        self.blank = nn.Parameter(torch.tensor(encoder.normalized.mean.flatten().tolist())) if token else None
        self.hidden_only = where == "hidden"

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        if self.blank is not None:
            view = view._replace(voxels=torch.where(view.mark, self.blank.view(1, -1, 1, 1, 1), view.voxels))
        guess = self.decoder(self.encoder.features(view), view.voxels.shape[2:])
        guess, clean = (x.movedim(1, -1) for x in (guess, self.encoder.normalized(view.clean)))  # (B, X, Y, Z, C)
        if self.hidden_only:
            guess, clean = guess[view.mark[:, 0]], clean[view.mark[:, 0]]
        return {"loss": self.compare(guess.reshape(-1, guess.shape[-1]), clean.reshape(-1, clean.shape[-1]))}
