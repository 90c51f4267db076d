"""From samples to log-mel bins and MFCCs, on the device of the batch; frames never reach behind the end of a recording.

Frame t covers the samples from t * step on, without centring, which is where frame t of wav2vec 2.0's convolutions
starts too: labels from one fit the frames of the other.
"""
from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import create_dct, melscale_fbanks

from .waves import Waves, masked_mean, within


class LogMel(nn.Module):
    """Logarithm of the power in mel bands.

    Args:
        rate: samples per second.
        bins: number of bands.
        window: length of a frame in seconds.
        step: samples between two frames.
        low: lower end of the lowest band in Hz; the highest ends at half the rate.
    """

    def __init__(self, rate: int, bins: int = 80, window: float = 0.025, step: int = 160, low: float = 20.0) -> None:
        super().__init__()
        self.size, self.step, self.bins = round(rate * window), step, bins
        self.points = 2 ** (self.size - 1).bit_length() * 2  # fine enough that no band is empty
        bank = melscale_fbanks(self.points // 2 + 1, low, rate / 2, bins, rate)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("taper", torch.hann_window(self.size, periodic=False), persistent=False)

    def counts(self, lengths: Tensor) -> Tensor:
        """Frames of each recording, at least one: (B,) -> (B,)."""
        return ((lengths - self.size).div(self.step, rounding_mode="floor") + 1).clamp(min=1)

    def forward(self, waves: Waves) -> tuple[Tensor, Tensor]:
        """Log-mel bins (B, L, bins) and which frames are valid (B, L)."""
        samples = F.pad(waves.samples, (0, max(0, self.size - waves.samples.shape[1])))
        with torch.autocast(samples.device.type, enabled=False):
            frames = samples.float().unfold(1, self.size, self.step) * self.taper  # (B, L, size)
            spectrum = torch.fft.rfft(frames, self.points)
            power = torch.view_as_real(spectrum).square().sum(dim=-1)
            mel = (power @ self.bank + 1e-6).log()  # the floor lies about where 16 bits end
        return mel, within(self.counts(waves.lengths), mel.shape[1])


class MFCC(nn.Module):
    """13 cepstral coefficients of 40 bands, liftered as in Kaldi, with first and second differences: 39 numbers every 10 ms.

    Args:
        rate: samples per second.
        step: samples between two frames; 0 for 10 ms.
        coefficients: kept of the cosine transform.
    """

    def __init__(self, rate: int, step: int = 0, coefficients: int = 13) -> None:
        super().__init__()
        self.mel = LogMel(rate, 40, step=step or rate // 100)
        lifter = 1 + 11 * (torch.arange(coefficients) * pi / 22).sin()  # brings the coefficients to about one scale
        self.register_buffer("transform", create_dct(coefficients, 40, "ortho") * lifter, persistent=False)
        self.width = 3 * coefficients

    def forward(self, waves: Waves) -> tuple[Tensor, Tensor]:
        """Features (B, L, 39) and which frames are valid (B, L)."""
        mel, valid = self.mel(waves)
        cepstra = mel @ self.transform
        first = deltas(cepstra, valid)
        return torch.cat([cepstra, first, deltas(first, valid)], dim=2), valid


def deltas(x: Tensor, valid: Tensor, reach: int = 2) -> Tensor:
    """Regression slope over 2 * reach + 1 frames; the first and last valid frames are repeated: (B, L, D) -> (B, L, D)."""
    last = valid.sum(dim=1, keepdim=True) - 1
    place = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    slope = torch.zeros_like(x)
    for k in range(1, reach + 1):
        after, before = (place + k).minimum(last).clamp(min=0), (place - k).minimum(last).clamp(min=0)
        slope += k * (_take(x, after) - _take(x, before))
    return slope / (2 * sum(k * k for k in range(1, reach + 1)))


def _take(x: Tensor, place: Tensor) -> Tensor:
    return x.gather(1, place[..., None].expand(-1, -1, x.shape[2]))


def statistics(frames: Tensor, valid: Tensor) -> Tensor:
    """Mean and standard deviation over the valid frames of each item: (B, L, D) -> (B, 2 D)."""
    mean = masked_mean(frames, valid)
    spread = masked_mean((frames - mean[:, None]).square(), valid)
    return torch.cat([mean, (spread + 1e-8).sqrt()], dim=1)
