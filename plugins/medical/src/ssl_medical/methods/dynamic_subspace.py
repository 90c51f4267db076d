"""Dynamic subspace learners: ever more of them, each with a slice of the embedding and a cluster of data (arXiv:2206.09068)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import DataError, Method, Progress
from ssl_core.stores import Queue, spherical_kmeans

from ..decoders import with_maps
from ..volumes import Volumes


class Margin(nn.Module):
    """Pairs of one class closer than beta - margin, others farther than beta + margin (arXiv:1706.07567, sections 4.1 and 4.2).

    Each pair of one class comes with one other row, drawn by its distance so that near and far ones are as likely.

    Args:
        beta: distance of unit rows at which they are neither near nor far.
        margin: around it.
    """

    def __init__(self, beta: float = 1.2, margin: float = 0.2) -> None:
        super().__init__()
        if not 0 < margin < beta < 2:
            raise ValueError(f"margin should be above 0 and below beta, and beta below 2, got {margin} and {beta}")
        self.beta, self.margin = beta, margin

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        """V times (N, D), labels (N,) long -> (). An item labelled -1 has its own views for a class.

        Raises:
            DataError: the labels are quantities.
        """
        if labels.is_floating_point():
            raise DataError("Margin needs classes; these labels are quantities.\n  Try: labels that are whole numbers")
        rows = F.normalize(torch.cat(views), dim=1)
        own = -1 - torch.arange(len(labels), device=labels.device)
        kind = torch.where(labels < 0, own, labels).repeat(len(views))
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        same, other = (kind[:, None] == kind) & ~itself, kind[:, None] != kind
        apart = (2 - 2 * rows @ rows.T).masked_fill(itself, 1.0).clamp(min=1e-8).sqrt()  # (M, M)
        near = (apart - self.beta + self.margin).relu() * same
        chosen = torch.multinomial(self.likelihood(apart.detach(), other, rows.shape[1]), len(rows), replacement=True)
        asked = same & other.any(dim=1, keepdim=True)
        far = (self.beta + self.margin - apart.gather(1, chosen)).relu() * asked
        return (near + far).sum() / ((near > 0) | (far > 0)).sum().clamp(min=1)

    def likelihood(self, apart: Tensor, other: Tensor, width: int) -> Tensor:
        """How likely a row is drawn for another, (M, M): one over the density of distances on a sphere, up to 1.4."""
        d = apart.clamp(min=0.5)
        inverse = (2 - width) * d.log() - (width - 3) / 2 * (1 - d.square() / 4).clamp(min=1e-8).log()
        weight = (inverse - inverse.masked_fill(~other, -torch.inf).amax(dim=1, keepdim=True).clamp(min=-1e30)).exp()
        usable = other & (apart < 1.4)
        weight = torch.where(usable.any(dim=1, keepdim=True), weight * usable, other.to(weight.dtype))
        return torch.where(weight.sum(dim=1, keepdim=True) > 0, weight, torch.ones_like(weight))  # nobody to draw: not asked


class DynamicSubspace(Method):
    """One learner at first; then embeddings are clustered and the embedding is sliced anew, each time for one learner more.

    A learner compares the items of its cluster by its slice. In the end all items are compared by the whole embedding. Places
    of the coarsest map are gated by attention before they are averaged; the gates are a weak segmentation
    (`attention`). The paper stops adding learners by a score on validation data, here their number is given.

    Args:
        encoder: one that gives maps.
        augmentation: views.
        objective: of rows with labels: `margin`, or `supcon`.
        width: of the embedding.
        learners: how many in the end.
        joint: share of training from which on all learn together.
        memory: past rows that are clustered.
    """

    centres: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, width: int = 128, learners: int = 4,
                 joint: float = 0.75, memory: int = 1024) -> None:
        super().__init__(with_maps(encoder, type(self).__name__), augmentation, objective, width)
        if not 1 <= learners <= width or not 0 < joint <= 1:
            raise ValueError(f"learners should be 1 to width={width} and joint lie in (0, 1], got {learners} and {joint}")
        self.gate, self.leave = nn.Conv3d(encoder.maps[-1], 1, 1), nn.Linear(encoder.maps[-1], width)
        self.learners, self.joint, self.seen = learners, joint, Queue(memory, width)
        self.register_buffer("centres", F.normalize(torch.randn(learners, width), dim=1))

    def now(self, progress: Progress) -> int:
        """How many learners there are; 0: all learn together."""
        if progress.fraction >= self.joint:
            return 0
        return min(self.learners, 1 + int(progress.fraction / self.joint * self.learners))

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        rows = [self.rows(view) for view in self.augmentation(batch)]
        labels, learners = self.labels(batch), self.now(self.progress)
        self.seen.hold(F.normalize(rows[0].detach().float(), dim=1))
        if learners < 2:
            return {"loss": self.compare(*rows, labels=labels)}
        middle = F.normalize(torch.stack(rows).mean(dim=0).detach().float(), dim=1)
        mine = (middle @ self.centres[:learners].T).argmax(dim=1)  # (B,)
        losses = []
        for k in range(learners):
            own = mine == k
            part = [row.tensor_split(learners, dim=1)[k][own] for row in rows]
            losses.append(self.compare(*part, labels=labels[own]) if len(part[0]) else 0 * rows[0].sum())
        return {"loss": torch.stack(losses).mean()}

    def rows(self, view: Volumes) -> Tensor:
        """Embeddings, (B, width)."""
        coarse = self.encoder.features(view)[-1]
        gate = self.gate(coarse).sigmoid()
        return self.leave((coarse * gate).sum(dim=(2, 3, 4)) / gate.sum(dim=(2, 3, 4)).clamp(min=1e-6))

    @torch.no_grad()
    def attention(self, batch: Volumes) -> Tensor:
        """The gates at the size of the volumes, (B, 1, X, Y, Z) from 0 to 1."""
        gate = self.gate(self.encoder.features(batch)[-1]).sigmoid()
        return F.interpolate(gate, batch.voxels.shape[2:], mode="trilinear", align_corners=False)

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        count = len(self.seen.held[0]) if self.seen.held else 0
        self.seen.advance()
        done, total = self.progress
        before, after = self.now(self.progress), self.now(Progress(done + 1, total))
        if after > before:  # a learner more: cluster what was seen
            known = self.seen.latest(min(len(self.seen.rows), (done + 1) * count))
            self.centres[:after] = spherical_kmeans(known, after)
