"""G-SimCLR: images of one pseudo-class are no negatives of each other (arXiv:2009.12007).

The pseudo-classes are clusters of the codes of a small denoising auto-encoder, both found before training. The paper draws
batches with one image of each cluster; here such pairs are left out of the loss, so that batches may be of any size.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp
from ssl_core.stores import spherical_kmeans

from ..images import Images, unit


class ExclusiveNTXent(nn.Module):
    """NT-Xent that leaves rows of the same label out of the candidates, but for the other view of the item itself.

    Args:
        temperature: of the softmax over cosine similarities.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        """(N, D), (N, D), labels (N,) -> (). A label below 0 is none: nothing is left out."""
        rows, n = F.normalize(torch.cat([a, b]), dim=1), len(a)
        logits = rows @ rows.T / self.temperature  # (2 N, 2 N)
        alike = ((labels[:, None] == labels) & (labels >= 0)).repeat(2, 2)
        other = torch.arange(2 * n, device=rows.device).roll(n)
        alike[torch.arange(2 * n, device=rows.device), other] = False
        return F.cross_entropy(logits.masked_fill(alike.fill_diagonal_(True), -torch.inf), other)


class GSimCLR(Method):
    """Contrast two views with all images of other pseudo-classes. It needs an objective that takes labels.

    Args:
        channels: of the images; from the data.
        projector: widths of the head.
        clusters: pseudo-classes; about as many as classes are expected.
        cells: side of the small images that the auto-encoder reads.
        code: its inner width.
        noise: standard deviation of what it has to take away.
        steps: of its training.
        items: images, the first ones of an epoch, that it and the clusters are fitted to.
    """

    centres: Tensor
    middle: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, channels: int, projector: tuple[int, ...] = (2048, 128),
                 clusters: int = 10, cells: int = 16, code: int = 32, noise: float = 0.2, steps: int = 300,
                 items: int = 10000) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if clusters < 2 or cells < 1 or code < 1:
            raise ValueError(f"clusters should be 2 or more, cells and code 1 or more, got {clusters}, {cells} and {code}")
        self.projector = mlp(encoder.width, *projector)
        self.reader = mlp(channels * cells**2, 4 * code, code, norm="none").requires_grad_(False)
        self.register_buffer("centres", F.normalize(torch.randn(clusters, code), dim=1))
        self.register_buffer("middle", torch.zeros(code))
        self.cells, self.noise, self.steps, self.items = cells, noise, steps, items

    def prepare(self, batches: Iterable[Images]) -> None:
        held, count = list[Tensor](), 0
        for batch in batches:
            held.append(self.small(batch))
            count += len(held[-1])
            if count >= self.items:
                break
        seen = torch.cat(held)[: self.items]
        self.denoise(seen)
        codes = self.reader(seen)
        self.middle.copy_(codes.mean(dim=0))
        self.centres.copy_(spherical_kmeans(F.normalize(codes - self.middle, dim=1), len(self.centres), rounds=20))

    @torch.enable_grad()
    def denoise(self, seen: Tensor) -> None:
        """Fit the reader, with a painter that is not kept, to small images (N, F)."""
        painter = mlp(self.middle.shape[0], 4 * self.middle.shape[0], seen.shape[1], norm="none").to(seen.device)
        self.reader.requires_grad_(True)
        optimizer = torch.optim.Adam([*self.reader.parameters(), *painter.parameters()], 2e-3)
        for _ in range(self.steps):
            clean = seen[torch.randint(len(seen), (256,), device=seen.device)]
            loss = F.mse_loss(painter(self.reader(clean + self.noise * torch.randn_like(clean))), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.reader.requires_grad_(False).zero_grad()

    def small(self, images: Images) -> Tensor:
        return F.adaptive_avg_pool2d(unit(images.pixels), self.cells).flatten(1)  # (B, F)

    @torch.no_grad()
    def pseudo(self, images: Images) -> Tensor:
        """The cluster of each image, (B,)."""
        return (F.normalize(self.reader(self.small(images)) - self.middle, dim=1) @ self.centres.T).argmax(dim=1)

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = (self.projector(self.encoder(view).pooled) for view in self.augmentation(batch))
        return {"loss": self.compare(a, b, labels=self.pseudo(batch))}
