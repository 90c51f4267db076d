"""Augmentations: batch -> views. Drawn for the whole batch at once, on its device, from torch's generator."""
import torch

from .data import Series


class Views:
    """Each series louder or softer, with noise, and with a span of steps silenced.

    Args:
        views: how many.
        noise: standard deviation.
        gain: largest change of the scale, as a share.
        silenced: share of the steps.
    """

    def __init__(self, views: int = 2, noise: float = 0.1, gain: float = 0.2, silenced: float = 0.2) -> None:
        if not 0 <= silenced < 1:
            raise ValueError(f"silenced is a share in [0, 1), got {silenced}")
        self.views, self.noise, self.gain, self.silenced = views, noise, gain, silenced

    def __call__(self, batch: Series) -> tuple[Series, ...]:
        return tuple(self.view(batch) for _ in range(self.views))

    def view(self, batch: Series) -> Series:
        values, lengths = batch.values, batch.lengths[:, None]
        steps = torch.arange(values.shape[1], device=values.device)
        start = torch.rand(len(values), 1, device=values.device) * lengths * (1 - self.silenced)  # (B, 1)
        heard = (steps < start) | (steps >= start + self.silenced * lengths)  # (B, T)
        scale = 1 + self.gain * (2 * torch.rand(len(values), 1, 1, device=values.device) - 1)
        drawn = scale * values + self.noise * torch.randn_like(values)
        return batch._replace(values=drawn * (heard & (steps < lengths))[..., None])
