"""Encoders: batch -> one row of features per item. In eval mode a row must not depend on the other items."""
from torch import Tensor, nn

from ssl_core import Representation


class Net(nn.Module):
    """A perceptron.

    Args:
        columns: of the table; said by the data.
        width: of the representation.
        depth: hidden layers.
    """

    def __init__(self, columns: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.width = width
        layers: list[nn.Module] = [nn.Linear(columns, width)]
        for _ in range(depth):
            layers += [nn.ReLU(), nn.Linear(width, width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, batch: Tensor) -> Representation:
        return Representation(self.layers(batch))  # (B, columns) -> (B, D)
