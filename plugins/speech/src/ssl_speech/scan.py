"""h[t] = a[t] h[t - 1] + b[t] for all t at once: the recurrence of state space models, as a parallel scan.

The sequence is cut into chunks that are worked through side by side; the ends of the chunks are a shorter sequence of the same
kind. The gradient is the same recurrence backwards, so no intermediate level is kept.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 16


def scan(a: Tensor, b: Tensor) -> Tensor:
    """All states from h = 0 on: (B, L, ...), (B, L, ...) -> (B, L, ...)."""
    found: Tensor = Scan.apply(a, b)  # type: ignore[no-untyped-call]
    return found


def sequential(a: Tensor, b: Tensor) -> Tensor:
    """The same, one step after the other."""
    states, state = [], torch.zeros_like(b[:, 0])
    for t in range(b.shape[1]):
        state = a[:, t] * state + b[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


def chunked(a: Tensor, b: Tensor) -> Tensor:
    """`scan` without a gradient; a and b are left as they are."""
    items, length, *rest = b.shape
    parts = -(-length // CHUNK)
    size = min(length, CHUNK)
    more = [0, 0] * len(rest) + [0, parts * size - length]
    a = torch.nn.functional.pad(a, more, value=1.0).view(items, parts, size, *rest).clone()
    b = torch.nn.functional.pad(b, more).view(items, parts, size, *rest).clone()
    for t in range(1, size):
        b[:, :, t].addcmul_(a[:, :, t], b[:, :, t - 1])
        a[:, :, t].mul_(a[:, :, t - 1])  # the product since the start of the chunk
    if parts > 1:
        ends = chunked(a[:, :, -1], b[:, :, -1])
        b[:, 1:].addcmul_(a[:, 1:], ends[:, :-1, None])
    return b.view(items, parts * size, *rest)[:, :length]


class Scan(torch.autograd.Function):
    """`scan` and its gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        states = chunked(a, b)
        ctx.save_for_backward(a, states)
        return states

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, states = ctx.saved_tensors
        after = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], dim=1)
        total = chunked(after.flip(1), slope.flip(1)).flip(1)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        return total * before, total
