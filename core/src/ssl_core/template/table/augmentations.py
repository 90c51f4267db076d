"""Augmentations: batch -> views. Drawn for the whole batch at once, on its device, from torch's generator."""
import torch
from torch import Tensor


class Views:
    """Noise on every number, and some numbers exchanged for those of another row.

    Args:
        views: how many.
        noise: standard deviation, in units of the column.
        exchanged: share of the numbers.
    """

    def __init__(self, views: int = 2, noise: float = 0.1, exchanged: float = 0.2) -> None:
        if not 0 <= exchanged < 1:
            raise ValueError(f"exchanged is a share in [0, 1), got {exchanged}")
        self.views, self.noise, self.exchanged = views, noise, exchanged

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.view(batch) for _ in range(self.views))

    def view(self, batch: Tensor) -> Tensor:
        columns = torch.arange(batch.shape[1], device=batch.device)
        other = batch[torch.randint(len(batch), batch.shape, device=batch.device), columns]
        mixed = torch.where(torch.rand_like(batch) < self.exchanged, other, batch)
        return mixed + self.noise * torch.randn_like(batch)
