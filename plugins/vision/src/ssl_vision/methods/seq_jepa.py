"""seq-JEPA: from some views and the actions between them, predict the next one's representation (arXiv:2505.03176)."""
from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher

from ..images import Images
from ..views import ACTION, View, between


class SeqJEPA(Method):
    """The representation of one view stays equivariant; what a transformer gathers from several becomes invariant.

    The last view of the augmentation is the one to predict. The paper's actions are turns of rendered objects or movements of
    the eye; here they are the crop, turn and colour that lead from each view to the next.

    Args:
        action: width of an embedded action.
        depth, heads: of the transformer; `heads` divides the encoder's width.
        hidden: inner width of the predictor.
        momentum: of the teacher; the paper holds it constant, here it rises to 1.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, action: int = 128, depth: int = 3, heads: int = 4,
                 hidden: int = 1024, momentum: float = 0.996) -> None:
        super().__init__(encoder, augmentation, objective)
        if encoder.width % heads:
            raise ValueError(f"heads should divide the encoder's width {encoder.width}, got {heads}")
        if getattr(augmentation, "views", 3) < 3:
            raise ValueError(f"augmentation.views should be 3 or more, one of them to predict; got {augmentation.views}")
        width = encoder.width
        self.action = nn.Sequential(nn.Linear(ACTION, action, bias=False), nn.BatchNorm1d(action, affine=False))
        self.enter, self.first = nn.Linear(width + action, width), nn.Parameter(torch.randn(width) * 0.02)
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.predictor = nn.Sequential(nn.Linear(width + action, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
                                       nn.Linear(hidden, width))
        self.teacher = Teacher(encoder, momentum)

    def step(self, batch: Images) -> dict[str, Tensor]:
        *seen, last = self.augmentation(batch)
        count, items = len(seen), len(last.pixels)
        steps = torch.cat([between(a, b) for a, b in pairwise([*seen, last])])
        actions = self.action(steps).view(count, items, -1)  # (T, B, action)
        rows = self.encoder(Images(torch.cat([view.pixels for view in seen]))).pooled.view(count, items, -1)
        gathered = self.gather(rows, actions[:-1])
        guess = self.predictor(torch.cat([gathered, actions[-1].to(gathered.dtype)], dim=1))
        return {"loss": self.compare(guess, self.teacher(last).pooled)}

    def gather(self, rows: Tensor, actions: Tensor) -> Tensor:
        """Views (T, B, D) and the actions between them (T - 1, B, A) as one row for each item, (B, D)."""
        actions = torch.cat([actions, torch.zeros_like(actions[:1])]).to(rows.dtype)  # the last view has none to look at
        tokens = self.enter(torch.cat([rows, actions], dim=2)).transpose(0, 1)  # (B, T, D)
        first = self.first.to(tokens.dtype).expand(len(tokens), 1, -1)
        return self.body(torch.cat([first, tokens], dim=1))[:, 0]

    @torch.no_grad()
    def together(self, views: list[View]) -> Tensor:
        """What the transformer gathers from some views, (B, D): the invariant representation."""
        rows = torch.stack([self.encoder(view).pooled for view in views])
        return self.gather(rows, torch.stack([self.action(between(a, b)) for a, b in pairwise(views)]))

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.encoder, self.progress)
