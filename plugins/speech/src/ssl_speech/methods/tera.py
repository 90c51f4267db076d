"""TERA: undo alterations of time, frequency and magnitude (Liu, Li and Lee, 2021, arXiv:2007.06028)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method

from ..encoders import Frames
from .frames import need_frames, read


class TERA(Method):
    """Reconstruct log-mel frames where they were altered (section III). The mask chooses the frames altered in time.

    Every recording throws its own dice; only altered cells count.

    Args:
        kept, swapped: share of recordings whose chosen frames stay as they are, or come from elsewhere in the recording;
            the others are zeroed (the mean of the recording).
        band: largest share of the bins that is zeroed over a whole recording.
        noise: deviation of the noise that is added to some recordings.
        noisy: share of these recordings.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, kept: float = 0.1, swapped: float = 0.1,
                 band: float = 0.2, noise: float = 0.2, noisy: float = 0.15) -> None:
        super().__init__(encoder, augmentation, objective)
        need_frames(encoder)
        if min(kept, swapped, band, noisy) < 0 or kept + swapped > 1 or max(band, noisy) > 1:
            raise ValueError(f"shares should lie in [0, 1], got {kept=}, {swapped=}, {band=}, {noisy=}")
        self.kept_share, self.swapped, self.band, self.noise, self.noisy = kept, swapped, band, noise, noisy
        width = encoder.width
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, encoder.channels))

    def step(self, batch: Any) -> dict[str, Tensor]:
        frames, chosen = read(self.encoder, self.augmentation, batch)
        target = frames.x.detach()
        altered, cells = self.alter(Frames(target, frames.valid), chosen)
        guess = self.head(self.encoder.body(altered, frames.valid)[0][-1])
        return {"loss": self.compare(guess[cells][:, None], target[cells][:, None])}

    def alter(self, frames: Frames, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Altered frames and the cells to reconstruct, both (B, L, C); chosen (B, L): frames altered in time."""
        x, valid = frames
        items, length, bins = x.shape
        die = torch.rand(items, 1, 1, device=x.device)
        place = (torch.rand(items, length, device=x.device) * valid.sum(dim=1, keepdim=True)).long()
        elsewhere = x.gather(1, place[..., None].expand_as(x))
        filled = torch.where(die < self.kept_share, x, torch.where(die < self.kept_share + self.swapped, elsewhere, 0.0))
        cells = chosen[..., None].expand_as(x)
        altered = torch.where(cells, filled, x)
        width = (torch.rand(items, 1, device=x.device) * (int(self.band * bins) + 1)).long()
        start = (torch.rand(items, 1, device=x.device) * (bins - width + 1)).long()
        bin_ = torch.arange(bins, device=x.device)
        band = ((bin_ >= start) & (bin_ < start + width))[:, None] & valid[..., None]  # (B, L, C)
        altered = altered.masked_fill(band, 0.0)
        loud = (torch.rand(items, 1, 1, device=x.device) < self.noisy) * self.noise
        return altered + loud * torch.randn_like(x), cells | band
