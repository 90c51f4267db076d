"""Objectives see aligned rows (N, D) and nothing of the domain, so they work in every other plugin too."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Hypersphere(nn.Module):
    """Alignment of the views of an item plus uniformity of the items (arXiv:2005.10242, section 4).

    Args:
        weight: of uniformity.
        sharpness: of the Gaussian potential (t of the paper).
    """

    def __init__(self, weight: float = 1.0, sharpness: float = 2.0) -> None:
        super().__init__()
        if sharpness <= 0:
            raise ValueError(f"sharpness should be above 0, got {sharpness}")
        self.weight, self.sharpness = weight, sharpness

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two times (N, D) -> ()."""
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        alignment = (a - b).square().sum(dim=1).mean()
        return alignment + self.weight * (self.uniformity(a) + self.uniformity(b)) / 2

    def uniformity(self, rows: Tensor) -> Tensor:
        """Log of the mean potential between two rows, (N, D) -> ()."""
        apart = torch.pdist(rows).square()
        return (-self.sharpness * apart).exp().mean().log()
