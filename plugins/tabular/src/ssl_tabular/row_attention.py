"""SAINT's encoder: attention between the columns of a row, then between rows (arXiv:2106.01342, section 3.1)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_core import Representation

from .blocks import Block
from .rows import Rows, join
from .tokenizer import FeatureTokenizer, Numbers, uniform


class Saint(nn.Module):
    """A transformer whose layers look along columns and along rows.

    While training, rows look at all rows of the batch. In eval mode the representation of a row must not depend on the
    others that happen to be in its batch: there each row looks at itself and at a fixed set of training rows, those of the
    batches that were last seen in training (`reference` of them). An encoder that was never trained has none.

    Args:
        numeric, cardinalities: the columns; from the data.
        width: of a token and of the representation.
        depth: pairs of layers.
        heads: of both kinds of attention.
        dropout: of both.
        rows: attend between rows; else between columns only.
        row_width: width in which rows are compared; the paper uses all tokens of a row in one.
        reference: training rows to remember for eval mode.
        numbers: `linear` or `periodic` embeddings of numbers.
    """

    def __init__(self, numeric: int, cardinalities: tuple[int, ...], width: int = 32, depth: int = 1, heads: int = 8,
                 dropout: float = 0.1, rows: bool = True, row_width: int = 64, reference: int = 128,
                 numbers: Numbers = "linear") -> None:
        super().__init__()
        if width % heads or row_width % heads:
            raise ValueError(f"width and row_width should be multiples of heads={heads}, got {width} and {row_width}")
        self.width, self.token_width, self.columns = width, width, numeric + len(cardinalities)
        self.tokenizer = FeatureTokenizer(numeric, cardinalities, width, numbers)
        self.cls = uniform(1, width)
        long = (1 + self.columns) * width
        self.along_columns = nn.ModuleList(Block(width, heads, 4 * width, dropout, "pre") for _ in range(depth))
        self.along_rows = nn.ModuleList(Block(row_width, heads, 4 * row_width, dropout, "pre") for _ in range(depth * rows))
        self.enter = nn.ModuleList(nn.Linear(long, row_width) for _ in range(depth * rows))
        self.leave = nn.ModuleList(nn.Linear(row_width, long) for _ in range(depth * rows))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("numeric", torch.zeros(reference, numeric))
        self.register_buffer("missing", torch.zeros(reference, numeric, dtype=torch.bool))
        self.register_buffer("categorical", torch.zeros(reference, len(cardinalities), dtype=torch.long))
        self.register_buffer("known", torch.zeros((), dtype=torch.long))  # how many rows are remembered

    def forward(self, rows: Rows) -> Representation:
        if self.training:
            self.remember(rows)
            return self.read_out(self.body(self.tokens(rows)))
        known = int(self.known) if len(self.along_rows) else 0
        if not known:
            alone = torch.eye(rows.size, dtype=torch.bool, device=rows.numeric.device)
            return self.read_out(self.body(self.tokens(rows), alone))
        kept = Rows(self.numeric[:known], self.missing[:known], self.categorical[:known])
        both = self.body(self.tokens(join([kept, rows])), self.beside(known, rows.size))
        return self.read_out(both[known:])

    def tokens(self, rows: Rows) -> Tensor:
        """(B, 1 + columns, width); the first is the CLS token."""
        return torch.cat([self.cls.expand(rows.size, 1, -1), self.tokenizer(rows)], dim=1)

    def body(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens through all layers; mask (B, B): which row may look at which."""
        for i, block in enumerate(self.along_columns):
            x = block(x)
            if len(self.along_rows):
                rows = self.along_rows[i](self.enter[i](x.flatten(1))[None], mask)
                x = x + self.leave[i](rows[0]).view_as(x)
        return self.norm(x)

    def beside(self, known: int, items: int) -> Tensor:
        """(known + items, known + items) bool: all look at the known rows, and each other row at itself."""
        place = torch.arange(known + items, device=self.cls.device)
        return (place < known) | (place[:, None] == place)

    def read_out(self, x: Tensor) -> Representation:
        return Representation(x[:, 0], x[:, 1:].reshape(-1, self.width))

    @torch.no_grad()
    def remember(self, rows: Rows) -> None:
        """Keep the first rows of a training batch; a smaller batch overwrites the front only."""
        n = min(rows.size, len(self.numeric))
        self.numeric[:n], self.missing[:n], self.categorical[:n] = rows.numeric[:n], rows.missing[:n], rows.categorical[:n]
        self.known.clamp_(min=n)
