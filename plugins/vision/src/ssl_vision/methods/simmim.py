"""SimMIM: hidden patches stay, as a learned token, and one linear layer predicts their pixels (arXiv:2111.09886)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import ConfigError, Method


class SimMIM(Method):
    """Blank patches of every image and rebuild them from the encoder's own tokens.

    The objective sees hidden patches only; `smooth-l1` with beta=0 is the paper's absolute error. Of a hierarchical encoder
    the places of the last map are hidden: 32 pixels a side for 4-pixel patches and four stages, as in the paper.
    SatVision (arXiv:2411.17000) is the same on images of many bands.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any) -> None:
        if not hasattr(encoder, "blank_width"):
            raise ConfigError(f"SimMIM needs an encoder whose patches can be blanked, which {type(encoder).__name__} is not.\n"
                              f"  Try: encoder=vit or encoder=swin")
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        self.blank = nn.Parameter(nn.init.trunc_normal_(torch.empty(encoder.blank_width), std=0.02))
        self.decode = nn.Linear(encoder.width, encoder.input_width)

    def step(self, batch: Any) -> dict[str, Tensor]:
        hidden = self.augmentation(self.encoder.layout(batch))  # (T,)
        tokens = self.encoder(batch, keep=~hidden, blank=self.blank).tokens  # (T, D)
        return {"loss": self.compare(self.decode(tokens[hidden]), self.encoder.inputs(batch)[hidden])}
