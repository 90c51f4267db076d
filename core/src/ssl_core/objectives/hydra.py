"""Hydra (later SimLAP): any two classes are positives, in a subspace that the pair chooses (arXiv:2410.18200)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import average, from_first, gather, rank, total, world
from ..errors import DataError
from .bounds import at_least, positive
from .rows import need


class Hydra(nn.Module):
    """For drawn pairs of classes: all items of both against those of other classes, by the cosine of gated rows.

    A gate in (0, 1) for each column is made from the middle of the two classes' embeddings; it is trained by the same loss.
    How the paper draws its pairs and sizes its gate could not be checked.

    Args:
        classes: of the labels; from the data.
        temperature: of the softmax over cosine similarities.
        pairs: of classes, drawn anew each step among the classes of the batch, with replacement.
    """

    gathers = True

    def __init__(self, classes: int, temperature: float = 0.1, pairs: int = 8) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(1, classes=classes, pairs=pairs)
        self.classes, self.scale, self.pairs = classes, 1 / temperature, pairs

    def allocate(self, width: int) -> None:
        self.places = nn.Embedding(self.classes, width)
        self.gate = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid())

    def forward(self, *views: Tensor, labels: Tensor) -> Tensor:
        """V times (N, D), labels (N,) long -> (). Items labelled -1 are left out.

        Raises:
            DataError: the labels are quantities, not classes.
        """
        if labels.is_floating_point():
            raise DataError("Hydra needs classes; these labels are quantities.\n  Try: objective=supremix")
        need(views[0], 2, "Hydra")
        rows, mine = torch.cat(views), labels.repeat(len(views))
        everyone, theirs = gather(rows), gather(mine)
        pairs = self.drawn(mine)  # (G, 2)
        gates = self.gate(self.places(pairs).mean(dim=1))[:, None]  # (G, 1, D)
        logits = F.normalize(gates * rows, dim=2) @ F.normalize(gates * everyone, dim=2).mT * self.scale  # (G, M, all)
        anchor, inside = member(mine, pairs), member(theirs, pairs)
        wanted = anchor[:, :, None] & inside[:, None]
        wanted.diagonal(rank() * len(rows), dim1=1, dim2=2).fill_(False)
        others = (~inside & (theirs >= 0))[:, None]
        against = logits.masked_fill(~others, -1e30).logsumexp(dim=2, keepdim=True)  # finite where there are no others
        losses = (F.softplus(against - logits) * wanted).sum(dim=2) / wanted.sum(dim=2).clamp(min=1)  # (G, M)
        anchors = average(wanted.any(dim=2).sum().to(losses.dtype))  # per process, so that the mean over them is exact
        return losses.sum() / anchors.clamp(min=1 / world())

    @torch.no_grad()
    def drawn(self, labels: Tensor) -> Tensor:
        """Pairs of classes that the batch holds, (G, 2); the same on all processes."""
        known = (labels >= 0).to(torch.float32)
        held = total(torch.zeros(self.classes, device=labels.device).index_add_(0, labels.clamp(min=0), known))
        shares = (held > 0) + 1e-12  # a batch without a label is no error
        return from_first(torch.multinomial(shares, 2 * self.pairs, replacement=True)).view(-1, 2)


def member(labels: Tensor, pairs: Tensor) -> Tensor:
    """Which items belong to either class of each pair: (M,), (G, 2) -> (G, M)."""
    return (labels == pairs[:, :, None]).any(dim=1)
