"""SwAV: predict the balanced cluster assignment of one view from another (arXiv:2006.09882)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Progress
from ..distributed import logsumexp, total
from ..stores import Prototypes, Queue
from .bounds import at_least, positive, shares
from .rows import cross_entropy

SPAN = 60.0  # e^-60 is far above the smallest number in float32


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
        positive(temperature=temperature, epsilon=epsilon)
        at_least(2, prototypes=prototypes)
        at_least(1, iterations=iterations)
        at_least(0, queue=queue, target_views=target_views)
        shares(queue_from=queue_from, frozen=frozen)
        self.count, self.temperature, self.epsilon, self.iterations = prototypes, temperature, epsilon, iterations
        self.size, self.queue_from, self.frozen, self.target_views = queue, queue_from, frozen, target_views

    def allocate(self, width: int) -> None:
        self.prototypes = Prototypes(self.count, width)
        self.queue = Queue(self.size, width) if self.size else None

    def forward(self, *views: Tensor) -> Tensor:
        """V times (N, D) -> ()."""
        frozen = self.progress.fraction < self.frozen
        scores = self.prototypes(torch.cat(views), frozen, 1 / self.temperature).unflatten(0, (len(views), -1))  # (V, N, K)
        codes = torch.stack([self.codes(score) for score in scores.detach()[: self.target_views or None]])
        if self.queue is not None:
            for view in views[: self.target_views or None]:
                self.queue.hold(F.normalize(view, dim=1))
        return cross_entropy(scores, codes)

    @torch.no_grad()
    def codes(self, scores: Tensor) -> Tensor:
        """Balanced assignments of a view, each row a distribution, from cosines over the temperature: (N, K) -> (N, K)."""
        n, scale = len(scores), 1 / self.temperature
        if self.queue is not None and self.progress.fraction >= self.queue_from:
            scores = torch.cat([scores, self.prototypes(self.queue.share(), scale=scale)])
        return sinkhorn(scores, self.epsilon * scale, self.iterations, bound=scale)[:n]

    def after_step(self) -> None:
        if self.queue is not None:
            self.queue.advance()


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3, bound: float = torch.inf) -> Tensor:
    """Soft assignments that use every prototype equally: scores (N, K) of each process -> (N, K), rows sum to 1.

    Only a factor for each prototype and one for each row is iterated; where the scores span too much for that, logarithms
    are, so that no small epsilon overflows. Processes share one vector of K sums per iteration.

    Args:
        bound: of |scores|, if one is known.
    """
    if 2 * bound / epsilon > SPAN:
        return _in_logarithms(scores / epsilon, iterations)
    plan = ((scores - bound) / epsilon).exp_()
    rows = plan.new_ones(len(plan))
    for _ in range(iterations):
        columns = 1 / total(plan.T @ rows)  # every prototype weighs the same
        rows = 1 / (plan @ columns)  # every row weighs the same
    return plan.mul_(columns).mul_(rows[:, None])


def _in_logarithms(logits: Tensor, iterations: int) -> Tensor:
    for _ in range(iterations):
        logits = logits - logsumexp(logits)  # every prototype weighs the same
        logits = logits - logits.logsumexp(dim=1, keepdim=True)  # every row weighs the same
    return logits.exp()
