"""The features that enter the first layer: dense rows, bags of words in compressed rows, some of them perhaps not seen."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .compressed import matrix, product, valued

FEW = 0.05  # share of features that are not 0 up to which a product in compressed rows is the faster one


class Partly(NamedTuple):
    """Features some of whose rows are not seen.

    Args:
        x: (N, F), all rows.
        keep: (N,) bool, which of them are seen.
        unseen: (F,), a learned row that stands for the others.
    """

    x: Tensor
    keep: Tensor
    unseen: Tensor


Features = Tensor | Partly


def entering(x: Tensor, keep: Tensor | None, unseen: Tensor) -> Features:
    """Features (N, F) as the first layer takes them; in compressed rows where they are bags of words on a CPU."""
    small = x.device.type != "cpu" or x.requires_grad or x.numel() < 2**20
    found = x if small or int(x[::16].count_nonzero()) > FEW * x[::16].numel() else _rows(x)
    return found if keep is None else Partly(found, keep, unseen)


def _rows(x: Tensor) -> Tensor:
    """In compressed rows; torch's own conversion looks for what is not 0 twice."""
    place = x.flatten().nonzero()[:, 0]
    starts = torch.zeros(len(x) + 1, dtype=torch.long)
    starts[1:] = torch.bincount(place // x.shape[1], minlength=len(x)).cumsum(0)
    return matrix(starts, place % x.shape[1], x.flatten()[place], x.shape)


def thinned(x: Features, dropout: nn.Module) -> Features:
    """With some features dropped; what stands for unseen rows is left whole."""
    if isinstance(x, Partly):
        return x._replace(x=thinned(x.x, dropout))
    return valued(x, dropout(x.values())) if x.layout == torch.sparse_csr else dropout(x)  # type: ignore[no-any-return]


def projected(x: Features, linear: nn.Linear) -> Tensor:
    """`linear` of every row: (N, D). No gradient of the features is found only to be thrown away."""
    if isinstance(x, Partly):
        return torch.where(x.keep[:, None], projected(x.x, linear), linear(x.unseen))
    if x.layout != torch.sparse_csr:
        return linear(x)  # type: ignore[no-any-return]
    made = product(x, linear.weight.T)
    return made if linear.bias is None else made + linear.bias


def dense(x: Features) -> Tensor:
    """(N, F), for layers that sum over neighbours first."""
    if isinstance(x, Partly):
        return torch.where(x.keep[:, None], dense(x.x), x.unseen)
    return x.to_dense() if x.layout == torch.sparse_csr else x
