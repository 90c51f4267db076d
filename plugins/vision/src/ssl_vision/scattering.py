"""A fixed wavelet scattering transform in front of a small trained network (ScatSimCLR, arXiv:2108.13939)."""
from __future__ import annotations

from math import ceil, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Representation

from .encoders import Facts, Normalized, places
from .images import Images


def grid(reach: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of a square of pixels around the origin."""
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return torch.meshgrid(at, at, indexing="ij")


def gaussian(sigma: float) -> Tensor:
    """A Gaussian of unit sum, (K, K)."""
    y, x = grid(ceil(3 * sigma))
    bump = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    return bump / bump.sum()


def morlet(scale: int, angle: float, orientations: int) -> Tensor:
    """A Morlet wavelet of zero mean, real and imaginary part: (2, K, K).

    As is usual: sigma 0.8 * 2^scale, frequency 3 pi / 4 / 2^scale, its envelope 4 / orientations as long as wide.
    """
    sigma, frequency, slant = 0.8 * 2**scale, 0.75 * pi / 2**scale, 4 / orientations
    y, x = grid(ceil(3 * sigma / min(1.0, slant)))
    cos, sin = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    envelope = torch.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
    envelope = envelope / envelope.sum()
    wave = torch.polar(torch.ones_like(along), frequency * along)
    return torch.view_as_real(envelope * (wave - (envelope * wave).sum())).permute(2, 0, 1)


class Scattering(nn.Module):
    """Moduli of wavelets of moduli of wavelets, smoothed: (B, C, H, W) -> (B, C * paths, H / 2^scales, W / 2^scales).

    There is 1 path of order 0, scales * orientations of order 1, and orientations^2 * scales * (scales - 1) / 2 of order 2.
    Nothing in it is trained (Bruna and Mallat, arXiv:1203.1513).

    Args:
        scales, orientations: of the wavelets.
    """

    def __init__(self, scales: int = 2, orientations: int = 8) -> None:
        super().__init__()
        if scales < 1 or orientations < 1:
            raise ValueError(f"scales and orientations should be 1 or more, got {scales} and {orientations}")
        self.scales, self.orientations = scales, orientations
        self.paths = 1 + scales * orientations + orientations**2 * scales * (scales - 1) // 2
        for j in range(scales):
            bank = torch.stack([morlet(j, pi * i / orientations, orientations) for i in range(orientations)])
            self.register_buffer(f"wavelets{j}", bank.flatten(0, 1)[:, None].float(), persistent=False)  # (2 L, 1, K, K)
        self.register_buffer("smooth", gaussian(0.8 * 2 ** (scales - 1))[None, None].float(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        b, c, h, w = pixels.shape
        planes = pixels.reshape(b * c, 1, h, w)
        found = [self.smoothed(planes)]
        for j in range(self.scales):
            first = self.modulus(planes, j)  # (B C, L, H, W)
            found.append(self.smoothed(first))
            for k in range(j + 1, self.scales):  # the modulus is smooth: only coarser waves are left in it
                found.append(self.smoothed(self.modulus(first.reshape(-1, 1, h, w), k)).reshape(b * c, -1, *found[0].shape[2:]))
        return torch.cat(found, dim=1).reshape(b, c * self.paths, *found[0].shape[2:])

    def modulus(self, planes: Tensor, scale: int) -> Tensor:
        """(P, 1, H, W) -> (P, L, H, W)."""
        bank = getattr(self, f"wavelets{scale}")
        parts = F.conv2d(mirrored(planes, bank.shape[-1] // 2), bank)
        return parts.unflatten(1, (self.orientations, 2)).square().sum(dim=2).add(1e-12).sqrt()

    def smoothed(self, planes: Tensor) -> Tensor:
        """Every plane blurred and thinned out by 2^scales."""
        n = planes.shape[1]
        wide = mirrored(planes, self.smooth.shape[-1] // 2)
        return F.conv2d(wide, self.smooth.expand(n, -1, -1, -1), stride=2**self.scales, groups=n)


def mirrored(planes: Tensor, reach: int) -> Tensor:
    """Planes continued beyond their border by reflection, as far as they go, then by their last row or column."""
    most = min(reach, planes.shape[-1] - 1, planes.shape[-2] - 1)
    planes = F.pad(planes, (most,) * 4, mode="reflect")
    return F.pad(planes, (reach - most,) * 4, mode="replicate") if reach > most else planes


class ScatterNet(nn.Module):
    """The scattering of an image, its channels normalised, and trained residual blocks on top.

    Args:
        channels, mean, std: of the images; from the data.
        width: of the representation.
        blocks: residual blocks of two convolutions each.
        scales, orientations: see `Scattering`.
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 128, blocks: int = 3, scales: int = 2,
                 orientations: int = 8) -> None:
        super().__init__()
        self.width, self.norm, self.scattering = width, Normalized(mean, std), Scattering(scales, orientations)
        inputs = channels * self.scattering.paths
        self.enter = nn.Sequential(nn.BatchNorm2d(inputs), nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width),
                                   nn.ReLU())
        self.blocks = nn.ModuleList(residual(width) for _ in range(blocks))

    def forward(self, images: Images) -> Representation:
        with torch.autocast(images.pixels.device.type, enabled=False):
            x = self.scattering(self.norm(images.pixels))
        x = self.enter(x)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return Representation(x.mean(dim=(2, 3)), places(x, self.width))


def residual(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
