"""FreeCOS: find made-up branching structures in real images that look like the rest of them (arXiv:2307.07245)."""
from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method

from .. import warp
from ..augmentations import restyled
from ..fractals import bank
from ..images import Images, unit
from ..views import maps


class FreeCOS(Method):
    """Lay a fractal over an image, take on the low frequencies of another one, and mark the fractal again.

    Every token marks the pixels of its own cell. The paper's adversarial alignment and its features of the order of local
    intensities are left out, and so is its segmentation network: what is trained is the encoder of this run.

    Args:
        channels, image_size: of the images; from the data.
        trees: how many fractals are made before training; each is turned, scaled and shifted anew whenever it is shown.
        rounds: of rewriting; each makes the trees finer.
        thickness: smallest and largest, as a share of the side.
        contrast: how far a fractal's brightness is from that of its place, at least and at most.
        low: share of the frequencies whose amplitudes come from another image.
        seed: of the trees.
    """

    trees: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, channels: int, image_size: tuple[int, int],
                 trees: int = 32, rounds: int = 3, thickness: tuple[float, float] = (0.03, 0.08),
                 contrast: tuple[float, float] = (0.2, 0.6), low: float = 0.05, seed: int = 0) -> None:
        super().__init__(encoder, augmentation, objective)
        if trees < 1 or not 1 <= rounds <= 5 or not 0 < low <= 0.5:
            raise ValueError(f"trees should be 1 or more, rounds 1 to 5 and low from 0 to 0.5; got {trees}, {rounds}, {low}")
        made = bank(trees, max(image_size), rounds, thickness, torch.Generator().manual_seed(seed))
        self.register_buffer("trees", made, persistent=False)
        self.contrast, self.low, self.cell = contrast, low, cell_of(encoder, channels, tuple(image_size))
        self.marker = nn.Linear(encoder.width, self.cell[0] * self.cell[1])

    def step(self, batch: Images) -> dict[str, Tensor]:
        view = self.augmentation(batch)[0]
        shown, marks = self.overlaid(unit(view.pixels))
        found = self.encoder(Images(shown))
        guess = self.marker(maps(found, shown).flatten(2).mT.flatten(0, 1))  # (B * L, cell)
        return {"loss": self.compare(guess, cells(marks, self.cell))}

    def overlaid(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images with fractals in them, and where these are: (B, C, H, W), (B, 1, H, W)."""
        b, _, height, width = x.shape
        angle, scale = warp.uniform(b, (-pi, pi), x.device), warp.uniform(b, (0.7, 1.6), x.device)
        shift = warp.uniform(2 * b, (-0.3, 0.3), x.device).view(b, 2)
        drawn = self.trees[torch.randint(len(self.trees), (b,), device=x.device)].to(x.dtype)
        marks = warp.warp(drawn, warp.turned(angle, scale, shift, height, width), (height, width), "zeros")
        sign = torch.where(torch.rand(b, device=x.device) < 0.5, -1.0, 1.0)
        strength = (sign * warp.uniform(b, self.contrast, x.device))[:, None, None, None]
        mixed = (x + strength * marks).clamp(0, 1)
        return restyled(mixed, torch.randperm(b, device=x.device), self.low), marks


def cells(marks: Tensor, cell: tuple[int, int]) -> Tensor:
    """Marks (B, 1, H, W) cut into cells, row after row: (B * L, cell height * cell width)."""
    b, _, height, width = marks.shape
    h, w = cell
    return marks.view(b, height // h, h, width // w, w).transpose(2, 3).reshape(-1, h * w)


@torch.no_grad()
def cell_of(encoder: Any, channels: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Pixels that each token of the encoder stands for, as height and width.

    Raises:
        ConfigError: it gives no tokens.
    """
    height, width = image_size
    blank, training = torch.zeros(1, channels, height, width), encoder.training
    found = maps(encoder.eval()(Images(blank)), blank)
    encoder.train(training)
    return height // found.shape[2], width // found.shape[3]
