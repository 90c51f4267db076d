"""TOV-VICReg: VICReg on one frame, and do three frames come in the order of time? (arXiv:2209.10901)"""
from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from ..images import Images


class TOVVICReg(Method):
    """The augmentation gives two strong views of the middle frame, and three frames in order.

    Half of the triples are in the order of time, the other half in one of the five other orders; the class is 1 for those in
    order and for no others.

    Args:
        projector: widths of the head of the strong views.
        temporal: weight of the question about the order.
    """

    orders: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (1024, 1024, 1024),
                 temporal: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        self.projector, self.judge = mlp(encoder.width, *projector), nn.Linear(3 * encoder.width, 1)
        self.register_buffer("orders", torch.tensor(list(permutations(range(3)))), persistent=False)  # the first is in order
        self.temporal = temporal

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b, *frames = self.augmentation(batch)
        spread = self.compare(*(self.projector(self.encoder(view).pooled) for view in (a, b)))
        # all frames in one pass: the statistics of a batch norm would tell the first frames from the last
        rows = self.encoder(Images(torch.cat([frame.pixels for frame in frames]))).pooled.view(3, len(a.pixels), -1)
        shown, in_order = self.shuffled(rows)
        order = F.binary_cross_entropy_with_logits(self.judge(shown)[:, 0].float(), in_order)
        return {"loss": spread + self.temporal * order, "order": order}

    def shuffled(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (3, B, D) side by side, in order or not: (B, 3 D), and 1.0 where they are in order, (B,)."""
        b = rows.shape[1]
        in_order = torch.rand(b, device=rows.device) < 0.5
        drawn = torch.where(in_order, 0, torch.randint(1, len(self.orders), (b,), device=rows.device))
        shown = rows.transpose(0, 1)[torch.arange(b, device=rows.device)[:, None], self.orders[drawn]]  # (B, 3, D)
        return shown.flatten(1), in_order.float()
