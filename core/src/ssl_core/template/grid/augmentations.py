"""Augmentations: batch -> views. Drawn for the whole batch at once, on its device, from torch's generator."""
import torch
from torch import Tensor


class Views:
    """Each grid shifted around its edges, louder or softer, with noise.

    Args:
        views: how many.
        shift: largest shift, as a share of the size.
        gain: largest change of the scale, as a share.
        noise: standard deviation.
    """

    def __init__(self, views: int = 2, shift: float = 0.25, gain: float = 0.2, noise: float = 0.1) -> None:
        if not 0 <= shift <= 1:
            raise ValueError(f"shift is a share in [0, 1], got {shift}")
        self.views, self.shift, self.gain, self.noise = views, shift, gain, noise

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.view(batch) for _ in range(self.views))

    def view(self, batch: Tensor) -> Tensor:
        items, _, height, width = batch.shape
        drawn = torch.rand(4, items, device=batch.device)
        y = (torch.arange(height, device=batch.device) + (drawn[0] * self.shift * height).long()[:, None]) % height  # (B, H)
        x = (torch.arange(width, device=batch.device) + (drawn[1] * self.shift * width).long()[:, None]) % width  # (B, W)
        which = torch.arange(items, device=batch.device)[:, None, None]
        moved = batch.permute(0, 2, 3, 1)[which, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
        scale = 1 + self.gain * (2 * drawn[2] - 1)[:, None, None, None]
        return scale * moved + self.noise * torch.randn_like(batch)
