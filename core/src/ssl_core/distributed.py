"""What a batch split over processes needs so that its loss is that of the joined batch.

Each process computes the loss of its own rows against everyone's, or the same global loss as all others. Gradients are
then averaged over processes, as DDP does, and equal those of one process with all rows: the gradient of what was gathered
goes back summed over processes, so no factor of the world size is lost (unlike gathers that return the local slice only).
Every process must hold as many rows as the others. Without a process group all of this is the identity.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes share the batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if world() > 1 else 0


class Launched(NamedTuple):
    """What whoever started this process says of it, before the processes have met.

    Args:
        rank: which one it is.
        devices: processes on each node.
        nodes: machines.
    """

    rank: int = 0
    devices: int = 1
    nodes: int = 1


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """By torchrun, by srun, or by the first process of this run; None for one that was started alone."""
    def number(name: str, default: int = 0) -> int:
        return int(environment.get(name) or default)

    if "TORCHELASTIC_RUN_ID" in environment:
        devices = number("LOCAL_WORLD_SIZE", 1)
        return Launched(number("RANK"), devices, number("WORLD_SIZE", 1) // devices)
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = number("SLURM_NNODES", 1)
        return Launched(number("SLURM_PROCID"), number("SLURM_NTASKS_PER_NODE", number("SLURM_NTASKS", 1) // nodes), nodes)
    if "LOCAL_RANK" in environment and "NODE_RANK" in environment:
        nodes = number("NODE_RANK") + 1  # at least; how many there are stands in `trainer.num_nodes`
        return Launched(number("LOCAL_RANK") + (nodes - 1) * 1000, number("WORLD_SIZE", 1), nodes)
    return None


def first() -> bool:
    """Whether this process is the one that writes files and scores; before the processes have met, too."""
    known = launched()
    return rank() == 0 if world() > 1 or known is None else known.rank == 0


def of_all(item: Any) -> list[Any]:
    """The items of all processes, in the order of their ranks."""
    if world() == 1:
        return [item]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, item)
    return found


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks: (N, ...) -> (W N, ...)."""
    return _Gather.apply(rows) if world() > 1 else rows


def total(x: Tensor) -> Tensor:
    """The sum of `x` over all processes, on each of them."""
    return _Total.apply(x) if world() > 1 else x


def average(x: Tensor) -> Tensor:
    """The mean of `x` over all processes, on each of them."""
    return total(x) / world()


def from_first(x: Tensor) -> Tensor:
    """The `x` of the first process, on each: what was drawn at random and has to agree. No gradient."""
    x = x.detach()
    if world() > 1:
        x = x.clone()
        dist.broadcast(x, src=0)
    return x


@torch.no_grad()
def logsumexp(x: Tensor) -> Tensor:
    """Log-sum-exp over the rows of all processes: (N, K) -> (K,). No gradient."""
    if world() == 1:
        return x.logsumexp(dim=0)
    top = x.amax(dim=0)
    dist.all_reduce(top, op=dist.ReduceOp.MAX)
    return total((x - top).exp().sum(dim=0)).log() + top


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        out = rows.new_empty(world() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(out, rows)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out = grad.new_empty(len(grad) // world(), *grad.shape[1:])
        dist.reduce_scatter_tensor(out, grad.contiguous())
        return out


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad
