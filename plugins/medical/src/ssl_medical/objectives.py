"""Objectives that the core does not have: of shares of regions, and of batches as graphs."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Overlap(nn.Module):
    """-log(1 - |guess - share|): how much of a crop lies in each region (VoCo, arXiv:2402.17300, equation 3)."""

    def forward(self, guess: Tensor, share: Tensor) -> Tensor:
        """Guesses (N, G) and shares (N, G), both from 0 to 1 -> ()."""
        return -torch.log1p(-(guess - share.detach()).abs().clamp(max=1 - 1e-6)).mean()


class GraphMatching(nn.Module):
    """Match the items of two views as graphs: items to items, and likenesses to likenesses (LVM-Med, arXiv:2306.11925).

    Each view is a graph of nearest neighbours, along which rows are smoothed once. The assignment of one view's items to
    the other's is relaxed to a doubly stochastic matrix by Sinkhorn and should be the identity; carried over by it, one
    graph's likenesses should be the other's. The paper solves the quadratic assignment and differentiates through the solver;
    this relaxation takes its place.

    Args:
        neighbours: of each item in its graph.
        epsilon: of Sinkhorn; smaller is sharper.
        iterations: of Sinkhorn.
        edges: weight of the second term.
    """

    def __init__(self, neighbours: int = 5, epsilon: float = 0.1, iterations: int = 20, edges: float = 1.0) -> None:
        super().__init__()
        if neighbours < 1 or epsilon <= 0 or iterations < 1:
            raise ValueError(f"neighbours and iterations should be 1 or more and epsilon above 0, got {neighbours}, "
                             f"{iterations} and {epsilon}")
        self.neighbours, self.epsilon, self.iterations, self.edges = neighbours, epsilon, iterations, edges

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, D), (N, D) -> ()."""
        (a, one), (b, two) = self.graph(a), self.graph(b)
        plan = self.assignment(a @ b.T)
        moved = plan @ two @ plan.T
        return -plan.diagonal().clamp(min=1e-9).log().mean() + self.edges * (one - moved).square().sum() / len(a)

    def graph(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Unit rows smoothed over their neighbours (N, D), and the likenesses along edges (N, N)."""
        rows = F.normalize(rows, dim=1)
        likeness = rows @ rows.T
        alone = likeness.detach() - 3 * torch.eye(len(rows), device=rows.device)  # nobody is a neighbour of itself
        near = alone.topk(min(self.neighbours, len(rows) - 1), dim=1).indices
        edges = torch.zeros_like(likeness).scatter_(1, near, 1.0)
        smooth = F.normalize(rows + edges @ rows / edges.sum(dim=1, keepdim=True).clamp(min=1), dim=1)
        return smooth, likeness * edges.maximum(edges.T)

    def assignment(self, likeness: Tensor) -> Tensor:
        """Sinkhorn in logarithms: (N, N) whose rows and columns sum to 1."""
        plan = likeness / self.epsilon
        for _ in range(self.iterations):
            plan = plan - plan.logsumexp(dim=1, keepdim=True)
            plan = plan - plan.logsumexp(dim=0, keepdim=True)
        return plan.exp()
