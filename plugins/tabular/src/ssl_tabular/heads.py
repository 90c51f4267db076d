"""Networks that people put on frozen features of rows: (N, inputs) -> (N, outputs). They are trained by the probes.

Those that work on fields, DCNv2, AutoInt and FT-Transformer, first map the features to `FIELDS` numbers in one linear layer:
the adapter "linear_flatten" of T-JEPA (arXiv:2410.05016, section 4), since a representation has many more numbers than a
table has columns.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .blocks import Block
from .encoders import ResidualBlock
from .tokenizer import Linear, uniform

FIELDS = 24
Head = Callable[[int, int], nn.Module]


def perceptron(inputs: int, outputs: int, hidden: int = 256, dropout: float = 0.2) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
                         nn.Dropout(dropout), nn.Linear(hidden, outputs))


def resnet(inputs: int, outputs: int, width: int = 192, hidden: int = 384, depth: int = 2, dropout: float = 0.2) -> nn.Module:
    """A residual perceptron (arXiv:2106.11959, section 3.2)."""
    return nn.Sequential(nn.Linear(inputs, width), *(ResidualBlock(width, hidden, dropout) for _ in range(depth)),
                         nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs))


class DCNv2(nn.Module):
    """Cross layers x_{l+1} = x_0 * (W x_l + b) + x_l beside a perceptron, both read by the last layer (arXiv:2008.13535, the
    parallel structure of section 3).

    Args:
        inputs, outputs: widths.
        width: of a field's embedding.
        cross: number of cross layers.
        hidden, dropout: of the perceptron, which has two layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 8, cross: int = 3, hidden: int = 256, dropout: float = 0.2
                 ) -> None:
        super().__init__()
        self.fields = Fields(inputs, width)
        wide = FIELDS * width
        self.cross = nn.ModuleList(nn.Linear(wide, wide) for _ in range(cross))
        self.deep = nn.Sequential(nn.Linear(wide, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
                                  nn.Dropout(dropout))
        self.leave = nn.Linear(wide + hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.fields(x).flatten(1)
        for layer in self.cross:
            x = first * layer(x) + x
        return self.leave(torch.cat([x, self.deep(first)], dim=1))


class AutoInt(nn.Module):
    """Attention between fields, each layer ReLU(attention + W x), then one linear layer (arXiv:1810.11921, section 4.4).

    Args:
        inputs, outputs: widths.
        width: of a field.
        heads, depth: of the attention.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32, heads: int = 2, depth: int = 3) -> None:
        super().__init__()
        self.fields = Fields(inputs, width)
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(depth))
        self.straight = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.leave = nn.Linear(FIELDS * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fields(x)  # (N, FIELDS, width)
        for attend, straight in zip(self.attend, self.straight, strict=True):
            x = torch.relu(attend(x, x, x, need_weights=False)[0] + straight(x))
        return self.leave(x.flatten(1))


class FTTransformer(nn.Module):
    """A transformer over fields with a CLS token, which is read out (arXiv:2106.11959, section 3.3).

    Args:
        inputs, outputs: widths.
        width, heads, depth, dropout: of the transformer, which normalises before each branch.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 64, heads: int = 4, depth: int = 2, dropout: float = 0.1
                 ) -> None:
        super().__init__()
        self.fields, self.cls = Fields(inputs, width), uniform(1, width)
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout, "pre") for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(len(x), -1, -1), self.fields(x)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.leave(x[:, 0])


class Fields(nn.Module):
    """Features -> `FIELDS` numbers -> an embedding of each, (N, inputs) -> (N, FIELDS, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.enter, self.embed, self.bias = nn.Linear(inputs, FIELDS), Linear(FIELDS, width), uniform(FIELDS, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(self.enter(x)) + self.bias
