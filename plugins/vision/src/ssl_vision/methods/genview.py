"""GenView: pairs of an image and a generated one, weighted by how good a pair they make (arXiv:2403.12003)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from ..images import Images
from ..views import maps


class WeightedNTXent(nn.Module):
    """NT-Xent in which every item has a weight; equal weights give NT-Xent.

    Args:
        temperature: of the softmax over cosine similarities.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature should be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
        """(N, D), (N, D), weights (N,) that sum to 1 -> ()."""
        rows, n = F.normalize(torch.cat([a, b]), dim=1), len(a)
        logits = (rows @ rows.T / self.temperature).fill_diagonal_(-torch.inf)
        each = F.cross_entropy(logits, torch.arange(2 * n, device=rows.device).roll(n), reduction="none").view(2, n).mean(dim=0)
        return each.mean() if weights is None else (weights * each).sum()


class GenView(Method):
    """Contrast an image and a generated one. A good pair shows the same thing before different backgrounds.

    What is foreground is judged by the encoder in training itself, by the first principal component of its tokens; the paper
    asks one that was trained before.

    Args:
        projector: widths of the head.
        spread: temperature of the weights; larger is more even.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (2048, 128),
                 spread: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if spread <= 0:
            raise ValueError(f"spread should be positive, got {spread}")
        self.projector, self.spread = mlp(encoder.width, *projector), spread

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = self.augmentation(batch)
        found = [self.encoder(view) for view in (a, b)]
        places = [maps(each, view.pixels).detach().float() for each, view in zip(found, (a, b), strict=True)]
        with torch.autocast(a.pixels.device.type, enabled=False):
            quality = pair_quality(*places)
        weights = (quality / self.spread).softmax(dim=0)
        return {"loss": self.compare(*(self.projector(each.pooled) for each in found), weights=weights)}


def pair_quality(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the foregrounds less that of the backgrounds of two maps: (B, D, h, w), (B, D, h, w) -> (B,) in [-2, 2]."""
    front = foreground(torch.cat([a, b])).flatten(1)  # (2 B, L)
    rows = torch.cat([a, b]).flatten(2).mT  # (2 B, L, D)
    near, far = ((share[:, :, None] * rows).sum(dim=1).chunk(2) for share in (front, 1 - front))
    return F.cosine_similarity(*near, dim=1) - F.cosine_similarity(*far, dim=1)


def foreground(x: Tensor, rounds: int = 10) -> Tensor:
    """How much each place belongs to the foreground, from 0 to 1 in each image: (B, D, h, w) -> (B, h, w).

    Along the first principal component of all places together, in the direction in which the middle lies above the border.
    """
    rows = x.flatten(2).mT  # (B, L, D)
    centred = (rows - rows.mean(dim=(0, 1))).flatten(0, 1)
    axis = centred.square().sum(dim=0)
    for _ in range(rounds):  # power iteration: no eigenvectors, no wait for the device
        axis = F.normalize(centred.T @ (centred @ axis), dim=0)
    score = (centred @ axis).view(len(x), *x.shape[2:])
    y, z = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype).square() for side in x.shape[2:])
    middle = -(y[:, None] + z)  # highest in the middle
    score = score * torch.where((score * (middle - middle.mean())).sum() < 0, -1.0, 1.0)
    low, high = score.amin(dim=(1, 2), keepdim=True), score.amax(dim=(1, 2), keepdim=True)
    return (score - low) / (high - low).clamp(min=1e-6)
