"""Table integration: rows of several sources that mean the same thing should lie together (arXiv:2412.00324; as recalled).

Only the matching is here: the paper's released code does not train, and its clustering and its conflict resolution by a
language model are no representation learning. Rows are read as columns, not as one text.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_core import Method
from ssl_core.modules import mlp


class Integration(Method):
    """Contrast of a row with its variants, and once more with its embedding moved to where that is hardest.

    The loss is that of the pairs plus `weight` times that of z + epsilon * g / |g|, with g the gradient of the first by z.

    Args:
        encoder, augmentation, objective: of rows; the row and its variants; of pairs of rows (N, D).
        projector: widths of the head that is compared.
        epsilon: length of the adversarial move.
        weight: of the loss after it.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 128),
                 epsilon: float = 0.01, weight: float = 0.5) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1] if projector else encoder.width)
        if epsilon < 0 or weight < 0:
            raise ValueError(f"epsilon and weight should be 0 or more, got {epsilon} and {weight}")
        self.projector, self.epsilon, self.weight = mlp(encoder.width, *projector, norm="layer"), epsilon, weight

    def step(self, batch: Any) -> dict[str, Tensor]:
        rows = [self.projector(self.encoder(view).pooled).float() for view in self.augmentation(batch)]
        plain = self.contrast(rows)
        if not torch.is_grad_enabled():
            return {"loss": plain, "contrast": plain}
        slopes = torch.autograd.grad(plain, rows, retain_graph=True)
        moved = [row + self.epsilon * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
                 for row, slope in zip(rows, slopes, strict=True)]
        hard = self.contrast(moved)
        return {"loss": plain + self.weight * hard, "contrast": plain, "adversarial": hard}

    def contrast(self, rows: list[Tensor]) -> Tensor:
        """The mean loss of the first row with each of the others."""
        return torch.stack([self.compare(rows[0], other) for other in rows[1:]]).mean()
