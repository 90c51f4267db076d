"""What objectives remember: a queue, a bank of every item, clusters, prototypes. All of it is saved with the run."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distributed import gather, rank, world


class Queue(nn.Module):
    """The last unit rows that were seen, the oldest overwritten first (MoCo, arXiv:1911.05722). It starts at random.

    Any number of rows may enter at a time: the ring wraps, whether or not `size` is a multiple of the batch. All
    processes hold the same queue.

    Args:
        size: how many rows it holds.
        width: D.
    """

    rows: Tensor
    place: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue should hold 1 row or more, got {size}")
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))  # where the next row goes; on the device
        self.held: list[Tensor] = []

    def hold(self, rows: Tensor) -> None:
        """Keep unit rows (N, D) of the step in hand, for `advance`: no row is compared with itself as a past one."""
        if self.training:
            self.held.append(rows.detach())

    def advance(self) -> None:
        """Let in what was held, from all processes; called after the step."""
        if self.held:
            self.push(gather(torch.cat(self.held)))
        self.held = []

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Let in rows (N, D); of more than `size` the last ones stay."""
        size = len(self.rows)
        rows = rows[-size:].to(self.rows.dtype)
        self.rows.index_copy_(0, (self.place + torch.arange(len(rows), device=rows.device)) % size, rows)
        self.place.add_(len(rows)).remainder_(size)

    def latest(self, count: int) -> Tensor:
        """The last `count` rows, (count, D), the newest last."""
        size = len(self.rows)
        return self.rows[(self.place - count + torch.arange(count, device=self.rows.device)) % size]

    def share(self) -> Tensor:
        """This process's part of the rows, where all processes together should count each row once."""
        return self.rows.tensor_split(world())[rank()]


class Bank(nn.Module):
    """The last unit row of every item, by its number (arXiv:1805.01978). It starts at random; all processes hold the same.

    Args:
        size: how many items there are.
        width: D.
    """

    rows: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a bank should hold 1 item or more, got {size}")
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=1))
        self.held: list[tuple[Tensor, Tensor]] = []

    def hold(self, ids: Tensor, rows: Tensor) -> None:
        """Keep unit rows (N, D) of items (N,) of the step in hand, for `advance`."""
        if self.training:
            self.held.append((ids, rows.detach()))

    @torch.no_grad()
    def advance(self) -> None:
        """Write down what was held, from all processes; called after the step."""
        for ids, rows in self.held:
            self.rows.index_copy_(0, gather(ids), gather(rows).to(self.rows.dtype))
        self.held = []


class Prototypes(nn.Module):
    """Learned directions that rows are compared with; only their direction matters (a weight norm held at 1).

    Args:
        count: K.
        width: D.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        if count < 2:
            raise ValueError(f"there should be 2 prototypes or more, got {count}")
        self.directions = nn.Parameter(torch.randn(count, width))

    def forward(self, rows: Tensor, frozen: bool = False, scale: float = 1.0) -> Tensor:
        """Cosine of each row with each prototype, times `scale`: (N, D) -> (N, K).

        Frozen prototypes get a gradient of zeros rather than none, which DDP would take for an unused parameter.
        """
        directions = F.normalize(self.directions, dim=1)
        if frozen:
            directions = directions.detach() + 0 * directions
        return (F.normalize(rows, dim=1) * scale) @ directions.T


def spherical_kmeans(rows: Tensor, count: int, rounds: int = 10) -> Tensor:
    """Unit centres of unit rows, (N, D) -> (count, D), from evenly spaced rows; an empty cluster keeps its centre."""
    centres = rows[torch.arange(count, device=rows.device) * len(rows) // count]
    for _ in range(rounds):
        sums = torch.zeros_like(centres).index_add_(0, (rows @ centres.T).argmax(dim=1), rows)
        norm = sums.norm(dim=1, keepdim=True)
        centres = torch.where(norm > 1e-8, sums / norm.clamp(min=1e-8), centres)
    return centres
