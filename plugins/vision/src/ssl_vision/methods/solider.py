"""SOLIDER: views agree, tokens name the part they show, and one number says how much of each (arXiv:2303.17602)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError, Method
from ssl_core.modules import Teacher, mlp

from ..images import Images
from ..regions import clustered


class Solider(Method):
    """Self-distillation of views, and of parts: the teacher's tokens, clustered and ordered from top to bottom.

    In each step a coin decides between both, and the encoder is told (`semantic`), so that any mixture can be had of it later:
    `encoder.semantic`. The published one also blanks parts of the view that it classifies.

    Args:
        projector: widths of the head that the objective sees.
        parts: how many, besides the background.
        momentum: of the teacher.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (2048, 2048, 256),
                 parts: int = 3, momentum: float = 0.996) -> None:
        if not hasattr(encoder, "semantic"):
            raise ConfigError(f"Solider needs an encoder that is told how semantic to be, which {type(encoder).__name__} is "
                              f"not.\n  Try: encoder=swin encoder.controlled=true")
        super().__init__(encoder, augmentation, objective, projector[-1])
        self.projector = mlp(encoder.width, *projector)
        self.classify, self.parts = nn.Linear(encoder.width, parts + 1), parts
        self.teacher = Teacher(self.student, momentum)

    @property
    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})

    def step(self, batch: Images) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        semantic = torch.randint(2, (), device=batch.pixels.device).float()
        slow: Any = self.teacher.copy
        with torch.no_grad():
            taught = [slow["encoder"](view, semantic=semantic) for view in views]
            targets = [slow["projector"](item.pooled) for item in taught]
            kinds = [parts(item.tokens.view(*self.encoder.shape(view), -1), self.parts)
                     for item, view in zip(taught, views, strict=True)]
        found = [self.encoder(view, semantic=semantic) for view in views]
        agree = self.compare(*(self.projector(item.pooled) for item in found), targets=targets)
        named = torch.stack([F.cross_entropy(self.classify(item.tokens).float(), kind.flatten())
                             for item, kind in zip(found, kinds, strict=True)]).mean()
        return {"loss": (1 - semantic) * agree + semantic * named, "agree": agree, "parts": named}

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.student, self.progress)


@torch.no_grad()
def parts(grid: Tensor, count: int) -> Tensor:
    """The part of each token: 0 the background, whose tokens are short; then from top to bottom: (B, H, W, D) -> (B, H * W)."""
    b, h, w, _ = grid.shape
    rows = grid.flatten(1, 2).float()
    size = rows.norm(dim=2, keepdim=True)
    front = clustered(size, (size > size.mean(dim=1, keepdim=True)).long()[:, :, 0], 2) > 0  # (B, L)
    row = torch.arange(h, device=grid.device).repeat_interleave(w)
    found = clustered(F.normalize(rows, dim=2), (row * count // h).expand(b, -1), count, front)
    members = F.one_hot(found, count) * front[:, :, None]
    height = (members * row[:, None]).sum(dim=1) / members.sum(dim=1).clamp(min=1)  # (B, parts), of their tokens on average
    return torch.where(front, 1 + height.argsort(dim=1).argsort(dim=1).gather(1, found), 0)
