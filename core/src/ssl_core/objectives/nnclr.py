"""NNCLR: the positive is the nearest neighbour of the other view among past rows (arXiv:2104.14548)."""
from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..distributed import gather
from ..modules import mean
from ..stores import Queue
from .blockwise import log_sum_exp
from .bounds import at_least, positive
from .rows import crossed, held_still


class NNCLR(nn.Module):
    """Tell the prediction that belongs to a neighbour of the item from the predictions of all other items.

    Args:
        temperature: of the softmax over cosine similarities.
        queue: how many past targets to look for neighbours in.
    """

    gathers = True

    def __init__(self, temperature: float = 0.1, queue: int = 98304) -> None:
        super().__init__()
        positive(temperature=temperature)
        at_least(1, queue=queue)
        self.temperature, self.size = temperature, queue

    def allocate(self, width: int) -> None:
        self.queue = Queue(self.size, width)

    def forward(self, *views: Tensor, targets: Sequence[Tensor] = ()) -> Tensor:
        """Predictions V times (N, D), targets up to V times (N, D) -> ()."""
        keys = [F.normalize(row, dim=1) for row in held_still(views, targets)]
        near = [self.queue.rows[(key @ self.queue.rows.T).argmax(dim=1)] for key in keys]
        loss = mean(self.pick(a, b) for a, b in crossed([F.normalize(row, dim=1) for row in views], near))
        self.queue.hold(keys[0])  # one view of each item, as in the paper
        return loss

    def pick(self, prediction: Tensor, neighbour: Tensor) -> Tensor:
        """Cross entropy of each neighbour's own prediction among those of all items."""
        scale = 1 / self.temperature
        against, _ = log_sum_exp(neighbour, gather(prediction), scale, bound=scale)
        return (against - (neighbour * prediction).sum(dim=1) * scale).mean()

    def after_step(self) -> None:
        self.queue.advance()
