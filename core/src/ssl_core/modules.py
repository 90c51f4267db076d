"""Building blocks that methods of every domain share: heads, the teacher, predictors of hidden tokens."""
from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from math import cos, pi
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .contracts import Layout, Progress, Representation

Norm = Literal["batch", "layer", "none"]


def mlp(*widths: int, norm: Norm = "batch", activation: type[nn.Module] = nn.ReLU, last_norm: bool = False) -> nn.Module:
    """Linear layers of these widths, normalised and activated in between: (N, widths[0]) -> (N, widths[-1]).

    A single width gives the identity. `last_norm` also normalises the output, without scale and shift.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(inputs, outputs, bias=last or norm != "batch"))
        if not last:
            layers += [*_norm(norm, outputs, True), activation()]
        elif last_norm:
            layers += _norm(norm, outputs, False)
    return nn.Sequential(*layers) if layers else nn.Identity()


def _norm(norm: Norm, width: int, affine: bool) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm1d(width, affine=affine)]
    return [nn.LayerNorm(width, elementwise_affine=affine)] if norm == "layer" else []


class Teacher(nn.Module):
    """A slow copy of a student, out of the optimizer's reach (mean teacher, arXiv:1703.01780; BYOL, arXiv:2006.07733).

    Args:
        student: what to copy; called like it.
        momentum: share of itself that the teacher keeps each step, at the start; rises to 1 along half a cosine.
    """

    def __init__(self, student: nn.Module, momentum: float = 0.996) -> None:
        super().__init__()
        self.copy = deepcopy(student).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.copy(*args, **kwargs)

    @torch.no_grad()
    def follow(self, student: nn.Module, progress: Progress) -> None:
        """Move towards the student; buffers (batch-norm statistics) are taken over as they are."""
        pull = (1 - self.momentum) * (1 + cos(pi * progress.fraction)) / 2
        slow, fast = [*map(torch.Tensor.detach, self.copy.parameters())], [*map(torch.Tensor.detach, student.parameters())]
        if slow and pull:
            torch._foreach_lerp_(slow, fast, pull)
        for mine, theirs in zip(self.copy.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)


def scatter_mean(rows: Tensor, owner: Tensor, items: int) -> Tensor:
    """Mean of the rows of each owner: (T, D), (T,) -> (items, D). An owner without rows gets zeros."""
    total = rows.new_zeros(items, rows.shape[1]).index_add_(0, owner, rows)
    count = torch.bincount(owner, minlength=items).clamp_(min=1)
    return total / count[:, None].to(rows.dtype)


def pad(rows: Tensor, owner: Tensor, items: int) -> tuple[Tensor, Tensor]:
    """Ragged rows (T, D), item after item -> (items, L, D) with zeros behind, and (items, L) True where a row stands."""
    count = torch.bincount(owner, minlength=items)
    length = int(count.max()) if len(owner) else 0
    if len(rows) == items * length:  # every item has as many: a view does
        return rows.view(items, length, -1), torch.ones(items, length, dtype=torch.bool, device=rows.device)
    place = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count)[owner]
    valid = torch.arange(length, device=rows.device) < count[:, None]
    padded = rows.new_zeros(items, length, rows.shape[1])
    padded[owner, place] = rows
    return padded, valid


def coded(position: Tensor, waves: int) -> Tensor:
    """Positions (T, K) in [0, 1] as sines and cosines of `waves` octaves each, (T, 2 K waves); 0: as they are."""
    if not waves:
        return position
    angle = position[:, :, None] * (pi * 2 ** torch.arange(waves, device=position.device))
    return torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1)


class MLPPredictor(nn.Module):
    """Guess hidden tokens from the mean of the visible tokens of their item and their own position."""

    def __init__(self, width: int, axes: int, outputs: int, hidden: int = 0, waves: int = 0) -> None:
        super().__init__()
        self.place, self.waves = nn.Linear(2 * axes * waves or axes, width), waves
        self.net = mlp(2 * width, hidden or 2 * width, outputs, norm="layer", activation=nn.GELU)

    def forward(self, context: Representation, layout: Layout, hidden: Tensor) -> Tensor:
        """(H, outputs), one row per hidden token."""
        assert context.tokens is not None
        mean = scatter_mean(context.tokens, layout.owner[~hidden], len(context.pooled))
        query = self.place(coded(layout.position[hidden], self.waves))
        return self.net(torch.cat([query, mean[layout.owner[hidden]]], dim=1))


class AttentionPredictor(nn.Module):
    """Guess hidden tokens with a small transformer over visible tokens and positioned queries (I-JEPA, arXiv:2301.08243)."""

    def __init__(self, width: int, axes: int, outputs: int, hidden: int = 0, waves: int = 0, depth: int = 2, heads: int = 4
                 ) -> None:
        super().__init__()
        inner = hidden or width
        self.enter, self.place, self.waves = nn.Linear(width, inner), nn.Linear(2 * axes * waves or axes, inner), waves
        self.query = nn.Parameter(torch.randn(inner) * 0.02)
        block = nn.TransformerEncoderLayer(inner, heads, 4 * inner, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.leave = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, outputs))

    def forward(self, context: Representation, layout: Layout, hidden: Tensor) -> Tensor:
        """(H, outputs), one row per hidden token."""
        assert context.tokens is not None
        place = coded(layout.position, self.waves)
        visible = self.enter(context.tokens) + self.place(place[~hidden])
        rows = visible.new_empty(len(layout.owner), visible.shape[1])
        rows[~hidden] = visible
        rows[hidden] = (self.query + self.place(place[hidden])).to(rows.dtype)
        sequence, valid = pad(rows, layout.owner, len(context.pooled))
        out = self.body(sequence, src_key_padding_mask=None if valid.all() else ~valid)
        return self.leave(out[valid][hidden])


PREDICTORS = {"mlp": MLPPredictor, "attention": AttentionPredictor}


def mean(terms: Iterable[Tensor]) -> Tensor:
    """The mean of some losses, each ()."""
    return torch.stack(list(terms)).mean()
