"""SongCi: prototypes of patches, and the slides made of them beside their text (arXiv:2407.14904)."""
from __future__ import annotations

from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp, scatter_mean

from ..bags import Bags


class Gated(nn.Module):
    """Cross attention and a feed-forward layer, each behind a gate that is shut at first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = mlp(width, 4 * width, width, norm="none", activation=nn.GELU)
        self.gates = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, context: Tensor, absent: Tensor | None = None) -> Tensor:
        """(B, L, D), (B, M, D) -> (B, L, D). absent: (B, M) bool, what must not be looked at."""
        first, second = self.gates.tanh()
        x = x + first * self.attention(self.norm1(x), context, context, key_padding_mask=absent, need_weights=False)[0]
        return x + second * self.feed(self.norm2(x))


class SongCi(Method):
    """First prototypes of patches are learned, then slides, as sets of prototypes, are matched with their text.

    Here patches are features and texts are embedded, so the first part has the paper's terms on prototypes and not its
    self-distillation of images. Contrast sees slide and text before they look at each other; what they agree on is measured
    after.

    Args:
        encoder: of slides as bags of patches.
        augmentation: two views.
        objective: `swav`: of the same patches in two views, (T, projection) each; its prototypes are the slides' words.
        paired_features: of an embedded text; from the data.
        projection: width of patches' and slides' rows.
        heads: of the cross attention.
        first: share of training for the first part.
        spread, sure, used: weights of the first part's further terms: patches lie near their nearest prototype, are sure of
            it, and use all of them. (The paper: 1, 0.1, 1.)
        contrast, agree: weights of the second part's terms.
        temperature: of the contrast, and of patches' scores.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, paired_features: int, projection: int = 64,
                 heads: int = 4, first: float = 0.5, spread: float = 1.0, sure: float = 0.1, used: float = 1.0,
                 contrast: float = 0.5, agree: float = 1.0, temperature: float = 0.1) -> None:
        super().__init__(encoder, augmentation, objective, projection)
        if not hasattr(objective, "prototypes"):
            raise ValueError("songci needs an objective with prototypes: objective=swav")
        if not 0 <= first <= 1 or temperature <= 0:
            raise ValueError(f"first should be a share and temperature above 0, got {first} and {temperature}")
        self.patches = mlp(encoder.width, encoder.width, projection, norm="layer")
        self.slide, self.text = nn.Linear(encoder.width, projection), nn.Linear(paired_features, projection)
        self.of_text, self.of_slide = Gated(projection, heads), Gated(projection, heads)
        self.first, self.temperature = first, temperature
        self.of_patches, self.of_pairs = (spread, sure, used), (contrast, agree)

    def step(self, batch: Bags) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        if self.progress.fraction < self.first:
            rows = [self.patches(self.encoder(view).tokens) for view in views]
            terms = {"swap": self.compare(*rows), **self.near(torch.cat(rows).float())}
            weights = (1.0, *self.of_patches)
        else:
            terms, weights = self.matched(views[0], batch.paired), self.of_pairs
        loss = torch.stack([weight * term for weight, term in zip(weights, terms.values(), strict=True)]).sum()
        # a gradient of zeros rather than none for what this part has no use for, as distributed training wants
        return {"loss": loss + 0 * torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum()}

    def near(self, rows: Tensor) -> dict[str, Tensor]:
        """How far patches (T, D) are from their nearest prototype, how sure of it, and how unevenly all of them are used."""
        cosine = self.objective.prototypes(rows)  # (T, K)
        best, which = cosine.max(dim=1)
        usual = (cosine / self.temperature).softmax(dim=1).mean(dim=0)
        entropy = -(usual * usual.clamp(min=1e-12).log()).sum()
        return {"spread": (2 - 2 * best).mean(), "sure": F.cross_entropy(cosine, which), "used": log(cosine.shape[1]) - entropy}

    def matched(self, view: Bags, paired: Tensor | None) -> dict[str, Tensor]:
        """Contrast of slides and texts, and 2 - 2 cos of the two after each looked at the other."""
        seen = self.encoder(view)
        slide, text = self.slide(seen.pooled), self.text(paired)
        words, absent = self.words(self.patches(seen.tokens), view.owner, len(slide))
        joint = self.of_text(text[:, None], words, absent)[:, 0], self.of_slide(slide[:, None], text[:, None])[:, 0]
        a, b = F.normalize(slide.float(), dim=1), F.normalize(text.float(), dim=1)
        scores, own = a @ b.T / self.temperature, torch.arange(len(a), device=a.device)
        contrast = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
        return {"contrast": contrast, "agree": 2 - 2 * F.cosine_similarity(joint[0].float(), joint[1].float()).mean()}

    def words(self, rows: Tensor, owner: Tensor, slides: int) -> tuple[Tensor, Tensor]:
        """The mean of a slide's patches at each prototype, (B, K, D), and (B, K) True where it has none."""
        which = self.objective.prototypes(rows.float()).argmax(dim=1)
        count = self.objective.prototypes.directions.shape[0]
        place = owner * count + which
        absent = torch.bincount(place, minlength=slides * count).view(slides, count) == 0
        return scatter_mean(rows, place, slides * count).view(slides, count, -1), absent
