"""Hybrid distillation: the token relations of one teacher, the features of another (arXiv:2306.15876)."""
from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import ConfigError, Method, Run
from ssl_core.modules import mlp

from ..encoders import Facts, Timm
from ..images import Images
from ..vit import ViT
from .semaim import arranged


class HybridDistill(Method):
    """Learn how tokens attend to each other from a masked teacher, and what they say from a contrastive one.

    A teacher that is not named is a copy of the student with other random weights, which teaches nothing: good for a trial
    only. Before each layer of relations, tokens that say what others say too are dropped, and stay dropped.

    Args:
        channels, image_size, mean, std: of the images; from the data.
        relations: run whose vision transformer teaches relations; usually one of `mae`.
        features: run whose encoder teaches features; usually a contrastive one with the same grid of tokens.
        model: a vision transformer of timm that teaches features instead, with weights if `download`.
        download: fetch those weights.
        layers: blocks of the student, counted from 0, that learn relations; empty: the middle one and the last.
        drop: share of the tokens that is dropped before each of them.
        weight: of the features, against 1 for the relations.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, channels: int, image_size: tuple[int, int], mean: Facts,
                 std: Facts, relations: Path | None = None, features: Path | None = None, model: str = "",
                 download: bool = False, layers: tuple[int, ...] = (), drop: float = 0.1, weight: float = 1.0) -> None:
        depth = len(encoder.blocks)
        layers = tuple(layers) or (depth // 2, depth - 1)
        if not 0 <= drop < 1 or not all(0 <= layer < depth for layer in layers):
            raise ValueError(f"drop should be a share and layers from 0 to {depth - 1}, got {drop} and {layers}")
        of_relations = untrained(encoder) if relations is None else Run.load(relations).encoder
        if not isinstance(of_relations, ViT):
            raise ConfigError(f"{relations} teaches no relations: its encoder is {type(of_relations).__name__}, not a ViT.\n"
                              f"  Try: a run of mae")
        of_features = Timm(channels, image_size, mean, std, model, patch=encoder.patch, download=download) if model else \
            untrained(encoder) if features is None else Run.load(features).encoder
        super().__init__(encoder, augmentation, objective, of_features.width)
        self.relations, self.features = (item.requires_grad_(False) for item in (of_relations, of_features))
        self.head = mlp(encoder.width, encoder.width, of_features.width, norm="layer")
        self.layers, self.drop, self.weight = set(layers), drop, weight

    def step(self, batch: Images) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        goal, theirs = self.taught(view)
        x = self.encoder.enter(self.encoder.patches(view)) + self.encoder.places(view)
        kept = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)  # (B, K)
        apart = []
        for i, block in enumerate(self.encoder.blocks):
            if i in self.layers:
                chosen = distinct(arranged(goal, kept), round(kept.shape[1] * (1 - self.drop)))
                x, kept = arranged(x, chosen), kept.gather(1, chosen)
                apart.append(divergence(block.projections(x), of_tokens(theirs[i], kept)))
            x = block(x, None)
        guess, wanted = self.head(self.encoder.leave(x)), arranged(goal, kept)
        relations = torch.stack(apart).mean()
        features = self.compare(guess.flatten(0, 1), F.layer_norm(wanted, wanted.shape[2:]).flatten(0, 1))
        return {"loss": relations + self.weight * features, "relations": relations, "features": features}

    @torch.no_grad()
    def taught(self, view: Images) -> tuple[Tensor, dict[int, Tensor]]:
        """Features of every patch (B, L, D), and for each layer the teacher's projections, (3, B, heads, L, D / heads)."""
        goal, length = self.features.eval()(view).tokens, self.encoder.patches(view).shape[1]
        if goal is None or len(goal) != len(view.pixels) * length or self.relations.patch != self.encoder.patch:
            found = "no tokens" if goal is None else f"{len(goal) // len(view.pixels)} tokens of an image"
            raise ConfigError(f"student and teachers should cut images into the same {length} patches; the teacher of features "
                              f"makes {found}, the one of relations cuts patches of {self.relations.patch} pixels.\n"
                              f"  Try: encoder.patch, or teachers that were trained with {self.encoder.patch}")
        x = self.relations.enter(self.relations.patches(view)) + self.relations.places(view)
        theirs = []
        for block in self.relations.blocks:
            theirs.append(block.projections(x))
            x = block(x, None)
        depth = len(self.encoder.blocks)
        return goal.view(len(x), length, -1), {i: theirs[i * len(theirs) // depth] for i in self.layers}


def untrained(encoder: Any) -> Any:
    """A copy with other random weights."""
    twin = deepcopy(encoder)
    for part in twin.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return twin


def distinct(rows: Tensor, count: int) -> Tensor:
    """The tokens of each image that are least like its others, in their order: (B, K, D) -> (B, count)."""
    unit = F.normalize(rows.float(), dim=2)
    alike = (unit * unit.sum(dim=1, keepdim=True)).sum(dim=2)  # with itself, which is 1 for all
    return alike.topk(max(1, count), dim=1, largest=False).indices.sort(dim=1).values


def of_tokens(projections: Tensor, kept: Tensor) -> Tensor:
    """Projections (3, B, heads, L, d) of some tokens (B, K): (3, B, heads, K, d)."""
    return projections.take_along_dim(kept[None, :, None, :, None], dim=3)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's rows of attention, and of likeness of values, from the teacher's: ().

    Each (3, B, heads, K, d); where the numbers of heads differ, means over heads are compared.
    """
    found = torch.zeros((), device=student.device)
    for a, b in ((0, 1), (2, 2)):
        ours, theirs = ((p[a].float() @ p[b].float().transpose(2, 3) / p.shape[4]**0.5).softmax(dim=3)
                        for p in (student, teacher))  # (B, heads, K, K)
        if ours.shape[1] != theirs.shape[1]:
            ours, theirs = ours.mean(dim=1, keepdim=True), theirs.mean(dim=1, keepdim=True)
        found = found + (torch.xlogy(theirs, theirs) - theirs * ours.clamp(min=1e-30).log()).sum(dim=3).mean()
    return found
