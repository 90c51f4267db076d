"""DirectPred: the predictor in closed form, from the correlation of its inputs (arXiv:2102.06810)."""
from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..distributed import average
from .bounds import at_least, shares


class DirectPred(nn.Module):
    """Point the same way as the target, seen through a linear predictor that is computed, not trained.

    Args:
        form: `eigen`: the roots of the correlation's eigenvalues (DirectPred); `copy`: the correlation itself (DirectCopy).
        momentum: share of the correlation that stays each step (rho).
        epsilon: added to every eigenvalue, relative to the largest (`eigen`) or to the norm (`copy`).
        every: steps between two predictors.
    """

    gathers = True
    progress = Progress()
    correlation: Tensor
    predictor: Tensor

    def __init__(self, form: Literal["eigen", "copy"] = "eigen", momentum: float = 0.3, epsilon: float = 0.01,
                 every: int = 1) -> None:
        super().__init__()
        at_least(1, every=every)
        at_least(0, epsilon=epsilon)
        shares(momentum=momentum)
        self.form, self.momentum, self.epsilon, self.every = form, momentum, epsilon, every
        self.held: list[Tensor] = []

    def allocate(self, width: int) -> None:
        self.register_buffer("correlation", torch.zeros(width, width))
        self.register_buffer("predictor", torch.eye(width))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Rows of the student's projector (N, D), targets (N, D) -> ()."""
        if self.training:
            self.held.append(a.detach().T @ a.detach() / len(a))
        return 2 - 2 * F.cosine_similarity(a @ self.predictor, b.detach(), dim=1).mean()

    @torch.no_grad()
    def after_step(self) -> None:
        if self.held:
            seen = average(torch.stack(self.held).mean(dim=0))
            self.correlation.lerp_(seen.to(self.correlation.dtype), 1 - self.momentum)
            if self.progress.step % self.every == 0:
                self.predictor.copy_(self.solved())
        self.held = []

    def solved(self) -> Tensor:
        """The predictor of the correlation, (D, D), symmetric. The cosine ignores its scale."""
        if self.form == "copy":
            eye = torch.eye(len(self.correlation), device=self.correlation.device, dtype=self.correlation.dtype)
            return self.correlation / self.correlation.norm().clamp(min=1e-12) + self.epsilon * eye
        values, vectors = torch.linalg.eigh(self.correlation)  # ascending
        share = (values.clamp(min=0) / values[-1].clamp(min=1e-12)).sqrt()
        return vectors * (share + self.epsilon).clamp(min=1e-4) @ vectors.T
