"""Encoders: batch -> one row of features per item. In eval mode a row must not depend on the other items."""
import torch
from torch import nn

from ssl_core import Representation

from .data import Series


class Net(nn.Module):
    """Convolutions over time and a mean over the steps that exist.

    Args:
        channels: of the series; said by the data.
        width: of the representation.
        depth: layers.
        kernel: steps that a layer sees, odd.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 3, kernel: int = 5) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel should be odd, got {kernel}")
        self.width = width
        sizes = [channels] + [width] * depth
        self.layers = nn.ModuleList(nn.Conv1d(sizes[i], sizes[i + 1], kernel, padding=kernel // 2) for i in range(depth))

    def forward(self, batch: Series) -> Representation:
        steps = torch.arange(batch.values.shape[1], device=batch.values.device)
        there = (steps < batch.lengths[:, None])[:, None]  # (B, 1, T)
        x = batch.values.transpose(1, 2)  # (B, channels, T)
        for layer in self.layers:
            x = torch.relu(layer(x)) * there  # so that the next layer sees zeros behind the end, whatever the padding
        return Representation(x.sum(dim=2) / batch.lengths[:, None])  # (B, D)
