"""Several losses on one representation: how their gradients are combined where they pull apart.

`mixer(losses, shared)` returns one scalar to minimise. Its value is the sum of the losses; its gradient is that of the sum
everywhere but in `shared`, the rows or parameters that the losses have in common, where it is the mixture. The mixture
costs one backward pass per loss down to `shared`, and one through the rest, as usual.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from .distributed import total

Name = Literal["sum", "mgda", "pcgrad", "realign"]


def mix(losses: Mapping[str, Tensor], shared: Sequence[Tensor], how: Name) -> Tensor:
    """One loss out of several, each ().

    Args:
        losses: by name.
        shared: what they have in common, such as an encoder's rows, (N, D) each: cheap, and what flows into the trunk.
        how: `sum`; `mgda`, `pcgrad`: of all of `shared` as one vector; `realign`: of each row by itself.
    """
    whole = torch.stack([*losses.values()]).sum()
    if how == "sum" or len(losses) < 2:
        return whole
    parts = [torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True, materialize_grads=True)
             for loss in losses.values()]
    correction = whole.new_zeros(())
    if how == "realign":
        for x, *grads in zip(shared, *parts, strict=True):
            rows = torch.stack(grads)  # (K, N, D)
            correction = correction + ((realigned(rows) - rows.sum(dim=0)) * x).sum()
    else:
        flat = torch.stack([torch.cat([grad.flatten() for grad in grads]) for grads in parts])  # (K, P)
        moved = (COMBINED[how](flat @ flat.T) - 1) @ flat
        for x, piece in zip(shared, moved.split([x.numel() for x in shared]), strict=True):
            correction = correction + (piece.view_as(x) * x).sum()
    return whole + correction - correction.detach()


def mgda(products: Tensor, rounds: int = 50) -> Tensor:
    """Shares of the shortest convex combination of K gradients, times K: their products (K, K) -> (K,).

    Multiple-gradient descent (arXiv:1810.04650): no loss is made worse. Frank-Wolfe with exact steps; two gradients need
    one. All on the device, products summed over processes.
    """
    products = total(products.detach())
    count = len(products)
    shares = torch.full_like(products[0], 1 / count)
    for _ in range(rounds if count > 2 else 1):
        slopes = products @ shares
        towards = torch.zeros_like(shares).index_fill_(0, slopes.argmin(), 1.0)
        step = towards - shares
        length = (step @ products @ step).clamp(min=1e-30)
        shares = shares + (-(shares @ products @ step) / length).clamp(0, 1) * step
    return count * shares


def pcgrad(products: Tensor) -> Tensor:
    """Weights of K gradients in the sum of what is left of each without what opposes the others: (K, K) -> (K,).

    PCGrad (arXiv:2001.06782): for each gradient the others are taken in a random order, against what is left by then.
    """
    products = total(products.detach())
    alone = torch.eye(len(products), device=products.device, dtype=products.dtype)
    weights = torch.zeros_like(alone[0])
    for k, left in enumerate(alone):
        for other in torch.randperm(len(alone)).tolist():
            if other != k:
                opposed = (left @ products[:, other]).clamp(max=0) / products[other, other].clamp(min=1e-30)
                left = left - opposed * alone[other]
        weights = weights + left
    return weights


def realigned(rows: Tensor) -> Tensor:
    """Sum over K of each row's gradients without their part against each other original one: (K, N, D) -> (N, D).

    Cross-modality gradient realignment, per item (arXiv:2211.02077, without its curriculum).
    """
    products = torch.einsum("knd,lnd->nkl", rows, rows)
    lengths = products.diagonal(dim1=1, dim2=2).clamp(min=1e-30)  # (N, K)
    opposed = products.clamp(max=0) / lengths[:, None]  # of each with itself it is never below 0
    return rows.sum(dim=0) - torch.einsum("nkl,lnd->nd", opposed, rows)


COMBINED: dict[str, Callable[[Tensor], Tensor]] = {"mgda": mgda, "pcgrad": pcgrad}
