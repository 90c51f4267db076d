"""LeJEPA: views agree, and rows are isotropic Gaussian, which a test on random slices enforces (arXiv:2511.08544)."""
from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import from_first, total, world
from ..modules import mean
from .bounds import at_least, shares


class LeJEPA(nn.Module):
    """(1 - weight) invariance + weight SIGReg; no teacher, no stopped gradient.

    Args:
        weight: of the test of normality (lambda).
        slices: random directions per step, the same on all processes.
        knots: points of the characteristic function, from 0 to 3.
        pool: test every `view` on its own, or `all` views as one sample, whose statistic is larger.
        target_views: how many of the views, the first ones, make the centre of an item (the large crops); 0 for all.
    """

    gathers = True

    def __init__(self, weight: float = 0.05, slices: int = 1024, knots: int = 17, pool: Literal["view", "all"] = "view",
                 target_views: int = 0) -> None:
        super().__init__()
        shares(weight=weight)
        at_least(1, slices=slices)
        at_least(2, knots=knots)
        at_least(0, target_views=target_views)
        self.weight, self.slices, self.knots, self.pool, self.target_views = weight, slices, knots, pool, target_views

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> ()."""
        directions = F.normalize(torch.randn(views[0].shape[1], self.slices, device=views[0].device), dim=0)
        directions = from_first(directions).to(views[0].dtype)
        samples = views if self.pool == "view" else (torch.cat(views),)
        normal = mean(non_normality(rows @ directions, self.knots) for rows in samples)
        return (1 - self.weight) * spread(views, self.target_views) + self.weight * normal


def spread(views: tuple[Tensor, ...], target_views: int = 0) -> Tensor:
    """Mean squared distance of the views from the centre of the first `target_views` of them (0: of all)."""
    rows = torch.stack(views)
    return (rows - rows[: target_views or None].mean(dim=0)).square().mean()


def non_normality(x: Tensor, knots: int = 17, largest: float = 3.0) -> Tensor:
    """The Epps-Pulley statistic of each column against N(0, 1), averaged: (N, S) -> (). About 1.05 for a normal sample.

    N times the integral over t in [-largest, largest] of |mean exp(i t x) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by the
    trapezoid rule on `knots` points of its even half; over the rows of all processes.
    """
    step = largest / (knots - 1)
    t = torch.arange(knots, device=x.device, dtype=x.dtype)[:, None] * step
    weights = torch.full_like(t, 2 * step)
    weights[0] = weights[-1] = step
    gauss = torch.exp(-t.square() / 2)
    n = len(x) * world()
    cosines, sines = (total(sums) / n for sums in _PowerSums.apply(x, step, knots))  # (knots, S) each
    gap = (cosines - gauss).square() + sines.square()
    return n * (weights * gauss * gap).sum(dim=0).mean()


class _PowerSums(torch.autograd.Function):
    """Sums over rows of cos(k step x) and sin(k step x) for k = 0 ... knots - 1: (N, S) -> (knots, S) twice.

    With z = exp(i step x) these are the sums of z^k: one sine and cosine per entry, then multiplications. Nothing of
    size N x S x knots is made; the backward pass evaluates the polynomial in z by Horner's rule.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, knots: int) -> Any:
        ctx.save_for_backward(x)
        ctx.step = step
        z = torch.polar(torch.ones_like(x), x * step)
        power, sums = z.clone(), [z.new_full(x.shape[1:], len(x))]
        for k in range(1, knots):
            sums.append(power.sum(dim=0))
            if k < knots - 1:
                power.mul_(z)
        out = torch.stack(sums)
        return out.real.contiguous(), out.imag.contiguous()

    @staticmethod
    def backward(ctx: Any, by_cosine: Tensor, by_sine: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        k = torch.arange(len(by_cosine), device=x.device, dtype=x.dtype)[:, None] * ctx.step
        slope = torch.complex(k * by_sine, k * by_cosine)  # d/dx Re(a z^k - i b z^k) = Re((b + i a) k step z^k)
        z = torch.polar(torch.ones_like(x), x * ctx.step)
        value = slope[-1].expand_as(z).clone()
        for row in reversed(slope[:-1]):
            value.mul_(z).add_(row)
        return value.real, None, None
