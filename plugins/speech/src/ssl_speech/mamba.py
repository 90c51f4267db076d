"""Bidirectional Mamba in plain PyTorch (Mamba, arXiv:2312.00752; Vision Mamba, arXiv:2401.09417, section 3.2)."""
from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .scan import scan


class Selective(nn.Module):
    """A state space whose steps, inputs and outputs depend on what is read, in one direction (Mamba, algorithm 2).

    Args:
        width: E, of what is read.
        state: N, numbers kept for each of its columns.
        kernel: tokens of the causal convolution in front.
    """

    def __init__(self, width: int, state: int = 16, kernel: int = 4) -> None:
        super().__init__()
        self.state, self.rank, self.kernel = state, max(1, width // 32), kernel
        self.conv = nn.Conv1d(width, width, kernel, groups=width)
        self.read = nn.Linear(width, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, width)
        self.decay = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))  # (E, N)
        self.through = nn.Parameter(torch.ones(width))
        first = torch.exp(torch.rand(width) * (log(0.1) - log(0.001)) + log(0.001))  # steps at the start, as in the paper
        with torch.no_grad():
            self.step.bias.copy_(first + torch.log(-torch.expm1(-first)))  # softplus of it is `first`

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, L, E), (B, L) -> (B, L, E); what is not valid neither counts nor moves the state."""
        there = valid[..., None].to(x.dtype)
        x = self.conv(F.pad((x * there).transpose(1, 2), (self.kernel - 1, 0))).transpose(1, 2)
        x = F.silu(x) * there
        step, enter, leave = self.read(x).split([self.rank, self.state, self.state], dim=2)
        step = F.softplus(self.step(step)).float()  # (B, L, E)
        with torch.autocast(x.device.type, enabled=False):
            keep = torch.exp(-step[..., None] * self.decay.float().exp())  # (B, L, E, N)
            states = scan(keep, (step * x.float())[..., None] * enter.float()[:, :, None])
            out = (states * leave.float()[:, :, None]).sum(dim=3)
        return out.to(x.dtype) + self.through * x


class MambaBlock(nn.Module):
    """Both directions read the same tokens; their sum is gated, projected and added.

    Args:
        width: of the tokens.
        state: numbers kept for each inner column.
    """

    def __init__(self, width: int, state: int = 16) -> None:
        super().__init__()
        self.norm, self.enter, self.leave = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(2 * width, width)
        self.forth, self.back = Selective(2 * width, state), Selective(2 * width, state)

    def forward(self, x: Tensor, valid: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, L, D), (B, L) -> tokens after the block, and what it added, both (B, L, D)."""
        read, gate = self.enter(self.norm(x)).chunk(2, dim=2)
        both = self.forth(read, valid) + self.back(read.flip(1), valid.flip(1)).flip(1)
        added = self.leave(both * F.silu(gate))
        return x + added, added
