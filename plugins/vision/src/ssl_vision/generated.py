"""Views that a generator made: read from where they lie, or made on the spot by an augmentation of your own plugin."""
from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import ConfigError, DataError
from ssl_core.contracts import Views

from .augmentations import SimCLR, Strengths, checked, restyled
from .decoding import folder
from .images import Images, unit
from .readers import brightness, files
from .warp import Pair


class Generated:
    """Two views: one of the image, one of what a generator made of it; both are drawn as in SimCLR.

    Without `images` the image in the style of another one of the batch stands in for a generated one: a Fourier transform, no
    generative model. A generator that works on the spot is an augmentation that your plugin offers: a subclass with a `made`
    of its own. (No option names a function, since the options of a run may come from anywhere.)

    Args:
        images: a folder of images, in the order of their names, or an .npy of (N, C, H, W) or (N, H, W): number i belongs to
            item i of the data set.
        low: share of the frequencies that are restyled where no images are given.
        scale, ratio, flip, jitter, strengths, gray, blur, sigma: of both views; see `SimCLR`.
    """

    def __init__(self, images: Path | None = None, low: float = 0.1, scale: Pair = (0.08, 1.0),
                 ratio: Pair = (3 / 4, 4 / 3), flip: float = 0.5, jitter: float = 0.8,
                 strengths: Strengths = (0.8, 0.8, 0.8, 0.2), gray: float = 0.2, blur: float = 0.5,
                 sigma: Pair = (0.1, 2.0)) -> None:
        checked(2, low=low)
        if images is not None and not Path(images).exists():
            raise DataError(f"there are no generated images at {images}\n  Try: augmentation.images=FOLDER_OR_NPY")
        self.look: Views = SimCLR(2, scale, ratio, flip, jitter, strengths, gray, blur, sigma)
        self.images, self.low = images, low

    def __call__(self, batch: Images) -> tuple[Images, ...]:
        x, found = batch.pixels, self.made(batch)
        if not isinstance(found, Tensor) or found.shape[:2] != x.shape[:2]:
            raise DataError(f"generated views should be as many and have as many channels as {tuple(x.shape)}, got "
                            f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}")
        if found.shape != x.shape:
            found = F.interpolate(found, x.shape[2:], mode="bilinear", antialias=True).clamp(0, 1)
        return self.look(batch)[0], self.look(batch._replace(pixels=found))[0]

    def made(self, batch: Images) -> Tensor:
        """A generated image for each item, (B, C, H', W') from 0 to 1."""
        x = unit(batch.pixels)
        if self.images is not None:
            return self.read(batch, x)
        return restyled(x, torch.randperm(len(x), device=x.device), self.low)

    def read(self, batch: Images, like: Tensor) -> Tensor:
        if batch.ids is None:
            raise ConfigError("generated images are found by the number of the item, and these batches have none.\n"
                              "  Try: a data set of this plugin")
        rows = batch.ids.cpu()
        if int(rows.max()) >= len(self.held):
            raise DataError(f"{self.images} holds {len(self.held):,} generated images; item {int(rows.max()):,} has none")
        held = self.held[rows] if isinstance(self.held, Tensor) else torch.from_numpy(self.held[rows.numpy()])
        held = held[:, None] if held.ndim == 3 else held
        return unit(brightness(held, str(self.images))).to(like.device)

    @cached_property
    def held(self) -> Any:
        path = Path(self.images) if self.images else Path()
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)  # only what a batch asks for is read
        found = files(path, folder(path), size=None, channels=0, skip=0.0, memory=64.0, check=True).pixels
        assert isinstance(found, Tensor)
        return found

