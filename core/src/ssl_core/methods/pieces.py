"""Embed a batch in pieces and compare it as a whole: large-batch contrast in the memory of a small one (arXiv:2101.06983).

Rows are made piece by piece, without what their gradient would need. The loss sees them all. When its gradient arrives, each
piece is embedded once more, with the same random numbers, and the gradient goes on through that piece alone. Unlike with
accumulated gradients, every row is compared with every other; it costs one more forward pass of the encoder.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..batches import cut, size
from ..errors import ConfigError


def pooled(encoder: nn.Module, batch: Any, count: int = 0) -> Tensor:
    """The pooled rows of a batch, (B, D), embedded in pieces as equal as can be.

    Loss and gradients are those of the whole batch, dropout included, but for what the encoder computes over the items of
    a batch: batch norms take the statistics of a piece, and move their running ones once per piece.

    Args:
        count: items of a piece, at most; 0: all at once.

    Raises:
        ConfigError: the batch cannot be cut.
    """
    if not count:
        return encoder(batch).pooled
    items = size(batch)
    pieces = -(-items // count)
    ends = [i * items // pieces for i in range(pieces + 1)] if items else []
    parts = [cut(batch, items, end - start, start) for start, end in zip(ends, ends[1:], strict=False)]
    if not parts or any(part is None for part in parts):
        raise ConfigError(f"a batch of type {type(batch).__name__} cannot be embedded in pieces: its items hang together.\n"
                          f"  Try: method.chunk=0")
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([encoder(part).pooled for part in parts])
    return torch.cat([checkpoint(_rows, encoder, part, use_reentrant=False, context_fn=partial(_contexts, encoder))
                      for part in parts])


def _rows(encoder: nn.Module, piece: Any) -> Tensor:
    rows: Tensor = encoder(piece).pooled
    return rows


def _contexts(encoder: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the first pass, and for the second."""
    return nullcontext(), _buffers_aside(encoder)


@contextmanager
def _buffers_aside(encoder: nn.Module) -> Iterator[None]:
    """What a second pass does to buffers is done to copies: running statistics have seen the piece already."""
    held = [(module, dict(module._buffers)) for module in encoder.modules() if module._buffers]
    for module, buffers in held:
        module._buffers.update({name: None if buffer is None else buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for module, buffers in held:
            module._buffers.update(buffers)
