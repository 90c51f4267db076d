"""DMT-JEPA: the target of a hidden patch is gathered from the neighbours that resemble it (arXiv:2405.17995)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import AttentionPredictor, Teacher, pad

from ..images import Images


class Gather(nn.Module):
    """Class attention (CaiT, arXiv:2103.17239): a summary asks itself and others; the answer is added to the rows."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, rows: Tensor, summary: Tensor, others: Tensor, missing: Tensor) -> Tensor:
        """Rows (N, M, D), summary (N, 1, D), others (N, K, D), of which some are `missing`, (N, K) -> (N, M, D)."""
        asked = self.norm1(torch.cat([summary, others], dim=1))
        answer, _ = self.attention(asked[:, :1], asked, asked, F.pad(missing, (1, 0)), need_weights=False)
        rows = rows + answer
        return rows + self.mlp(self.norm2(rows))


class Aggregator(nn.Module):
    """Two such blocks: from the mean token and a patch's neighbours to its target, or over all visible patches."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.blocks, self.leave = nn.ModuleList(Gather(width, heads) for _ in range(2)), nn.LayerNorm(width)

    def around(self, grid: Tensor, count: int) -> Tensor:
        """Of every patch of a grid, (B, H, W, D) -> (B * H * W, D); the mean is of the patch's own image."""
        near, missing = neighbours(grid, count)
        x = grid.mean(dim=(1, 2), keepdim=True).expand_as(grid).reshape(-1, 1, grid.shape[3])  # (N, 1, D)
        for block in self.blocks:
            x = block(x, x, near, missing)
        return self.leave(x[:, 0])

    def among(self, x: Tensor, valid: Tensor) -> Tensor:
        """Of visible patches, (B, L, D), those that are `valid`, (B, L) -> (B, L, D)."""
        share = (valid / valid.sum(dim=1, keepdim=True))[:, :, None].to(x.dtype)
        for block in self.blocks:
            x = block(x, (x * share).sum(dim=1, keepdim=True), x, ~valid)
        return self.leave(x)


def neighbours(grid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` of the 8 neighbours of each patch that are most like it by cosine: (B, H, W, D) -> (N, count, D).

    Beyond the border there is none (the released code goes on at the other side): (N, count), True where one is missing.
    """
    b, h, w, d = grid.shape
    wide = F.pad(grid, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, D)
    inside = F.pad(grid.new_ones(h, w), (1, 1, 1, 1))
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    around = torch.stack([wide[:, i: i + h, j: j + w] for i, j in shifts], dim=3)  # (B, H, W, 8, D)
    there = torch.stack([inside[i: i + h, j: j + w] for i, j in shifts], dim=2) > 0  # (H, W, 8)
    alike = F.cosine_similarity(around, grid[:, :, :, None], dim=4).masked_fill(~there, -2.0)
    found, which = alike.topk(count, dim=3)
    return around.gather(3, which[..., None].expand(-1, -1, -1, -1, d)).view(-1, count, d), (found < -1.5).view(-1, count)


class DMTJEPA(Method):
    """I-JEPA whose teacher gathers each target from its neighbours; the student does so over what it sees.

    Args:
        hidden: inner width of the predictor; 0 for the encoder's.
        momentum: of the teacher, encoder and aggregator.
        neighbours: how many of the 8 a target is made of.
        heads: of attention in the aggregator.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, hidden: int = 0, momentum: float = 0.996,
                 neighbours: int = 4, heads: int = 4) -> None:
        if not 1 <= neighbours <= 8:
            raise ValueError(f"neighbours should be 1 to 8, got {neighbours}")
        super().__init__(encoder, augmentation, objective)
        self.aggregate = Aggregator(encoder.width, heads)
        self.predictor = AttentionPredictor(encoder.width, encoder.axes, encoder.width, hidden, waves=6)
        self.teacher, self.neighbours = Teacher(self.student, momentum), neighbours

    @property
    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "aggregate": self.aggregate})

    def step(self, batch: Images) -> dict[str, Tensor]:
        layout = self.encoder.layout(batch)
        hidden = self.augmentation(layout)  # (T,)
        context = self.encoder(batch, keep=~hidden)
        rows, valid = pad(context.tokens, layout.owner[~hidden], len(context.pooled))
        context = context._replace(tokens=self.aggregate.among(rows, valid)[valid])
        return {"loss": self.compare(self.predictor(context, layout, hidden), self.targets(batch)[hidden])}

    @torch.no_grad()
    def targets(self, batch: Images) -> Tensor:
        """(T, D), one row per patch."""
        slow: Any = self.teacher.copy
        rows = slow["encoder"](batch).tokens
        grid = F.layer_norm(rows, rows.shape[1:]).view(*self.encoder.shape(batch), -1)  # (B, H, W, D)
        return slow["aggregate"].around(grid, self.neighbours)

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.student, self.progress)

    @property
    def kept(self) -> Any:
        """The teacher's encoder, as of I-JEPA."""
        slow: Any = self.teacher.copy
        return slow["encoder"]
