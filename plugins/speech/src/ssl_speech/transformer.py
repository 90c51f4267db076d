"""The context network of wav2vec 2.0 and its relatives: convolutional positions, then a transformer (arXiv:2006.11477)."""
from __future__ import annotations

from collections.abc import Iterable
from math import log, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.modules import pad


class ConvPositions(nn.Module):
    """Relative positions from one wide grouped convolution with weight normalisation (section 2; appendix B).

    Args:
        width: of the frames.
        kernel: frames that it sees.
        groups: of channels.
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.groups = kernel, groups
        direction = torch.randn(width, width // groups, kernel) * sqrt(4 / (kernel * width))
        self.direction, self.bias = nn.Parameter(direction), nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(direction.norm(dim=(0, 1), keepdim=True))  # (1, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        weight = self.scale * self.direction / self.direction.norm(dim=(0, 1), keepdim=True)
        out = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return F.gelu(out[..., : x.shape[1]]).transpose(1, 2)


class Gate(nn.Module):
    """How much a query weighs a bias for distances: one number per head and frame (WavLM, arXiv:2110.13900, equation 3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.linear = heads, nn.Linear(width // heads, 8)
        self.scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, H, L, 1)."""
        heads = x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, L, D / H)
        update, reset = self.linear(heads).unflatten(3, (2, 4)).sum(dim=-1).sigmoid().chunk(2, dim=-1)
        return update * (reset * self.scale - 1) + 2


class Attention(nn.Module):
    """Self-attention among valid frames, with a gate for a bias if there is one."""

    def __init__(self, width: int, heads: int, dropout: float, gated: bool) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.gate = Gate(width, heads) if gated else None

    def forward(self, x: Tensor, valid: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, L, D), valid (B, L), bias (H, L, L) or None -> (B, L, D)."""
        q, k, v = self.enter(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = valid[:, None, None, :]
        if self.gate is not None and bias is not None:
            mask = (self.gate(x) * bias).masked_fill(~mask, -torch.inf).to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.leave(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a feed-forward net, normalised before (LARGE) or after (BASE) each.

    Args:
        width, heads, inner: of the frames; attention heads; hidden width of the feed-forward net.
        dropout: while training.
        pre_norm: normalise before, not after.
        gated: gate a bias of the attention.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, pre_norm: bool, gated: bool = False) -> None:
        super().__init__()
        self.attention, self.pre_norm = Attention(width, heads, dropout, gated), pre_norm
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down, self.drop = nn.Linear(width, inner), nn.Linear(inner, width), nn.Dropout(dropout)

    def feed(self, x: Tensor) -> Tensor:
        return self.drop(self.down(self.drop(F.gelu(self.up(x)))))

    def forward(self, x: Tensor, valid: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The frames after the block, and the output of its feed-forward net (the target of data2vec), both (B, L, D)."""
        if self.pre_norm:
            x = x + self.drop(self.attention(self.first(x), valid, bias))
            fed = self.feed(self.second(x))
            return x + fed, fed
        x = self.first(x + self.drop(self.attention(x, valid, bias)))
        fed = self.feed(x)
        return self.second(x + fed), fed


class Transformer(nn.Module):
    """Projected frames -> contextual frames; frames that are hidden are replaced by one learned vector first.

    Args:
        inputs: width of the frames of the front end.
        width, depth, heads, inner: of the transformer.
        kernel, groups: of the convolutional positions.
        dropout: while training.
        layer_drop: share of blocks left out while training.
        pre_norm: normalise before each part of a block, as in LARGE.
        gated: add WavLM's gated relative positions to the attention (arXiv:2110.13900, section 3.2).
        blocks: others than attention blocks, called like them; they are left as they were initialised.
        positions: other than convolutional ones: what is added to (B, L, D).
        norm: normalise each frame of the front end.
    """

    def __init__(self, inputs: int, width: int, depth: int, heads: int, inner: int, kernel: int, groups: int,
                 dropout: float = 0.0, layer_drop: float = 0.0, pre_norm: bool = False, gated: bool = False,
                 blocks: Iterable[nn.Module] | None = None, positions: nn.Module | None = None, norm: bool = True) -> None:
        super().__init__()
        if width % heads or width % groups:
            raise ValueError(f"width should be a multiple of heads={heads} and of {groups} groups, got {width}")
        self.width, self.layer_drop, self.pre_norm = width, layer_drop, pre_norm
        self.norm, self.project = nn.LayerNorm(inputs) if norm else nn.Identity(), nn.Linear(inputs, width)
        self.mask = nn.Parameter(torch.rand(width))
        self.positions, self.drop = positions or ConvPositions(width, kernel, groups), nn.Dropout(dropout)
        made = (Block(width, heads, inner, dropout, pre_norm, gated) for _ in range(depth))
        self.blocks = nn.ModuleList(made if blocks is None else blocks)
        self.relative = Distances(heads) if gated else None
        self.last = nn.LayerNorm(width)
        for layer in self.blocks.modules() if blocks is None else ():  # as in BERT: untrained blocks are nearly the identity
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def enter(self, local: Tensor) -> Tensor:
        """Frames of the front end, normalised, (B, L, C): what wav2vec 2.0 quantises."""
        return self.norm(local)

    def placed(self, local: Tensor, valid: Tensor, hidden: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Frames with positions, before the first block: (B, L, C) -> (B, L, D).

        Args:
            valid: (B, L), frames that exist.
            hidden: (B, L), frames to replace by the mask vector.
            keep: (B, L), the only frames that may be seen at all.
        """
        x = self.drop(self.project(self.norm(local)))
        if hidden is not None:
            x = torch.where(hidden[..., None], self.mask.to(x.dtype), x)
        seen = valid if keep is None else keep
        x = x * seen[..., None]  # so that positions do not depend on padding
        x = x + self.positions(x)
        return self.drop(x if self.pre_norm else self.last(x))

    def blocked(self, x: Tensor, valid: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """States before, between and after the blocks (depth + 1), and the feed-forward outputs (depth), each (B, L, D)."""
        states, fed = [x], []
        bias = None if self.relative is None else self.relative(x.shape[1])
        for block in self.blocks:
            if self.training and self.layer_drop and torch.rand(()) < self.layer_drop:
                states.append(states[-1])
                continue
            x, ff = block(states[-1], valid, bias)
            states.append(x)
            fed.append(ff)
        if self.pre_norm:
            states[-1] = self.last(states[-1])
        return states, fed

    def forward(self, local: Tensor, valid: Tensor, hidden: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """All states and feed-forward outputs of `blocked`, from frames of the front end (B, L, C)."""
        return self.blocked(self.placed(local, valid, hidden), valid)

    def kept(self, local: Tensor, valid: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Only some frames go through the blocks: (B, L, C), (B, L), (B, L) -> rows (T, D) of the kept ones and owners (T,)."""
        rows = self.placed(local, valid, keep=keep)[keep]
        owner = keep.nonzero()[:, 0]
        sequence, there = pad(rows, owner, len(local))
        return self.blocked(sequence, there)[0][-1][there], owner


class Distances(nn.Module):
    """A bias for attention from the distance between two frames, shared by all blocks (WavLM, arXiv:2110.13900).

    Args:
        heads: of the attention.
        buckets, reach: distances are told apart exactly up to buckets / 4, then by logarithm up to `reach`.
    """

    def __init__(self, heads: int, buckets: int = 320, reach: int = 800) -> None:
        super().__init__()
        self.buckets, self.reach = buckets, reach
        self.bias = nn.Embedding(buckets, heads)

    def bucket(self, length: int) -> Tensor:
        """The bucket of each pair of frames, (L, L)."""
        place = torch.arange(length, device=self.bias.weight.device)
        distance = place[None, :] - place[:, None]
        half, far = self.buckets // 2, distance.abs()
        near = half // 2
        coarse = near + ((far / near).clamp(min=1).log() / log(self.reach / near) * (half - near)).long()
        return (distance > 0) * half + torch.where(far < near, far, coarse.clamp(max=half - 1))

    def forward(self, length: int) -> Tensor:
        """(H, L, L)."""
        return self.bias(self.bucket(length)).permute(2, 0, 1)
