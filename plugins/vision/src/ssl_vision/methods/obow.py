"""OBoW: predict from a crop which visual words the teacher finds in the whole image (arXiv:2012.11552)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Method
from ssl_core.modules import Teacher, mean, mlp
from ssl_core.stores import Queue

from ..images import Images
from ..views import maps


class OBoW(Method):
    """The words are features of the teacher from past images; a small network makes a classifier's weights of them.

    The paper takes the maps of the last two stages, each with words of its own; here the last one serves.

    Args:
        words: how many the vocabulary holds; the oldest leave first.
        hidden: inner width of the network that makes the weights; 0: twice the encoder's.
        momentum: of the teacher.
        sharpness: of the assignment of a place to words: softmax of -sharpness * squared distance / its running mean.
        scale: of the student's logits.
        border: cells of the map that are cut on each side, where it is large enough.
        memory: share of the running mean of distances that stays each step.
    """

    typical: Tensor

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, words: int = 8192, hidden: int = 0,
                 momentum: float = 0.99, sharpness: float = 15.0, scale: float = 8.0, border: int = 1, memory: float = 0.99
                 ) -> None:
        super().__init__(encoder, augmentation, objective, words)
        self.teacher, self.vocabulary = Teacher(encoder, momentum), Queue(words, encoder.width)
        self.generator = mlp(encoder.width, hidden or 2 * encoder.width, encoder.width)
        self.register_buffer("typical", torch.zeros(()))  # the mean squared distance to the nearest word
        self.sharpness, self.scale, self.border, self.memory = sharpness, scale, border, memory
        self.found: Tensor | None = None

    def prepare(self, batches: Iterable[Images]) -> None:
        for count, batch in enumerate(batches, 1):  # the first words are those of the untrained teacher
            self.vocabulary.push(one_place(self.seen(batch)))
            if count * len(batch.pixels) >= len(self.vocabulary.rows):
                break

    @torch.no_grad()
    def seen(self, images: Images) -> Tensor:
        """The teacher's map of the whole images without its border, (B, D, h, w)."""
        found = maps(self.teacher(images), images.pixels)
        cut = min(self.border, (min(found.shape[2:]) - 1) // 2)
        return found[:, :, cut: found.shape[2] - cut, cut: found.shape[3] - cut].float()

    @torch.no_grad()
    def words(self, found: Tensor) -> Tensor:
        """Bags of words of maps (B, D, h, w): (B, K), each row a distribution."""
        rows, vocabulary = found.flatten(2).mT.flatten(0, 1), self.vocabulary.rows  # (B * L, D), (K, D)
        far = (rows.square().sum(dim=1)[:, None] + vocabulary.square().sum(dim=1) - 2 * rows @ vocabulary.T).clamp(min=0)
        nearest = far.amin(dim=1).mean()
        self.found = nearest if self.training else None
        typical = torch.where(self.typical > 0, self.typical, nearest).clamp(min=1e-12)
        bags = (-self.sharpness * far / typical).softmax(dim=1).view(len(found), -1, len(vocabulary)).amax(dim=1)
        return bags / bags.sum(dim=1, keepdim=True)

    def step(self, batch: Images) -> dict[str, Tensor]:
        found, weights = self.seen(batch), self.weights().float()
        rows = [self.encoder(crop).pooled.float() for crop in self.augmentation(batch)]
        with torch.autocast(found.device.type, enabled=False):  # distances and logits in 32 bits
            bags = self.words(found)
            loss = mean(self.compare(self.scale * row @ weights.T, bags) for row in rows)
        self.vocabulary.hold(one_place(found))
        return {"loss": loss}

    def weights(self) -> Tensor:
        """One unit row for each word, (K, D)."""
        return F.normalize(self.generator(F.normalize(self.vocabulary.rows, dim=1)), dim=1)

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        if self.found is not None:
            self.typical.copy_(torch.where(self.typical > 0, torch.lerp(self.found, self.typical, self.memory), self.found))
        self.vocabulary.advance()
        self.teacher.follow(self.encoder, self.progress)


def one_place(found: Tensor) -> Tensor:
    """A random place of each map, averaged with its neighbours: (B, D, h, w) -> (B, D)."""
    rows = F.avg_pool2d(found, 3, 1, 1, count_include_pad=False).flatten(2)
    drawn = torch.randint(rows.shape[2], (len(rows),), device=rows.device)
    return rows[torch.arange(len(rows), device=rows.device), :, drawn]
