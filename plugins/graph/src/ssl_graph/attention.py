"""Attention over neighbours in compressed rows: N x D floats and one weight per edge and head, where gathering the rows of
all neighbours would take E x D."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .compressed import transposed, valued
from .features import Features, projected


class GATLayer(nn.Module):
    """x_i -> sum over j near i, and i itself, of a_ij x_j W + b (arXiv:1710.10903, equations 1 to 5; heads side by side).

    Args:
        inputs, outputs: widths; `outputs` is shared by the heads.
        heads: attention heads.
        dropout: share of attention weights dropped while training.
    """

    def __init__(self, inputs: int, outputs: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.width, self.dropout = heads, outputs // heads, nn.Dropout(dropout)
        self.linear, self.bias = nn.Linear(inputs, outputs, bias=False), nn.Parameter(torch.zeros(outputs))
        self.source, self.target = (nn.Parameter(torch.empty(heads, self.width)) for _ in range(2))
        for weight in (self.linear.weight, self.source[None], self.target[None]):
            nn.init.xavier_normal_(weight, gain=2**0.5)  # as GraphMAE's; smaller, its loss falls more slowly

    def forward(self, x: Features, neighbours: Tensor, degree: Tensor, only: Tensor | None = None) -> Tensor:
        """Features (N, inputs), adjacency (N, N), degree (N,) -> (N, outputs); `only`: the rows of some nodes."""
        if self.heads == 1 and isinstance(x, Tensor) and self.width > x.shape[1]:  # mixed before they are widened
            asked, given = (x @ (vector @ self.linear.weight).T for vector in (self.target, self.source))
            rows = self.mixed(neighbours, *self.weights(neighbours, asked, given), x[:, None])
            return self.linear(rows if only is None else rows[only]) + self.bias  # type: ignore[no-any-return]
        rows = projected(x, self.linear).unflatten(1, (self.heads, self.width))
        asked, given = (rows * self.target).sum(dim=2), (rows * self.source).sum(dim=2)
        rows = self.mixed(neighbours, *self.weights(neighbours, asked, given), rows) + self.bias
        return rows if only is None else rows[only]

    def weights(self, neighbours: Tensor, asked: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Attention to each neighbour (E, H) and to itself (N, H), from scores (N, H); they sum to 1 before dropout."""
        asked, given = asked.to(self.bias.dtype), given.to(self.bias.dtype)
        starts, source = neighbours.crow_indices(), neighbours.col_indices()
        target = torch.arange(len(asked), device=asked.device).repeat_interleave(starts.diff(), output_size=len(source))
        itself = F.leaky_relu(asked + given, 0.2)
        edge = F.leaky_relu(asked.index_select(0, target) + given.index_select(0, source), 0.2)
        with torch.no_grad():  # the largest score of each node, so that no exponential overflows
            top = itself.scatter_reduce(0, target[:, None].expand_as(edge), edge, "amax")
        edge, itself = (edge - top.index_select(0, target)).exp(), (itself - top).exp()
        whole = itself.index_add(0, target, edge)
        return self.dropout(edge / whole.index_select(0, target)), self.dropout(itself / whole)

    def mixed(self, neighbours: Tensor, edge: Tensor, itself: Tensor, rows: Tensor) -> Tensor:
        """Rows (N, H, D) of each node and its neighbours by their weights, heads side by side: (N, H D)."""
        with torch.autocast(rows.device.type, enabled=False):  # sparse products know no 16 bits
            rows = rows.to(edge.dtype)
            parts = [_Mixed.apply(neighbours, edge[:, h].contiguous(), rows[:, h].contiguous()) for h in range(self.heads)]
            return (torch.stack(parts, dim=1) + itself[:, :, None] * rows).flatten(1)


class _Mixed(torch.autograd.Function):
    """Sum of the neighbours' rows, weighted by edge: (N, N) in compressed rows, (E,), (N, D) -> (N, D).

    torch's own gradient of the weights looks for entries in a dense (N, N).
    """

    @staticmethod
    def forward(ctx: Any, neighbours: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.neighbours = neighbours
        ctx.save_for_backward(weight, rows)
        return torch.sparse.mm(valued(neighbours, weight), rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        neighbours, (weight, rows) = ctx.neighbours, ctx.saved_tensors
        empty = valued(neighbours, torch.zeros_like(weight))
        of_weight = torch.sparse.sampled_addmm(empty, grad.contiguous(), rows.T).values()
        return None, of_weight, torch.sparse.mm(transposed(neighbours, weight), grad)
