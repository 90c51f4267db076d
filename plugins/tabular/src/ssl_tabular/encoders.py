"""Encoders of table rows. Items are rows; tokens, where there are any, are columns: numbers first, then categories."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ssl_core import Layout, Representation
from ssl_core.modules import pad, scatter_mean

from .blocks import Body, Norm, truncated
from .rows import Rows, features
from .tokenizer import Codes, FeatureTokenizer, FirstLayer, Numbers, uniform, waves

Readout = Literal["mean", "reg", "flatten"]


class Transformer(nn.Module):
    """A transformer over columns (FT-Transformer, arXiv:2106.11959; with the defaults, T-JEPA's, arXiv:2410.05016).

    Regularisation tokens stand in front of the columns; they are shown always and belong to no column, so that layout and
    `tokens` are of columns only.

    Args:
        numeric, cardinalities: the columns; from the data.
        width: of a token.
        depth, heads, hidden, dropout: of the transformer; hidden: of its feed-forward layers.
        norm: `post` or `pre`.
        reg: number of regularisation tokens.
        numbers: `linear` or `periodic` embeddings of numbers.
        sigma: deviation of the frequencies of periodic embeddings at the start.
        codes: an `own` embedding of each category, or one hashed table of `table` rows for all columns, for categories by the
            million (`unified`, see `tokenizer.Unified`).
        table: its rows.
        positions: add fixed sines and cosines of the place of a column (base 100, as T-JEPA has it).
        kinds: add an embedding of whether a column is a number or a category.
        readout: the representation of a row: `mean` of its columns, its first `reg` token, or all tokens in one long row
            (`flatten`, the paper's; then `width` is that of the row, `token_width` that of a token, hidden columns are
            zeros, and methods of the core that need tokens cannot use it).
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], width: int = 64, depth: int = 4, heads: int = 4,
                 hidden: int = 128, dropout: float = 0.0, norm: Norm = "post", reg: int = 1, numbers: Numbers = "linear",
                 sigma: float = 0.1, codes: Codes = "own", table: int = 4096, positions: bool = True, kinds: bool = False,
                 readout: Readout = "mean") -> None:
        super().__init__()
        if readout == "reg" and not reg:
            raise ValueError("readout=reg needs a regularisation token: reg=1 or more")
        self.columns, self.reg, self.readout, self.token_width = numeric + len(cardinalities), reg, readout, width
        self.width = width * (reg + self.columns) if readout == "flatten" else width
        self.tokenizer = FeatureTokenizer(numeric, cardinalities, width, numbers, sigma, codes, table)
        self.register_tokens = uniform(reg, width) if reg else None
        self.kinds = nn.Parameter(torch.randn(2, width) * 0.02) if kinds else None
        self.register_buffer("kind", torch.tensor([0] * numeric + [1] * len(cardinalities)), persistent=False)
        place = waves(reg + self.columns, width, 100.0) * float(positions)
        self.register_buffer("place", place, persistent=False)
        self.body = Body(width, heads, hidden, depth, dropout, norm)
        truncated(self.body)

    def tokens(self, rows: Rows) -> Tensor:
        """What enters the transformer: (B, reg + columns, token width)."""
        x = self.tokenizer(rows)
        if self.kinds is not None:
            x = x + self.kinds[self.kind]
        if self.register_tokens is not None:
            x = torch.cat([self.register_tokens.expand(len(x), -1, -1), x], dim=1)
        return x + self.place

    def forward(self, rows: Rows, keep: Tensor | None = None) -> Representation:
        x = self.tokens(rows)
        items = len(x)
        if keep is None:
            x = self.body(x)
            columns = x[:, self.reg:]
            if self.readout == "flatten":
                return Representation(x.flatten(1))
            pooled = x[:, 0] if self.readout == "reg" else columns.mean(dim=1)
            return Representation(pooled, columns.reshape(-1, self.width))
        shown = torch.cat([keep.new_ones(items, self.reg), keep.view(items, self.columns)], dim=1)
        owner = torch.arange(items, device=x.device).repeat_interleave(self.reg + self.columns)[shown.flatten()]
        packed, valid = pad(x[shown], owner, items)  # hidden columns never enter
        out = self.body(packed, None if valid.all() else valid[:, None, None, :])[valid]
        if self.readout == "flatten":
            return Representation(torch.zeros_like(x).masked_scatter(shown[..., None], out).flatten(1))
        column = (torch.arange(self.reg + self.columns, device=x.device) >= self.reg).expand(items, -1)[shown]
        if self.readout == "reg":
            first = torch.arange(self.reg + self.columns, device=x.device).expand(items, -1)[shown] == 0
            return Representation(out[first], out[column])
        return Representation(scatter_mean(out[column], owner[column], items), out[column])

    @property
    def axes(self) -> int:
        """Columns stand in a line."""
        if self.readout == "flatten":
            raise ValueError("methods of tokens cannot use rows of all tokens: encoder.readout=mean or reg")
        return 1

    def layout(self, rows: Rows) -> Layout:
        """Tokens are columns, placed by their number."""
        centres = (torch.arange(self.columns, device=rows.numeric.device) + 0.5) / self.columns
        owner = torch.arange(rows.size, device=centres.device).repeat_interleave(self.columns)
        return Layout(owner, centres.repeat(rows.size)[:, None])


class MLP(nn.Module):
    """A perceptron over all columns at once, activated after every layer (SCARF, arXiv:2106.15147, section 4).

    Args:
        numeric, cardinalities: the columns; from the data.
        width: of every layer.
        depth: number of layers.
        dropout: after every layer.
        norm: put batch normalisation before every activation.
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], width: int = 256, depth: int = 4, dropout: float = 0.0,
                 norm: bool = False) -> None:
        super().__init__()
        self.width, layers = width, []
        for i in range(depth):
            layers += [nn.Linear(width, width)] if i else [FirstLayer(numeric, cardinalities, width)]
            layers += [*([nn.BatchNorm1d(width)] if norm else []), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)

    def forward(self, rows: Rows) -> Representation:
        return Representation(self.body(rows))


class ResidualBlock(nn.Module):
    """x + Dropout(Linear(Dropout(ReLU(Linear(BatchNorm(x)))))) (arXiv:2106.11959, section 3.2)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout),
                                 nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class ResNet(nn.Module):
    """A residual perceptron (arXiv:2106.11959, section 3.2).

    Args:
        numeric, cardinalities: the columns; from the data.
        width: of the representation.
        hidden: inside a block.
        depth: number of blocks.
        dropout: inside and after a block.
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], width: int = 256, hidden: int = 512, depth: int = 3,
                 dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.body = nn.Sequential(FirstLayer(numeric, cardinalities, width),
                                  *(ResidualBlock(width, hidden, dropout) for _ in range(depth)),
                                  nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, rows: Rows) -> Representation:
        return Representation(self.body(rows))


class Windows(nn.Module):
    """One perceptron for several overlapping windows of the features (SubTab, arXiv:2110.04361, section 2).

    Features, the numbers and the one-hot categories, are cut into windows of equal width, which wrap around nothing: the
    last ends with the last feature. Tokens are windows; a row is their mean.

    Args:
        numeric, cardinalities: the columns; from the data.
        width: of the representation.
        hidden: of the inner layer.
        windows: how many.
        overlap: share of its width that a window takes from its neighbours.
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], width: int = 256, hidden: int = 256, windows: int = 4,
                 overlap: float = 0.75) -> None:
        super().__init__()
        total = numeric + sum(cardinalities)
        if not 1 < windows <= total or not 0 <= overlap < 1:
            raise ValueError(f"windows should be 2 to {total} (the features) and overlap in [0, 1), got {windows}, {overlap}")
        self.width, self.windows, self.cardinalities = width, windows, tuple(cardinalities)
        wide = min(total, round(total / windows * (1 + overlap)))
        starts = torch.linspace(0, total - wide, windows).round().long()
        self.register_buffer("index", starts[:, None] + torch.arange(wide), persistent=False)
        self.body = nn.Sequential(nn.Linear(wide, hidden), nn.LeakyReLU(), nn.Linear(hidden, width))

    def forward(self, rows: Rows) -> Representation:
        x = features(rows, self.cardinalities)[:, self.index]  # (B, windows, wide)
        tokens = self.body(x)
        return Representation(tokens.mean(dim=1), tokens.flatten(0, 1))


def heads_for(numeric: int, cardinalities: Sequence[int], width: int, hidden: int) -> nn.Module:
    """A perceptron from representations to plain features, (B, width) -> (B, N + sum of cardinalities)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, numeric + sum(cardinalities)))
