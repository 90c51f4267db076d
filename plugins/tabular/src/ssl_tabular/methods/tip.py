"""TIP: align a row with its image, tell pairs from others, and rebuild cells from both (arXiv:2407.07582)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..pairs import Pairs
from ..rows import Rows, offsets


class TIP(Method):
    """Three terms: contrast of image and row; whether a row and an image belong together; hidden cells from the others.

    Args:
        encoder: of rows with images: `image-table`.
        augmentation: a view to align, and one with hidden cells: `pair-views`.
        objective: of images' and rows' projections, (B, projection) each.
        numeric, cardinalities: the columns; from the data.
        projection: width of what the objective compares.
        temperature: of the likeness by which mistaken pairs are drawn.
        align, match, rebuild: weights of the terms. (The paper: a third each.)
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, numeric: int, cardinalities: tuple[int, ...],
                 projection: int = 128, temperature: float = 0.1, align: float = 1 / 3, match: float = 1 / 3,
                 rebuild: float = 1 / 3) -> None:
        super().__init__(encoder, augmentation, objective, projection)
        if not hasattr(encoder, "fuse"):
            raise ValueError("tip needs an encoder of rows with images: encoder=image-table")
        if temperature <= 0:
            raise ValueError(f"temperature should be above 0, got {temperature}")
        width = encoder.width
        self.of_image, self.of_table = nn.Linear(width, projection), nn.Linear(width, projection)
        self.belong = nn.Linear(width, 2)
        self.number = nn.Linear(width, 1) if numeric else None
        self.category = nn.Linear(width, sum(cardinalities)) if cardinalities else None
        self.register_buffer("starts", offsets(cardinalities), persistent=False)
        self.temperature, self.weights = temperature, (align, match, rebuild)

    def step(self, batch: Pairs) -> dict[str, Tensor]:
        whole, holed = self.augmentation(batch)[:2]
        image, table = self.encoder.picture(whole.images), self.encoder.table(whole.rows)
        a, b = self.of_image(image.mean(dim=1)), self.of_table(table[:, 0])
        terms = self.compare(a, b), self.matching(image, table, a, b), self.rebuilt(batch.rows, holed)
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms, strict=True)]).sum()
        return {"loss": loss, "align": terms[0], "match": terms[1], "rebuild": terms[2]}

    def matching(self, image: Tensor, table: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Cross entropy of B pairs, B rows with a wrong image and B images with a wrong row, wrong ones that look right."""
        alike = F.normalize(a.detach().float(), dim=1) @ F.normalize(b.detach().float(), dim=1).T / self.temperature
        wrong_row, wrong_image = mistaken(alike), mistaken(alike.T)
        joint = self.encoder.fuse(torch.cat([table, table, table[wrong_row]]), torch.cat([image, image[wrong_image], image]))
        right = torch.arange(len(joint), device=joint.device) < len(image)
        return F.cross_entropy(self.belong(joint[:, 0]).float(), right.long())

    def rebuilt(self, rows: Rows, holed: Pairs) -> Tensor:
        """The mean error of hidden categories and that of hidden numbers, halved; 0 where none is hidden."""
        numbers = rows.numeric.shape[1]
        tokens = self.encoder.fuse(self.encoder.table(holed.rows), self.encoder.picture(holed.images))[:, 1:]
        hidden = holed.rows.differs(rows).float()
        loss = tokens.new_zeros((), dtype=torch.float32)
        if self.number is not None:
            error = (self.number(tokens[:, :numbers])[..., 0].float() - rows.numeric).square()
            loss = loss + share(error, hidden[:, :numbers])
        if self.category is not None:
            logits = self.category(tokens[:, numbers:]).float()  # over the codes of all columns
            error = F.cross_entropy(logits.flatten(0, 1), (rows.categorical + self.starts).flatten(), reduction="none")
            loss = loss + share(error.view_as(rows.categorical), hidden[:, numbers:])
        return loss / 2


def share(error: Tensor, mask: Tensor) -> Tensor:
    """The mean of errors where the mask is 1; 0 where it is nowhere."""
    return (error * mask).sum() / mask.sum().clamp(min=1)


def mistaken(alike: Tensor) -> Tensor:
    """For each row of (B, B) another column, the more alike the likelier, never the row's own: (B,)."""
    weight = (alike.softmax(dim=1) + 1e-4).fill_diagonal_(0)
    return torch.multinomial(weight, 1)[:, 0]
