"""SupReMix: contrast for quantities, with mixtures as hard negatives and hard positives (arXiv:2309.16633)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import average, gather, rank, world
from .bounds import at_least, positive


class SupReMix(nn.Module):
    """Rows of equal labels are positives; the others are negatives, weighted by how far their labels are.

    Added are, for each anchor, mixtures of itself and another row (hard negatives), and mixtures of a row with a smaller
    and one with a larger label that have its own label (hard positives).

    Args:
        temperature: of the softmax over cosine similarities.
        window: how far the labels in a mixed positive may be from the anchor's, in standard deviations of the labels.
        mixtures: of each kind, per anchor.
        alpha, beta: of the anchor's share in a mixed negative, drawn from Beta(alpha, beta).
    """

    def __init__(self, temperature: float = 0.1, window: float = 1.0, mixtures: int = 4, alpha: float = 2.0,
                 beta: float = 8.0) -> None:
        super().__init__()
        positive(temperature=temperature, window=window, alpha=alpha, beta=beta)
        at_least(0, mixtures=mixtures)
        self.scale, self.window, self.mixtures = 1 / temperature, window, mixtures
        self.alpha, self.beta = alpha, beta

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        """V times (N, D), labels (N,), quantities or ordered classes -> (). Items without one (NaN) are left out."""
        rows, y = F.normalize(torch.cat(views), dim=1), standard(labels.to(views[0].dtype)).repeat(len(views))
        everyone, theirs = gather(rows), gather(y)
        gap = theirs - y[:, None]  # (M, all); NaN compares false with everything
        myself = torch.zeros_like(gap, dtype=torch.bool)
        myself.diagonal(rank() * len(rows)).fill_(True)
        logits = rows @ everyone.T * self.scale
        candidates, weights = [logits], [gap.abs().nan_to_num()]
        positives, true = [logits], [(gap == 0) & ~myself]
        if self.mixtures:
            for parts, more in zip((candidates, weights, positives, true),
                                   (*self.hard_negatives(rows, everyone, gap), *self.hard_positives(rows, everyone, gap)),
                                   strict=True):
                parts.append(more)
        positive, wanted = torch.cat(positives, dim=1), torch.cat(true, dim=1)
        against = (torch.cat(candidates, dim=1) + torch.cat(weights, dim=1).clamp(min=1e-30).log()).logsumexp(dim=1)
        loss = (F.softplus(against[:, None] - positive) * wanted).sum(dim=1) / wanted.sum(dim=1).clamp(min=1)
        anchors = average(wanted.any(dim=1).sum().to(loss.dtype))  # per process, so that the mean over them is exact
        return loss.sum() / anchors.clamp(min=1 / world())

    def hard_negatives(self, rows: Tensor, everyone: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and weights, (M, mixtures) each, of mixtures with any row: one of an equal label weighs nothing."""
        other = torch.randint(gap.shape[1], (len(rows), self.mixtures), device=rows.device)
        ends = rows.new_full((), self.alpha), rows.new_full((), self.beta)  # on the device, unlike numbers
        share = torch.distributions.Beta(*ends, validate_args=False).sample(other.shape)
        mixed = share[..., None] * rows[:, None] + (1 - share[..., None]) * everyone[other]
        return self.alike(rows, mixed), (1 - share) * gap.gather(1, other).abs().nan_to_num()

    def hard_positives(self, rows: Tensor, everyone: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of mixtures across the anchor's label, and which exist, (M, mixtures) each."""
        near = gap.abs() <= self.window
        below, above = (torch.multinomial((near & side).to(rows.dtype) + 1e-20, self.mixtures, replacement=True)
                        for side in (gap < 0, gap > 0))
        down, up = gap.gather(1, below), gap.gather(1, above)
        exists = (down < 0) & (up > 0) & (up <= self.window) & (-down <= self.window)
        share = torch.where(exists, up / (up - down), 0.5)[..., None]  # share down + (1 - share) up = 0
        return self.alike(rows, share * everyone[below] + (1 - share) * everyone[above]), exists

    def alike(self, rows: Tensor, mixed: Tensor) -> Tensor:
        """Logits of each row with its own mixtures, (M, D), (M, S, D) -> (M, S)."""
        return torch.einsum("md,msd->ms", rows, F.normalize(mixed, dim=2)) * self.scale


def standard(labels: Tensor) -> Tensor:
    """Labels in standard deviations of those of all processes; NaN stays."""
    known = gather(labels)
    middle = known.nanmean()
    deviation = (known - middle).square().nanmean().sqrt()
    return (labels - middle) / deviation.clamp(min=1e-12)
