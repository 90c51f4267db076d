"""Views of recordings, drawn for a whole batch on its device. Recordings keep their order; padding stays zero."""
from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from .waves import Waves, within

Pair = tuple[float, float]


class Perturb:
    """Views by what happens to speech on its way: speed, room, band limits, noise, gaps, gain, in this order.

    Each part befalls a recording with its own probability; 0 turns it off.

    Args:
        rate: samples per second, from the data.
        views: how many.
        speed, speeds: probability; range of the factor. Pitch changes with speed.
        reverb, decay: probability; range of the seconds in which the echo falls by 60 dB.
        band, cut: probability; largest share of the spectrum, on a logarithmic scale, cut off at either end.
        notch, width: probability; largest share of the spectrum silenced in one band.
        noise, snr: probability; range of the signal-to-noise ratio in dB; the noise is white to brown.
        gap, length: probability; largest share of the recording silenced in one stretch.
        gain: range of the factor of all samples in dB, always drawn.
    """

    def __init__(self, rate: int, views: int = 2, speed: float = 0.5, speeds: Pair = (0.9, 1.1), reverb: float = 0.3,
                 decay: Pair = (0.1, 0.5), band: float = 0.3, cut: float = 0.2, notch: float = 0.3, width: float = 0.15,
                 noise: float = 0.8, snr: Pair = (5.0, 30.0), gap: float = 0.3, length: float = 0.2,
                 gain: Pair = (-6.0, 6.0)) -> None:
        for name, share in (("speed", speed), ("reverb", reverb), ("band", band), ("cut", cut), ("notch", notch),
                            ("width", width), ("noise", noise), ("gap", gap), ("length", length)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} should lie between 0 and 1, got {share}")
        if not 0 < speeds[0] <= speeds[1] or not 0 < decay[0] <= decay[1] or views < 1:
            raise ValueError(f"wanted: 0 < low <= high for speeds and decay, 1 view or more; got {speeds}, {decay}, {views}")
        self.rate, self.views, self.speed, self.speeds, self.reverb, self.decay = rate, views, speed, speeds, reverb, decay
        self.band, self.cut, self.notch, self.width, self.noise, self.snr = band, cut, notch, width, noise, snr
        self.gap, self.length, self.gain = gap, length, gain

    def __call__(self, waves: Waves) -> tuple[Waves, ...]:
        return tuple(self.view(waves) for _ in range(self.views))

    def view(self, waves: Waves) -> Waves:
        x = waves.samples
        factor = torch.where(chance(x, self.speed), between(x, *self.speeds), 1.0)
        waves = at_speed(waves, factor[:, 0], self.speeds[0] if self.speed else 1.0)
        x, there = waves.samples, within(waves.lengths, waves.samples.shape[1])
        if self.reverb or self.band or self.notch:
            x = self.filtered(x)
        x = torch.where(chance(x, self.noise), with_noise(x * there, there, between(x, *self.snr)), x)
        share = self.length * torch.rand(len(x), 1, device=x.device) * chance(x, self.gap)
        start = torch.rand(len(x), 1, device=x.device) * (1 - share)
        place = torch.arange(x.shape[1], device=x.device) / waves.lengths[:, None]
        x = x.masked_fill((place >= start) & (place < start + share), 0.0)
        return Waves(x * there * 10 ** (between(x, *self.gain) / 20), waves.lengths)

    def filtered(self, x: Tensor) -> Tensor:
        """Room, band limits and notch, all as one product of spectra: (B, T) -> (B, T)."""
        tail = int(self.decay[1] * self.rate) if self.reverb else 1
        size = 2 ** (x.shape[1] + tail - 1).bit_length()
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft(x.float(), size)
            if self.reverb:
                room = torch.fft.rfft(self.rooms(len(x), tail, x.device), size)
                spectrum = torch.where(chance(x, self.reverb), spectrum * room, spectrum)
            place = self.places(spectrum.shape[1], x.device)  # 0 at 50 Hz, 1 at half the rate
            if self.band:
                low, high = (self.cut * chance(x, self.band) * between(x, 0, 1) for _ in range(2))
                spectrum = spectrum * slope(place - low) * slope(1 - high - place)
            if self.notch:
                half = self.width / 2 * chance(x, self.notch) * between(x, 0, 1)
                spectrum = spectrum * slope((place - between(x, 0, 1)).abs() - half)
            return torch.fft.irfft(spectrum, size)[:, : x.shape[1]]

    def places(self, bins: int, device: torch.device) -> Tensor:
        hertz = torch.linspace(0, self.rate / 2, bins, device=device).clamp(min=1)
        return (hertz / 50).log() / log(self.rate / 100)

    def rooms(self, items: int, tail: int, device: torch.device) -> Tensor:
        """Impulse responses: the direct sound, then noise that decays exponentially, (B, tail)."""
        time = torch.arange(tail, device=device) / self.rate
        seconds = self.decay[0] + (self.decay[1] - self.decay[0]) * torch.rand(items, 1, device=device)
        echo = torch.randn(items, tail, device=device) * (-6.9 * time / seconds).exp()  # e^-6.9 = -60 dB
        echo = echo / echo.norm(dim=1, keepdim=True) * torch.rand(items, 1, device=device)
        return echo + F.one_hot(torch.zeros((), dtype=torch.long, device=device), tail)


class Crops:
    """Parts of recordings, long ones first, each in a room and a noise of its own (multi-crop, arXiv:2104.14294, for voices).

    Args:
        rate: samples per second, from the data.
        large, small: how many long and short parts.
        long, short: seconds of a part, at most; what is shorter is taken whole.
        reverb, noise: share of the parts in a room, and with noise.
        decay, snr: see `Perturb`.
    """

    def __init__(self, rate: int, large: int = 2, small: int = 2, long: float = 0.4, short: float = 0.25, reverb: float = 0.5,
                 noise: float = 1.0, decay: Pair = (0.1, 0.5), snr: Pair = (5.0, 20.0)) -> None:
        if large < 1 or small < 0 or not 0 < short <= long:
            raise ValueError(f"wanted: a large part or more, 0 < short <= long; got {large=}, {small=}, {short=}, {long=}")
        self.sizes = [round(rate * long)] * large + [round(rate * short)] * small
        self.perturb = Perturb(rate, 1, speed=0.0, reverb=reverb, decay=decay, band=0.0, notch=0.0, noise=noise, snr=snr,
                               gap=0.0)

    def __call__(self, waves: Waves) -> tuple[Waves, ...]:
        return tuple(self.perturb.view(part_of(waves, size)) for size in self.sizes)


def part_of(waves: Waves, size: int) -> Waves:
    """A stretch of `size` samples out of each recording, from anywhere in it."""
    lengths = waves.lengths.clamp(max=size)
    start = (torch.rand(len(lengths), device=lengths.device) * (waves.lengths - lengths + 1)).long()
    there = within(lengths, min(size, waves.samples.shape[1]))
    place = (start[:, None] + torch.arange(there.shape[1], device=lengths.device)).clamp(max=waves.samples.shape[1] - 1)
    return Waves(waves.samples.gather(1, place) * there, lengths)


class AsIs:
    """One view: the recordings as they are."""

    def __call__(self, waves: Waves) -> tuple[Waves, ...]:
        return (waves,)


def chance(x: Tensor, share: float) -> Tensor:
    """(B, 1) bool, True with probability `share`."""
    return torch.rand(len(x), 1, device=x.device) < share


def between(x: Tensor, low: float, high: float) -> Tensor:
    """(B, 1), uniform."""
    return low + (high - low) * torch.rand(len(x), 1, device=x.device)


def slope(distance: Tensor, soft: float = 0.02) -> Tensor:
    """1 where the distance is positive, 0 well below, smooth in between."""
    return (1 + distance / soft).clamp(0, 1)


def at_speed(waves: Waves, factor: Tensor, slowest: float) -> Waves:
    """Each recording played `factor` times as fast, by linear interpolation: (B,) factors of `slowest` or more."""
    samples, lengths, _ = waves
    size = int(samples.shape[1] / min(1.0, slowest)) + 1
    shorter = (lengths / factor).long().clamp(min=1)
    place = torch.arange(size, device=samples.device) * factor[:, None]
    left = place.long().clamp(max=samples.shape[1] - 1)
    right = (left + 1).minimum(lengths[:, None] - 1).clamp(min=0)
    share = (place - left).clamp(0, 1)
    played = samples.gather(1, left) * (1 - share) + samples.gather(1, right) * share
    return Waves(played * within(shorter, size), shorter)


def level(x: Tensor, there: Tensor) -> Tensor:
    """Root mean square where something is, (B, 1)."""
    return ((x * there).square().sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()


def with_noise(x: Tensor, there: Tensor, snr: Tensor) -> Tensor:
    """Noise added at a signal-to-noise ratio in dB (B, 1), over the samples that exist; from white to brown at random."""
    noise = torch.randn_like(x)
    noise = torch.lerp(noise, noise.cumsum(dim=1) * 0.02, torch.rand(len(x), 1, device=x.device)) * there
    noise = noise - (noise.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)) * there
    return x + noise * level(x, there) / level(noise, there).clamp(min=1e-8) * 10 ** (-snr / 20)


def mixed(waves: Waves, share: float, noise: float = 0.1) -> Waves:
    """Another recording of the batch, or noise, laid over up to half of some recordings (WavLM, arXiv:2110.13900, section 3.1).

    The ratio of levels, taken over the overlap, is -5 to 5 dB for speech and -5 to 20 dB for noise.

    Args:
        share: of the recordings that are mixed.
        noise: share of these that get noise.
    """
    (samples, lengths, _), items = waves, len(waves.lengths)
    if items < 2:
        return waves
    shift = 1 + (torch.rand((), device=samples.device) * (items - 1)).long()
    partner = (torch.arange(items, device=samples.device) + shift) % items  # never the recording itself
    own, other = lengths[:, None], lengths[partner][:, None]
    length = (torch.rand(items, 1, device=samples.device) * (own // 2).minimum(other)).long()
    start = (torch.rand(items, 1, device=samples.device) * (own - length + 1)).long()
    begin = (torch.rand(items, 1, device=samples.device) * (other - length + 1)).long()
    place = torch.arange(samples.shape[1], device=samples.device)
    there = (place >= start) & (place < start + length) & chance(samples, share)
    speech = samples[partner].gather(1, (place - start + begin).clamp(0, samples.shape[1] - 1))
    noisy = chance(samples, noise)
    second = torch.where(noisy, torch.randn_like(samples), speech) * there
    ratio = torch.where(noisy, between(samples, -5, 20), between(samples, -5, 5))
    scale = level(samples, there) / level(second, there).clamp(min=1e-8) * 10 ** (-ratio / 20)
    return Waves(samples + second * scale, lengths)
