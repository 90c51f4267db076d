"""Frames of a film that was never shot: a window that moves over a still image and closes in on it."""
from __future__ import annotations

import torch
from torch import Tensor

from . import colour, warp
from .augmentations import Look, Strengths, checked, ordered
from .images import Images, unit
from .warp import Pair


class Drift:
    """Two strong views of the middle frame, as in VICReg, and then all three frames, lightly recoloured.

    Still images have no time. Here a window moves in a straight line at an even pace and gets smaller from frame to frame,
    never larger: what tells a film from its reverse is that it zooms in. Frames of real films know more than that.

    Args:
        start: side of the first window, smallest and largest, as a share of the image's.
        zoom: side of each window over that of the one before, smallest and largest, below 1.
        light: strengths of the jitter of frames; see `colour.draw`.
        light_gray: probability that a frame is gray.
        scale, ratio, flip, jitter, strengths, gray, blur, sigma: of the strong views; see `SimCLR`.
    """

    def __init__(self, start: Pair = (0.8, 1.0), zoom: Pair = (0.7, 0.9), light: Strengths = (0.4, 0.4, 0.4, 0.1),
                 light_gray: float = 0.2, scale: Pair = (0.2, 1.0), ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5,
                 jitter: float = 0.8, strengths: Strengths = (0.4, 0.4, 0.2, 0.1), gray: float = 0.2, blur: float = 0.5,
                 sigma: Pair = (0.1, 2.0)) -> None:
        checked(2, light_gray=light_gray, flip=flip, jitter=jitter, gray=gray, blur=blur)
        ordered(start=start, zoom=zoom, scale=scale, ratio=ratio, sigma=sigma)
        if start[1] > 1 or zoom[1] >= 1:
            raise ValueError(f"start should lie up to 1 and zoom below 1, got {start} and {zoom}")
        self.start, self.zoom, self.light, self.light_gray = start, zoom, light, light_gray
        self.look = Look(scale, ratio, flip, jitter, strengths, gray, blur, sigma, 0.0)

    def __call__(self, images: Images) -> tuple[Images, ...]:
        frames = self.film(unit(images.pixels))
        seen = [colour.apply(x, colour.draw(len(x), self.light, 1.0, self.light_gray, x.device)) for x in frames]
        return tuple(Images(x, images.labels) for x in (self.look(frames[1]), self.look(frames[1]), *seen))

    def film(self, x: Tensor) -> list[Tensor]:
        """Three frames of each image, in order, (B, C, H, W) each."""
        b, _, height, width = x.shape
        start, zoom = warp.uniform(b, self.start, x.device), warp.uniform(b, self.zoom, x.device)
        sides = torch.stack([start * zoom**i for i in range(3)])[:, :, None]  # (3, B, 1)
        ends = [(torch.rand(b, 2, device=x.device) * 2 - 1) * (1 - sides[i]) for i in (0, 2)]  # both windows lie inside
        middles = [torch.lerp(ends[0], ends[1], i / 2) for i in range(3)]
        eye = torch.eye(2, device=x.device)
        return [warp.warp(x, torch.cat([side[:, :, None] * eye, middle[:, :, None]], dim=2), (height, width))
                for side, middle in zip(sides, middles, strict=True)]
