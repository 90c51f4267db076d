"""SwAV: predict the balanced cluster assignment of one view from another (arXiv:2006.09882)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..distributed import logsumexp
from ..stores import Prototypes, Queue
from .rows import cross_entropy


class SwAV(nn.Module):
    """Cross entropy between a view's prototype scores and the codes of the other views, which Sinkhorn balances.

    Args:
        prototypes: how many (K); more than the classes expected.
        temperature: of the predicted assignment.
        epsilon: of the codes; smaller is sharper. A loss stuck at ln K asks for less.
        iterations: of Sinkhorn.
        queue: past rows that help to balance a small batch; 0 for none.
        queue_from: share of training after which they do (the paper: epoch 15 of 200 to 400).
        frozen: share of training for which the prototypes are held still (the paper: one epoch).
        target_views: how many of the views, the first ones, have codes (the large crops); 0 for all.
    """

    gathers = True
    progress = Progress()

    def __init__(self, prototypes: int = 3000, temperature: float = 0.1, epsilon: float = 0.05, iterations: int = 3,
                 queue: int = 0, queue_from: float = 0.05, frozen: float = 0.01, target_views: int = 2) -> None:
        super().__init__()
        self.count, self.temperature, self.epsilon, self.iterations = prototypes, temperature, epsilon, iterations
        self.size, self.queue_from, self.frozen, self.target_views = queue, queue_from, frozen, target_views

    def allocate(self, width: int) -> None:
        self.prototypes = Prototypes(self.count, width)
        self.queue = Queue(self.size, width) if self.size else None

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> ()."""
        frozen = self.progress.fraction < self.frozen
        scores = [self.prototypes(view, frozen) for view in views]
        codes = [self.codes(score.detach()) for score in scores[: self.target_views or None]]
        if self.queue is not None:
            for view in views[: self.target_views or None]:
                self.queue.hold(F.normalize(view, dim=1))
        return cross_entropy([score / self.temperature for score in scores], codes)

    @torch.no_grad()
    def codes(self, scores: Tensor) -> Tensor:
        """Balanced assignments of a view, (N, K), each row a distribution."""
        n = len(scores)
        if self.queue is not None and self.progress.fraction >= self.queue_from:
            scores = torch.cat([scores, self.prototypes(self.queue.share())])
        return sinkhorn(scores, self.epsilon, self.iterations)[:n]

    def after_step(self) -> None:
        if self.queue is not None:
            self.queue.advance()


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments that use every prototype equally: scores (N, K) of each process -> (N, K), rows sum to 1.

    In logarithms, so that no small epsilon overflows. Processes share one vector of K sums per iteration.
    """
    logits = scores / epsilon
    for _ in range(iterations):
        logits = logits - logsumexp(logits)  # every prototype weighs the same
        logits = logits - logits.logsumexp(dim=1, keepdim=True)  # every row weighs the same
    return logits.exp()
