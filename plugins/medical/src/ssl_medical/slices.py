"""A volume as a row of slices: a two-dimensional network for each, and a transformer that joins them (arXiv:2212.01893)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets import ResNet
from torch import Tensor, nn

from ssl_core import Representation
from ssl_core.transformer import Block

from .encoders import groups
from .vit import Facts, Normalized
from .volumes import Volumes


class Slices(nn.Module):
    """Axial slices, each embedded from all stages of a ResNet, then attention among them with their place in the volume.

    Attention runs along the slices; in the published code it runs along the features.

    Args:
        channels, mean, std: of the cubes; from the data.
        width: of a slice's and the volume's embedding; a multiple of `heads`. (The paper: 640.)
        planes: channels of the ResNet's first stage; each further one has twice as many. (ResNet-50: 256 after the first.)
        depth, heads: of the transformer. (The paper: 4 layers.)
        every: take every so many-th slice.
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 96, planes: int = 16, depth: int = 2,
                 heads: int = 4, every: int = 2) -> None:
        super().__init__()
        if width % heads or width % 2 or every < 1:
            raise ValueError(f"width should be even and a multiple of heads={heads}, every 1 or more, got {width} and {every}")
        self.width, self.every, self.normalized = width, every, Normalized(mean, std)
        stages = [planes * 2**i for i in range(4)]
        self.body = ResNet("basic", [1, 1, 1, 1], stages, 2, channels, conv1_t_size=3, conv1_t_stride=2, no_max_pool=True,
                           feed_forward=False, norm=groups(planes))
        self.body.act = nn.ReLU()
        self.enter = nn.Linear(planes + sum(stages), width)
        self.blank = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks, self.leave = nn.ModuleList(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width)

    def slices(self, batch: Volumes) -> Tensor:
        """Embeddings of the slices by themselves, from bottom to top: (B, S, D)."""
        x = self.normalized(batch.voxels)[..., self.every // 2:: self.every].permute(0, 4, 1, 2, 3)  # (B, S, C, X, Y)
        rows, body = x.flatten(0, 1), self.body
        rows, found = body.act(body.bn1(body.conv1(rows))), []
        for stage in (None, body.layer1, body.layer2, body.layer3, body.layer4):
            rows = rows if stage is None else stage(rows)
            found.append(F.normalize(rows.mean(dim=(2, 3)), dim=1))
        return self.enter(torch.cat(found, dim=1)).view(*x.shape[:2], self.width)

    def joined(self, rows: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Slices (B, S, D) that know of each other; those that are `hidden`, (B, S) bool, are shown as a learned blank."""
        if hidden is not None:
            rows = torch.where(hidden[:, :, None], self.blank.to(rows.dtype), rows)
        count, half = rows.shape[1], self.width // 2
        rate = 10000.0 ** -(torch.arange(half, device=rows.device) / half)
        angle = torch.linspace(0, 64, count, device=rows.device)[:, None] * rate  # places from bottom to top of the cube
        rows = rows + torch.cat([angle.sin(), angle.cos()], dim=1).to(rows.dtype)
        for block in self.blocks:
            rows = block(rows, None)
        return self.leave(rows)

    def forward(self, batch: Volumes) -> Representation:
        rows = self.joined(self.slices(batch))
        return Representation(rows.mean(dim=1), rows.flatten(0, 1))
