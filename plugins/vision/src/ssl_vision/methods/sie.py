"""SIE: one half of the representation keeps still under a transformation, the other moves as it says (arXiv:2302.10283)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from ..images import Images
from ..views import ACTION, between


class SIE(Method):
    """Split invariant and equivariant representations. Its objective keeps the rows of both views alive and apart.

    The paper turns rendered objects in space; here the transformation is the crop, turn and colour that lead from one view
    to the other.

    Args:
        projector: widths of the two heads, one for each half.
        invariance: weight of the distance between the invariant halves.
        equivariance: weight of the distance between the other half and what the transformation makes of its partner.
        variance: weight of the hinge that keeps the columns of that prediction alive.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (1024, 1024, 1024),
                 invariance: float = 10.0, equivariance: float = 4.5, variance: float = 5.0) -> None:
        super().__init__(encoder, augmentation, objective, 2 * projector[-1])
        if encoder.width % 2:
            raise ValueError(f"the width of the encoder should be even, to be split in two; it is {encoder.width}")
        self.still, self.moving = (mlp(encoder.width // 2, *projector) for _ in range(2))
        self.predictor = Hypernetwork(ACTION, projector[-1])
        self.weights = invariance, equivariance, variance

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = self.augmentation(batch)
        (still, moving), (same, moved) = self.halves(a), self.halves(b)
        apart = self.compare(torch.cat([still, moving], dim=1), torch.cat([same, moved], dim=1))
        guess = self.predictor(moving, between(a, b)).float()
        invariance, equivariance = F.mse_loss(still.float(), same.float()), F.mse_loss(guess, moved.float())
        alive = F.relu(1 - (guess.var(dim=0) + 1e-4).sqrt()).mean()
        loss = apart + sum(w * x for w, x in zip(self.weights, (invariance, equivariance, alive), strict=True))
        return {"loss": loss, "invariance": invariance, "equivariance": equivariance}

    def halves(self, view: Images) -> tuple[Tensor, Tensor]:
        """Rows of the invariant and of the equivariant half, (B, D) each."""
        still, moving = self.encoder(view).pooled.chunk(2, dim=1)
        return self.still(still), self.moving(moving)


class Hypernetwork(nn.Module):
    """A linear map whose weights are a linear function of an action, without bias: W(action) rows.

    W(action) = sum_k action_k W_k is never made: sum_k action_k (W_k rows) is one product of matrices.

    Args:
        action: how many numbers an action has (K).
        width: of the rows (D).
    """

    def __init__(self, action: int, width: int) -> None:
        super().__init__()
        self.bank = nn.Linear(action * width, width, bias=False)  # all W_k, side by side

    def forward(self, rows: Tensor, action: Tensor) -> Tensor:
        """(N, D), (N, K) -> (N, D)."""
        return self.bank((action[:, :, None].to(rows.dtype) * rows[:, None]).flatten(1))
