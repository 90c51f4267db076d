"""Colour of views: whatever is linear in the colours of a pixel is one small matrix per image.

Brightness, contrast, saturation, hue and gray are affine maps of a pixel's colours. Saturation and hue leave gray pixels
and the luma of all others as they are, and contrast shrinks towards the mean luma; so, as long as nothing is clipped in
between, the four commute, and the random order that other libraries draw makes no difference.
"""
from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import LUMA

YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
FROM_YIQ = torch.tensor(YIQ, dtype=torch.float64).inverse().tolist()


class Factors(NamedTuple):
    """What is done to the colours of each image, (B,) each.

    Args:
        brightness, contrast, saturation: factors; 1 changes nothing.
        hue: share of a full turn; 0 changes nothing.
        gray: True: all colour is taken away.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor


def draw(count: int, strengths: tuple[float, float, float, float], jitter: float, gray: float, device: torch.device
         ) -> Factors:
    """Random factors: with probability `jitter`, each from [1 - s, 1 + s] (not below 0) and hue from [-s, s].

    Args:
        strengths: s of brightness, contrast, saturation and hue.
        gray: probability of gray.
    """
    some = torch.rand(count, device=device) < jitter
    made = [torch.where(some, torch.empty(count, device=device).uniform_(max(0.0, 1 - s), 1 + s), 1.0) for s in strengths[:3]]
    hue = torch.where(some, torch.empty(count, device=device).uniform_(-strengths[3], strengths[3]), 0.0)
    return Factors(*made, hue, torch.rand(count, device=device) < gray)


def luma_weights(channels: int, like: Tensor) -> Tensor:
    """What each channel adds to the brightness of a pixel, (C,)."""
    return like.new_tensor(LUMA if channels == 3 else [1 / channels] * channels)


def apply(pixels: Tensor, factors: Factors) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W), clipped to [0, 1] once at the end. Hue turns in YIQ; only colour images have one."""
    b, c = pixels.shape[:2]
    weights = luma_weights(c, pixels)
    mean = torch.mv(pixels.mean(dim=(2, 3)), weights)  # (B,), the mean luma
    bright, contrast = factors.brightness, factors.contrast
    matrix = (bright * contrast)[:, None, None] * colour_matrix(factors, weights)
    offset = bright * (1 - contrast) * mean
    flat = torch.baddbmm(offset[:, None, None], matrix, pixels.reshape(b, c, -1))
    return flat.clamp_(0, 1).view_as(pixels)


def colour_matrix(factors: Factors, weights: Tensor) -> Tensor:
    """Saturation, hue and gray: (B, C, C)."""
    channels, saturation = len(weights), factors.saturation
    gray = weights.expand(channels, -1)  # every row gives the luma
    saturation = torch.where(factors.gray, 0.0, saturation)[:, None, None]
    same = torch.eye(channels, device=weights.device, dtype=weights.dtype)
    if channels != 3:
        return saturation * same + (1 - saturation) * gray
    angle = 2 * pi * factors.hue
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return saturation * (weights.new_tensor(FROM_YIQ) @ turn @ weights.new_tensor(YIQ)) + (1 - saturation) * gray


def solarised(pixels: Tensor, some: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert what is bright, in the images where `some` (B,) is true."""
    return torch.where(some[:, None, None, None] & (pixels >= threshold), 1 - pixels, pixels)


def share(count: int, probability: float, device: torch.device) -> Tensor:
    """Distinct random rows out of `count`, a share `probability` of them on average; their number is known on the host."""
    number = int(count * probability + float(torch.rand(())))  # the expected number is count * probability
    return torch.randperm(count, device=device)[:number]


def blurred(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image by its own sigma (B,) in pixels, separable, the border mirrored: (B, C, H, W).

    The kernel is a tenth of the shorter side wide, but 3 at least (SimCLR, arXiv:2002.05709, appendix A).
    """
    b, c, h, w = pixels.shape
    reach = min(max(1, int(0.1 * min(h, w)) // 2), h - 1, w - 1)
    if reach < 1:
        return pixels
    at = torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = (-0.5 * (at / sigma[:, None]).square()).softmax(dim=1)  # (B, K), sums to 1
    kernel = kernel.repeat_interleave(c, dim=0)  # one per plane
    x = F.pad(pixels.reshape(1, b * c, h, w), (reach, reach, reach, reach), mode="reflect")
    x = F.conv2d(x, kernel[:, None, :, None], groups=b * c)
    return F.conv2d(x, kernel[:, None, None, :], groups=b * c).view(b, c, h, w)
