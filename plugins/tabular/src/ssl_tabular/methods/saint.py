"""SAINT: contrast a row with a mixed copy of itself, and take the mixture out again (arXiv:2106.01342, section 3.2)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_core import Method
from ssl_core.modules import mlp

from ..encoders import heads_for
from ..rows import cell_errors


class SAINT(Method):
    """CutMix in the cells, mixup in the embedding, contrast of projections, and denoising of every cell.

    Args:
        encoder: one with `tokens`, `body` and `read_out`: `saint`.
        augmentation: the clean rows, and rows with cells of one other row.
        objective: contrast between projections of clean and mixed rows.
        numeric, cardinalities: the columns; from the data.
        mixup: share of another row's tokens in the mixed view.
        projector: widths of the head that the contrast sees.
        hidden: inner width of the denoising head.
        contrast, categories, numbers: weights of contrast, cross-entropy of categories and squared error of numbers.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 mixup: float = 0.3, projector: tuple[int, ...] = (64, 32), hidden: int = 64, contrast: float = 0.5,
                 categories: float = 1.0, numbers: float = 10.0) -> None:
        super().__init__(encoder, augmentation, objective)
        if not hasattr(encoder, "read_out"):
            raise ValueError("saint needs an encoder that can be entered behind its embedding: encoder=saint")
        if not 0 <= mixup < 1:
            raise ValueError(f"mixup should lie in [0, 1), got {mixup}")
        self.cardinalities, self.mixup = tuple(cardinalities), mixup
        self.weights = contrast, categories, numbers
        self.projectors = torch.nn.ModuleList(mlp(encoder.width, *projector, norm="none") for _ in range(2))
        self.cells = heads_for(numeric, cardinalities, encoder.width, hidden)

    def step(self, batch: Any) -> dict[str, Tensor]:
        clean, cut = self.augmentation(batch)[:2]
        tokens = self.encoder.tokens(cut)
        other = tokens[torch.randperm(len(tokens), device=tokens.device)]
        mixed = self.encoder.read_out(self.encoder.body(torch.lerp(tokens, other, self.mixup))).pooled
        plain = self.encoder(clean).pooled
        contrast = self.compare(self.projectors[0](plain), self.projectors[1](mixed))
        squared, entropy = cell_errors(self.cells(mixed).float(), clean, self.cardinalities)
        number, category = (part.mean() if part.numel() else part.sum() for part in (squared, entropy))
        by_contrast, by_category, by_number = self.weights
        return {"loss": by_contrast * contrast + by_category * category + by_number * number, "contrast": contrast,
                "categories": category, "numbers": number}
