"""Alice: the same anatomy of two bodies, compared and restored (arXiv:2302.05615)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher, mlp
from ssl_core.objectives.dino import DINO

from ..augmentations import hide
from ..decoders import Decoder, with_maps
from ..volumes import Size, Volumes


class Aligned(nn.Module):
    """Cross attention from the student's tokens to those of a decoder, shared by student and teacher (the paper's CASA)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.net = mlp(width, 4 * width, width, norm="none", activation=nn.GELU)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """(B, L, D), (B, M, D) -> (B, L, D)."""
        tokens = self.norm1(tokens + self.attention(tokens, context, context, need_weights=False)[0])
        return self.norm2(tokens + self.net(tokens))


class Alice(Method):
    """Views are cut at one place of two bodies; the student sees them with blocks hidden, its slow copy sees all of them.

    Three terms: the row of a view and the teacher's row of the other body's; each token and the teacher's token of the same
    view, after both looked at a decoder by cross attention; and the hidden voxels. The published code rebuilds all voxels
    and clips the gradient of the student only; here hidden voxels count, and `trainer.clip` clips everything. Where the
    paper finds the same anatomy by a pre-trained landmark model, here it is the same place in the foreground's box
    (`data.paired`), a weaker correspondence.

    Args:
        image_size: of the cubes; from the data.
        projector: widths of the head of rows and tokens. (The paper: 2048, 2048, 256.)
        patch: side of the hidden blocks in voxels. (The paper: 16, for cubes of 64 and 96.)
        ratio: share of blocks that the student does not see.
        width: channels of the decoder, and of the cross attention.
        heads: of the cross attention.
        momentum: of the teacher.
        prototypes: of the comparison of tokens.
        pair, token, restore: weights of the terms. (The paper: 1, 1, 10.)
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, image_size: Size,
                 projector: tuple[int, ...] = (256, 128), patch: int = 8, ratio: float = 0.75, width: int = 32, heads: int = 4,
                 momentum: float = 0.996, prototypes: int = 256, pair: float = 1.0, token: float = 1.0, restore: float = 10.0
                 ) -> None:
        super().__init__(with_maps(encoder, type(self).__name__), augmentation, objective, projector[-1])
        channels = len(encoder.normalized.mean)
        fine = [i for i, stride in enumerate(encoder.strides) if min(image_size) // stride >= 2]
        self.level = max(fine, default=0)  # the coarsest map with more than one place along each axis
        self.decoder = Decoder(encoder.maps, encoder.strides, channels, width)
        self.rows = mlp(encoder.width, *projector)
        self.enter = nn.Conv3d(encoder.maps[self.level], width, 1)
        self.align, self.tokens = Aligned(width, heads), mlp(width, *projector)
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "decoder": self.decoder, "rows": self.rows}), momentum)
        self.alike = DINO(prototypes, momentum=momentum)  # of tokens; `objective` is of rows
        self.alike.allocate(projector[-1])
        self.patch, self.ratio, self.weights = patch, ratio, (pair, token, restore)

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        rows, tokens, wanted, slow, restored = [], [], [], [], []
        for view in self.augmentation(batch):
            row, token, query, rebuilt = self.student(view)
            with torch.no_grad():
                target, context = self.slow(view)
                slow.append(self.tokens(self.align(query, context).flatten(0, 1)))
            rows.append(row)
            tokens.append(token)
            wanted.append(target)
            restored.append(rebuilt)
        with torch.autocast(rows[0].device.type, enabled=False):  # with two views, the other target is that of the same view
            alike = self.alike(*(t.float() for t in tokens), targets=[t.float() for t in slow[::-1]])
        terms = self.compare(*rows, targets=wanted), alike, sum(restored) / len(restored)
        loss = sum(weight * term for weight, term in zip(self.weights, terms, strict=True))
        return {"loss": loss, "pair": terms[0], "token": terms[1], "restore": terms[2]}

    def student(self, view: Volumes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Row (B, P), tokens (B * L, P), their queries (B, L, width), and the error on hidden voxels."""
        shape, clean = view.voxels.shape[2:], self.encoder.normalized(view.voxels)
        hidden = hide(len(clean), shape, self.patch, self.ratio, clean.device)
        blank = self.encoder.normalized.mean.to(view.voxels.dtype)
        maps = self.encoder.features(view._replace(voxels=torch.where(hidden, blank, view.voxels)))
        inner = self.decoder.inner(maps, shape)
        error = (self.decoder.leave(inner).float() - clean).square() * hidden
        query = self.enter(maps[self.level]).flatten(2).transpose(1, 2)
        aligned = self.align(query, at(inner, maps[self.level]))
        row = self.rows(maps[-1].mean(dim=(2, 3, 4)))
        return row, self.tokens(aligned.flatten(0, 1)), query, error.sum() / (hidden.sum() * clean.shape[1])

    def slow(self, view: Volumes) -> tuple[Tensor, Tensor]:
        """The teacher's row (B, P), and its decoder's tokens (B, L, width)."""
        parts: Any = self.teacher.copy
        maps = parts["encoder"].features(view)
        inner = parts["decoder"].inner(maps, view.voxels.shape[2:])
        return parts["rows"](maps[-1].mean(dim=(2, 3, 4))), at(inner, maps[self.level])

    def after_step(self) -> None:
        super().after_step()
        self.alike.after_step()
        self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder, "rows": self.rows}), self.progress)


def at(inner: Tensor, like: Tensor) -> Tensor:
    """A decoder's map (B, W, X, Y, Z) as tokens at the places of a coarser one: (B, L, W)."""
    return F.adaptive_avg_pool3d(inner, like.shape[2:]).flatten(2).transpose(1, 2)
