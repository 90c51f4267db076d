"""Encoders: batch -> one row of features per item. In eval mode a row must not depend on the other items."""
from torch import Tensor, nn

from ssl_core import Representation


class Net(nn.Module):
    """Convolutions and a mean over places.

    Args:
        channels: of the grids; said by the data.
        width: of the representation.
        depth: layers; every second one halves the resolution.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.width = width
        sizes = [channels] + [width] * depth
        layers: list[nn.Module] = []
        for i in range(depth):
            a, b = sizes[i], sizes[i + 1]
            layers += [nn.Conv2d(a, b, 3, stride=1 + i % 2, padding=1), nn.GroupNorm(1, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, batch: Tensor) -> Representation:
        return Representation(self.layers(batch).mean(dim=(2, 3)))  # (B, channels, H, W) -> (B, D)
