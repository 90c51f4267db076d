"""The item tower's own task in large-scale recommendation (Yao et al., CIKM 2021, arXiv:2007.12865; as recalled).

Pre-training of the item tower on the catalogue, a table of items. The supervised loss of user and item, to which the paper
adds this one, needs interactions and is not here; nor is dropout of single values of multi-valued features.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ssl_core import Method
from ssl_core.modules import mlp

from ..rows import Rows, join


class ItemContrast(Method):
    """Contrast the two views of an item that share no feature.

    Args:
        encoder, augmentation, objective: of items; `correlated-features`; of pairs of rows (N, D).
        numeric, cardinalities: the columns; from the data.
        projector: widths of the head that is compared; empty for none.
        bins: of a number, and most of a category, to measure which features go together.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 projector: tuple[int, ...] = (128,), bins: int = 10) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1] if projector else encoder.width)
        if not hasattr(augmentation, "apart"):
            raise ValueError("item-recsys needs views without a feature in common: augmentation=correlated-features")
        if bins < 2:
            raise ValueError(f"bins should be 2 or more, got {bins}")
        features = numeric + len(cardinalities)
        if features < 2:
            raise ValueError(f"two views without a feature in common need two features or more, there is {features}")
        self.projector, self.bins = mlp(encoder.width, *projector, norm="none"), bins
        self.register_buffer("near", torch.arange(features).repeat(features, 1))

    def prepare(self, batches: Iterable[Rows]) -> None:
        """Measure which features go together, on training rows."""
        self.near.copy_(nearest(mutual_information(join(list(batches)), self.bins)))

    def step(self, batch: Any) -> dict[str, Tensor]:
        first, second = (self.projector(self.encoder(view).pooled) for view in self.augmentation.apart(batch, self.near))
        return {"loss": self.compare(first, second)}


def mutual_information(rows: Rows, bins: int) -> Tensor:
    """Mutual information of each pair of features in nats, (F, F), from counts of all pairs of bins at once.

    Numbers fall into `bins` bins by rank; of a category the first `bins` codes are bins, and the rarer ones share the last.
    """
    n, codes = rows.size, []
    for column, gaps in zip(rows.numeric.T, rows.missing.T, strict=True):
        edges = column.sort().values[torch.arange(1, bins, device=column.device) * n // bins]
        codes.append(torch.searchsorted(edges.contiguous(), column.contiguous(), right=True).masked_fill(gaps, bins))
    codes += [column.clamp(max=bins) for column in rows.categorical.T]
    wide = bins + 1
    place = torch.stack(codes, dim=1) + wide * torch.arange(len(codes), device=rows.numeric.device)  # (n, F)
    counts = torch.zeros(wide * len(codes), wide * len(codes), dtype=torch.float64, device=place.device)
    for part in place.split(4096):
        hot = torch.zeros(len(part), len(counts), device=place.device).scatter_(1, part, 1.0)
        counts += (hot.T @ hot).double()
    joint = counts.view(len(codes), wide, len(codes), wide).transpose(1, 2) / n  # (F, F, bin, bin)
    alone = joint.sum(dim=3)[:, 0]  # (F, bin)
    apart = alone[:, None, :, None] * alone[None, :, None, :]
    return torch.where(joint > 0, joint * (joint / apart.clamp(min=1e-300)).log(), 0.0).sum(dim=(2, 3))


def nearest(information: Tensor) -> Tensor:
    """For each feature all of them, itself first, then by falling mutual information: (F, F) long."""
    itself = torch.eye(len(information), dtype=torch.bool, device=information.device)
    return information.masked_fill(itself, torch.inf).argsort(dim=1, descending=True)
