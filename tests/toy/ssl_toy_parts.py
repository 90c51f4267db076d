"""The components of the toy plugin."""
import torch
from torch import nn
from torch.utils.data import DataLoader

from ssl_core import Data, Layout, Representation


class Net(nn.Module):
    def __init__(self, columns: int, width: int = 16, dropout: float = 0.1):
        super().__init__()
        self.width = width
        self.body = nn.Sequential(nn.Linear(columns, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout),
                                  nn.Linear(width, width))

    def forward(self, table):  # (B, columns)
        return Representation(self.body(table))


class Cells(nn.Module):
    axes, input_width = 1, 1

    def __init__(self, columns: int, width: int = 16):
        super().__init__()
        self.columns, self.width = columns, width
        self.value, self.place = nn.Linear(1, width), nn.Parameter(torch.randn(columns, width) * 0.1)
        block = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)

    def layout(self, table):
        items = len(table)
        centres = (torch.arange(self.columns, device=table.device) + 0.5) / self.columns
        return Layout(torch.arange(items, device=table.device).repeat_interleave(self.columns), centres.repeat(items)[:, None])

    def inputs(self, table):
        return table.reshape(-1, 1)

    def forward(self, table, keep=None):
        items = len(table)
        hidden = None if keep is None else ~keep.view(items, -1)
        tokens = self.body(self.value(table[..., None]) + self.place, src_key_padding_mask=hidden)  # (B, columns, D)
        shown = torch.ones(items, self.columns, device=table.device) if hidden is None else (~hidden).to(tokens.dtype)
        pooled = (tokens * shown[..., None]).sum(1) / shown.sum(1, keepdim=True)
        rows = tokens.flatten(0, 1)
        return Representation(pooled, rows if keep is None else rows[keep])


class Noise:
    def __init__(self, size: float = 0.3, views: int = 2):
        self.size, self.views = size, views

    def __call__(self, table):
        return tuple(table + self.size * torch.randn_like(table) for _ in range(self.views))


def blobs(rows: int = 240, batch_size: int = 32, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 4
    return array(torch.randn(rows, 8, generator=g) + 3 * nn.functional.one_hot(y, 8), labels=y, batch_size=batch_size)


def array(source, labels: torch.Tensor | None = None, batch_size: int = 32):
    x = torch.load(source, weights_only=True) if isinstance(source, str) else source
    order = torch.arange(len(x))
    folds = {"train": order[::3], "validation": order[1::3], "test": order[2::3]}
    return Data(train=DataLoader(x, batch_size, shuffle=True), size=len(x), items=DataLoader(x, batch_size), labels=labels,
                folds={} if labels is None else folds,
                raw=lambda batch: batch, facts={"columns": x.shape[1]}, fingerprint=str(round(x.double().sum().item(), 6)))
