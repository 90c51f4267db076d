"""Encoders: batch -> one row of features per item; here, per node."""
import torch
from torch import Tensor, nn

from ssl_core import Representation

from .data import Graph


class Net(nn.Module):
    """Layers that mix each node with the mean of its neighbours.

    Args:
        in_features: of a node; said by the data.
        width: of the representation.
        depth: layers.
    """

    def __init__(self, in_features: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.width = width
        sizes = [in_features] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(2 * sizes[i], sizes[i + 1]) for i in range(depth))

    def forward(self, batch: Graph) -> Representation:
        x = batch.x  # (N, F)
        for i, layer in enumerate(self.layers):
            x = layer(torch.cat([x, neighbours(x, batch.edges)], dim=1))
            x = torch.relu(x) if i + 1 < len(self.layers) else x
        return Representation(x)


def neighbours(x: Tensor, edges: Tensor) -> Tensor:
    """The mean of the rows that an edge leads from, (N, F); zeros for a node without edges."""
    start, end = edges
    count = torch.zeros(len(x), device=x.device).index_add(0, end, torch.ones(len(end), device=x.device))
    return torch.zeros_like(x).index_add(0, end, x[start]) / count.clamp(min=1)[:, None]
