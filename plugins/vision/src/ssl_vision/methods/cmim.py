"""cMIM: a code that its image can be decoded from, and that no other image of the batch could have (arXiv:2502.19642)."""
from __future__ import annotations

from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mean, mlp

from ..images import Images, unit


class CMIM(Method):
    """Decode, keep the code near a standard normal one and its posterior narrow (A-MIM), and contrast codes.

    -log p(x | z) - (log P(z) + log q(z | x)) / 2 + contrast(z, mean of q), for a z drawn from q. Unlike in a variational
    auto-encoder a narrow q is rewarded, so its deviation has a floor. The decoder is a small perceptron on a coarse image,
    with one noise level for all pixels, and the similarity is a cosine; the paper's own choices could not be checked.

    Args:
        channels, image_size: of the images; from the data.
        latent: width of z.
        hidden: inner width of the decoder.
        cells: the image is decoded as so many means along each side, at most.
        floor: smallest deviation of q.
        contrast: weight of the contrast; 0 for A-MIM.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, channels: int, image_size: tuple[int, int],
                 latent: int = 64, hidden: int = 512, cells: int = 32, floor: float = 0.05, contrast: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective, latent)
        if min(latent, hidden, cells) < 1 or floor <= 0 or contrast < 0:
            raise ValueError(f"latent, hidden and cells should be 1 or more, floor above 0 and contrast not below; "
                             f"got {latent}, {hidden}, {cells}, {floor} and {contrast}")
        self.size = [min(cells, side) for side in image_size]
        self.posterior = nn.Linear(encoder.width, 2 * latent)
        self.decoder = mlp(latent, hidden, hidden, channels * self.size[0] * self.size[1], norm="layer")
        self.noise = nn.Parameter(torch.zeros(()))  # logarithm of the variance of a pixel
        self.floor, self.contrast = floor, contrast

    def step(self, batch: Images) -> dict[str, Tensor]:
        found = [self.parts(view) for view in self.augmentation(batch)]
        losses = {name: mean(one[name] for one in found) for name in found[0]}
        return {"loss": losses["decoding"] + losses["prior"] + self.contrast * losses["contrast"]} | losses

    def parts(self, images: Images) -> dict[str, Tensor]:
        """The three terms, nats per image."""
        middle, deviation = self.posterior(self.encoder(images).pooled).float().chunk(2, dim=1)  # (B, latent) each
        deviation = self.floor + F.softplus(deviation)
        drawn = torch.randn_like(middle)
        z = middle + deviation * drawn
        target = F.adaptive_avg_pool2d(unit(images.pixels), self.size).flatten(1)
        wrong = (self.decoder(z).float() - target).square()
        decoding = (wrong / self.noise.exp() + self.noise + log(2 * pi)).sum(dim=1).mean() / 2
        code, posterior = z.square() + log(2 * pi), drawn.square() + 2 * deviation.log() + log(2 * pi)  # -2 log of each
        prior = (code + posterior).sum(dim=1).mean() / 4
        return {"decoding": decoding, "prior": prior, "contrast": self.compare(z, middle)}
