"""Augmentations: batch -> views. Drawn for the whole batch at once, on its device, from torch's generator."""
import torch

from .data import Graph


class Views:
    """Some edges dropped, and some numbers of the nodes set to zero (GRACE, arXiv:2006.04131).

    Args:
        views: how many.
        edges: share of the edges that is dropped.
        features: share of the numbers that is set to zero.
    """

    def __init__(self, views: int = 2, edges: float = 0.3, features: float = 0.2) -> None:
        for name, share in (("edges", edges), ("features", features)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is a share in [0, 1), got {share}")
        self.views, self.edges, self.features = views, edges, features

    def __call__(self, batch: Graph) -> tuple[Graph, ...]:
        return tuple(self.view(batch) for _ in range(self.views))

    def view(self, batch: Graph) -> Graph:
        kept = torch.rand(batch.edges.shape[1], device=batch.x.device) >= self.edges
        seen = torch.rand_like(batch.x) >= self.features
        return Graph(batch.x * seen, batch.edges[:, kept])
