"""SparK in three dimensions: rebuild hidden blocks from what a sparse convolutional encoder saw (arXiv:2301.03580)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError, Method

from ..decoders import Decoder
from ..sparse import SparseNorm
from ..volumes import Volumes, blocks


class Spark(Method):
    """Fill what is hidden of each map with a learned value, decode from coarse to fine, compare hidden blocks.

    Args:
        width: channels inside the decoder.
        normalize: normalise each block of the target over its voxels.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, width: int = 32, normalize: bool = True) -> None:
        if not hasattr(encoder, "pyramid"):
            raise ConfigError(f"Spark needs a convolutional encoder that leaves out hidden blocks, which "
                              f"{type(encoder).__name__} does not.\n  Try: encoder=sparse-cnn")
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        channels = len(encoder.normalized.mean)
        self.norms = nn.ModuleList(SparseNorm(maps, 1) for maps in encoder.maps)
        self.blanks = nn.ParameterList(nn.init.trunc_normal_(torch.empty(maps, 1, 1, 1), std=0.02) for maps in encoder.maps)
        self.enter = nn.ModuleList(nn.Conv3d(maps, maps, 3, padding=1) for maps in encoder.maps)
        self.decoder = Decoder(encoder.maps, encoder.strides, channels, width)
        self.normalize = normalize

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        hidden = self.augmentation(self.encoder.layout(batch))
        dense = [self.filled(i, x, seen) for i, (x, seen) in enumerate(self.encoder.pyramid(batch, keep=~hidden))]
        guess = blocks(self.decoder(dense, batch.voxels.shape[2:]), self.encoder.patch).flatten(0, 1)  # (T, C * patch^3)
        target = self.encoder.inputs(batch)
        target = F.layer_norm(target, target.shape[1:]) if self.normalize else target
        return {"loss": self.compare(guess[hidden], target[hidden])}

    def filled(self, scale: int, x: Tensor, seen: Tensor) -> Tensor:
        """A map without gaps, projected."""
        x = torch.where(seen.bool(), self.norms[scale](x, seen), self.blanks[scale].to(x.dtype))
        return self.enter[scale](x)
