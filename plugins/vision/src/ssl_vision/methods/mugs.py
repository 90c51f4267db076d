"""Mugs: one image, its neighbourhood and its cluster, each with a head and a slow copy (arXiv:2203.14415)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError, Method, Representation
from ssl_core.modules import Norm, Teacher, mlp
from ssl_core.objectives.moco import MoCo
from ssl_core.stores import Queue

from ..images import Images


class Mugs(Method):
    """Three supervisions of equal weight: MoCo on instances, MoCo on local groups, and the objective, DINO, on clusters.

    A local group is the mean of an image's tokens and the means nearest to it of past images, joined by a transformer block.
    Here all pairs of crops weigh alike; in the paper large crops together weigh as much as small ones together. Past images
    are remembered by the teacher's view of them without augmentation, where the paper's is a weak one.

    Args:
        projector: widths of each of the three heads; the last is what the objectives see.
        predictor: hidden widths of the student's second head, on instances and on groups.
        norm: normalisation inside the heads.
        queue: past rows that instances and groups are told from.
        memory: past images among which neighbours are looked for.
        neighbours: of an image in its group.
        heads: of attention in the block; they divide the encoder's width.
        temperature: of both contrasts.
        momentum: of the teacher.
        teacher_views: how many of the views, the first ones, the teacher sees.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (2048, 2048, 256),
                 predictor: tuple[int, ...] = (4096,), norm: Norm = "none", queue: int = 65536, memory: int = 65536,
                 neighbours: int = 8, heads: int = 4, temperature: float = 0.2, momentum: float = 0.996,
                 teacher_views: int = 2) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if not 1 <= neighbours <= memory:
            raise ValueError(f"neighbours should lie between 1 and memory={memory}, got {neighbours}")
        made = {name: mlp(encoder.width, *projector, norm=norm, activation=nn.GELU)
                for name in ("instance", "group", "cluster")}
        self.student = nn.ModuleDict(made | {"encoder": encoder, "join": Group(encoder.width, heads)})
        self.teacher = Teacher(self.student, momentum)
        second = (projector[-1], *predictor, projector[-1])
        self.predictors = nn.ModuleDict({name: mlp(*second, norm=norm, activation=nn.GELU) for name in ("instance", "group")})
        self.contrasts = nn.ModuleDict({name: MoCo(temperature, queue) for name in self.predictors})
        for contrast in self.contrasts.values():
            contrast.allocate(projector[-1])
        self.memory, self.neighbours, self.teacher_views = Queue(memory, encoder.width), neighbours, teacher_views

    def step(self, batch: Images) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        guesses = [self.rows(self.student, view) for view in views]
        with torch.no_grad():
            targets = [self.rows(self.teacher.copy, view) for view in views[: self.teacher_views or None]]
            self.memory.hold(patches(self.teacher.copy["encoder"](batch)))
        losses = {name: self.compare(*(self.predictors[name](guess[name]) for guess in guesses),
                                     targets=[target[name] for target in targets], by=contrast)
                  for name, contrast in self.contrasts.items()}
        losses["cluster"] = self.compare(*(guess["cluster"] for guess in guesses), targets=[t["cluster"] for t in targets])
        return {"loss": sum(losses.values()) / 3} | losses

    def rows(self, branch: Any, view: Images) -> dict[str, Tensor]:
        """What the heads of the student or of the teacher say of a view, (B, D) each."""
        found = branch["encoder"](view)
        group = branch["join"](self.group(patches(found)))
        return {name: branch[name](rows) for name, rows in (("instance", found.pooled), ("group", group),
                                                             ("cluster", found.pooled))}

    def group(self, mean: Tensor) -> Tensor:
        """The mean tokens of images and of those nearest to them in memory: (B, D) -> (B, 1 + neighbours, D)."""
        cosines = F.normalize(mean.detach().float(), dim=1) @ F.normalize(self.memory.rows, dim=1).T
        near = self.memory.rows[cosines.topk(self.neighbours, dim=1).indices]
        return torch.cat([mean[:, None], near.to(mean.dtype)], dim=1)

    def after_step(self) -> None:
        super().after_step()
        self.memory.advance()
        for contrast in self.contrasts.values():
            contrast.after_step()
        self.teacher.follow(self.student, self.progress)


class Group(nn.Module):
    """A token of its own gathers a group in one transformer block: (B, L, D) -> (B, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads should divide the encoder's width {width}, got {heads}")
        self.first = nn.Parameter(torch.randn(width) * 0.02)
        self.block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, group: Tensor) -> Tensor:
        first = self.first.to(group.dtype).expand(len(group), 1, -1)
        return self.block(torch.cat([first, group], dim=1))[:, 0]


def patches(found: Representation) -> Tensor:
    """The mean token of each item, (B, D)."""
    if found.tokens is None:
        raise ConfigError("mugs looks at the tokens of an image, and this encoder gives none.\n"
                          "  Try: encoder=vit-small, encoder=resnet18 or encoder=conv")
    return found.tokens.view(len(found.pooled), -1, found.tokens.shape[1]).mean(dim=1)
