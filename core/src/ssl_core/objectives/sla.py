"""SLA: classify the class and the transformation of an item jointly (arXiv:1910.05872)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import average, world
from .bounds import at_least


class SLA(nn.Module):
    """One softmax over classes times transformations; view j is the item under transformation j.

    Args:
        classes: of the labels; from the data.
        transformations: how many views there are, always in the same order.
        distil: weight of the labels for a second classifier, of the first view alone, which besides learns what all
            views say together; 0 for no such classifier.
        total: sum the loss over the transformations instead of averaging it (the paper's choice for large data).
    """

    gathers = True

    def __init__(self, classes: int, transformations: int = 4, distil: float = 0.0, total: bool = False) -> None:
        super().__init__()
        at_least(1, classes=classes)
        at_least(2, transformations=transformations)
        at_least(0, distil=distil)
        self.classes, self.transformations, self.distil, self.total = classes, transformations, distil, total
        self.views = transformations

    def allocate(self, width: int) -> None:
        self.joint = nn.Linear(width, self.classes * self.transformations)
        self.alone = nn.Linear(width, self.classes) if self.distil else None

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        """As many (N, D) as transformations, labels (N,) long -> (). Items labelled -1 are left out.

        Raises:
            ValueError: other views than transformations.
        """
        if len(views) != self.transformations:
            raise ValueError(f"SLA was given {len(views)} views for {self.transformations} transformations")
        logits = torch.stack([self.joint(view).unflatten(1, (self.classes, -1)) for view in views])  # (M, N, C, M)
        loss = self.classified(logits, labels) * (len(views) if self.total else 1)
        if self.alone is None:
            return loss
        guess = self.alone(views[0])
        agreed = aggregate(logits).detach().softmax(dim=1)
        taught = F.kl_div(guess.log_softmax(dim=1), agreed, reduction="batchmean")
        return loss + taught + self.distil * known_only(guess, labels)

    @staticmethod
    def classified(logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy with the joint label (class, transformation): (M, N, C, M), (N,) -> ()."""
        count = len(logits)
        joint = labels * count + torch.arange(count, device=labels.device)[:, None]  # (M, N)
        joint = torch.where(labels < 0, -1, joint)
        return known_only(logits.flatten(2).flatten(0, 1), joint.flatten())


def aggregate(logits: Tensor) -> Tensor:
    """What all transformations say together: the mean over j of the logits of (class, j) for view j, (N, C)."""
    return logits.diagonal(dim1=0, dim2=3).mean(dim=2)


def known_only(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the rows with a label; 0 where there is none."""
    losses = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    known = average((labels >= 0).sum().to(logits.dtype))  # per process, so that the mean over them is exact
    return losses / known.clamp(min=1 / world())
