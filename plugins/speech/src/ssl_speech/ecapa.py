"""ECAPA-TDNN: one vector for a voice (Desplanques et al., 2020, arXiv:2005.07143). Padding counts nowhere."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Representation

from .frontend import LogMel
from .waves import Waves, masked_mean


class Conv(nn.Module):
    """A dilated convolution over frames, ReLU, batch norm over the frames that exist."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, L, C), (B, L) -> (B, L, C')."""
        x = F.relu(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return torch.zeros_like(x).masked_scatter(valid[..., None], self.norm(x[valid]).to(x.dtype))


class Block(nn.Module):
    """SE-Res2Net block (section 3.2): convolutions that hear ever more channels, then channels weighed by the recording."""

    def __init__(self, channels: int, dilation: int, scale: int, squeeze: int) -> None:
        super().__init__()
        self.scale, part = scale, channels // scale
        self.enter, self.leave = Conv(channels, channels), Conv(channels, channels)
        self.parts = nn.ModuleList(Conv(part, part, 3, dilation) for _ in range(scale - 1))
        self.weigh = nn.Sequential(nn.Linear(channels, squeeze), nn.ReLU(), nn.Linear(squeeze, channels), nn.Sigmoid())

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        first, *rest = self.enter(x, valid).chunk(self.scale, dim=2)
        heard = [first]
        for i, (conv, part) in enumerate(zip(self.parts, rest, strict=True)):
            heard.append(conv(part + heard[-1] if i else part, valid))
        out = self.leave(torch.cat(heard, dim=2), valid)
        return x + out * self.weigh(masked_mean(out, valid))[:, None]


class ECAPA(nn.Module):
    """Log-mel frames -> a vector for the speaker. It has no tokens: what is kept of time is mean and deviation.

    Args:
        rate: samples per second, from the data.
        bins: of the mel scale (the paper: 80 MFCCs).
        channels: of the convolutions (512 or 1024).
        width: of the embedding (192).
        scale: parts of the channels in a block (8).
        squeeze: width of the bottlenecks of weights and attention (128).
    """

    def __init__(self, rate: int, bins: int = 48, channels: int = 64, width: int = 96, scale: int = 4,
                 squeeze: int = 32) -> None:
        super().__init__()
        if scale < 2 or channels % scale:
            raise ValueError(f"channels should be a multiple of scale, and scale 2 or more; got {channels} and {scale}")
        self.rate, self.width, self.mel = rate, width, LogMel(rate, bins, step=rate // 100)
        self.enter = Conv(bins, channels, 5)
        self.blocks = nn.ModuleList(Block(channels, dilation, scale, squeeze) for dilation in (2, 3, 4))
        self.join = nn.Linear(3 * channels, 3 * channels)
        self.attend = nn.Sequential(nn.Linear(9 * channels, squeeze), nn.Tanh(), nn.Linear(squeeze, 3 * channels))
        self.norm, self.leave = nn.BatchNorm1d(6 * channels), nn.Linear(6 * channels, width)
        self.last = nn.BatchNorm1d(width)

    def forward(self, waves: Waves) -> Representation:
        with torch.no_grad():
            x, valid = self.mel(waves)
            x = (x - masked_mean(x, valid)[:, None]) * valid[..., None]  # the channel of the recording is taken out
        x, found = self.enter(x, valid), []
        for block in self.blocks:
            x = block(x, valid)
            found.append(x)
        x = F.relu(self.join(torch.cat(found, dim=2)))  # (B, L, 3 C)
        pooled = self.norm(torch.cat(self.statistics(x, valid), dim=1))
        return Representation(self.last(self.leave(pooled)))

    def statistics(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation over time; attention, which knows the plain ones, weighs frames for each channel (section 3.1)."""
        plain = masked_mean(x, valid)
        spread = (masked_mean((x - plain[:, None]).square(), valid) + 1e-5).sqrt()
        context = torch.cat([x, plain[:, None].expand_as(x), spread[:, None].expand_as(x)], dim=2)
        weight = self.attend(context).masked_fill(~valid[..., None], -torch.inf).softmax(dim=1)
        mean = (weight * x).sum(dim=1)
        return mean, ((weight * (x - mean[:, None]).square()).sum(dim=1) + 1e-5).sqrt()
