"""Rebuild a row from a corrupted copy: its values (denoising autoencoder), or the bins of its numbers (arXiv:2405.07414)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_core import Method

from ..encoders import heads_for
from ..rows import Rows, features, join


class Reconstruction(Method):
    """Encode corrupted views, decode them, and compare with the row that they come from.

    Rows that the objective sees are plain features: numbers, or their bins with mean 0 and deviation 1, then one-hot
    categories, (B, N + sum of cardinalities).

    Args:
        numeric, cardinalities: the columns; from the data.
        target: `values`, or `bins`: of every number the rank of its bin, whose edges are quantiles of the training rows.
        bins: how many.
        hidden: inner width of the decoder.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 target: Literal["values", "bins"] = "values", bins: int = 10, hidden: int = 256) -> None:
        super().__init__(encoder, augmentation, objective)
        if bins < 2:
            raise ValueError(f"bins should be 2 or more, got {bins}")
        self.cardinalities, self.binned = tuple(cardinalities), target == "bins"
        self.decoder = heads_for(numeric, cardinalities, encoder.width, hidden)
        self.register_buffer("edges", torch.zeros(numeric, bins - 1))
        self.register_buffer("centre", torch.zeros(numeric))
        self.register_buffer("spread", torch.ones(numeric))

    def prepare(self, batches: Iterable[Rows]) -> None:
        if not self.binned:
            return
        numbers = join(list(batches)).numeric
        share = torch.linspace(0, 1, self.edges.shape[1] + 2, device=numbers.device)[1:-1]
        for i, column in enumerate(numbers.T):  # once per run; torch.quantile of a whole table is bounded in size
            ordered = column.sort().values
            self.edges[i] = ordered[(share * (len(ordered) - 1)).round().long()]
        ranks = self.ranks(numbers)
        self.centre.copy_(ranks.mean(dim=0))
        self.spread.copy_(ranks.std(dim=0, correction=0).clamp(min=1e-6))

    def ranks(self, numbers: Tensor) -> Tensor:
        """The bin of each number, (B, N) float from 0 on."""
        return torch.searchsorted(self.edges, numbers.T.contiguous(), right=True).T.float()

    def wanted(self, rows: Rows) -> Tensor:
        """What is to be decoded, (B, N + sum of cardinalities)."""
        if self.binned:
            rows = rows._replace(numeric=(self.ranks(rows.numeric) - self.centre) / self.spread)
        return features(rows, self.cardinalities)

    def step(self, batch: Any) -> dict[str, Tensor]:
        clean, *corrupted = self.augmentation(batch)
        wanted = self.wanted(clean)
        losses = [self.compare(self.decoder(self.encoder(view).pooled), wanted) for view in corrupted]
        return {"loss": torch.stack(losses).mean()}
