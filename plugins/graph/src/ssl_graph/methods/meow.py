"""MEOW: contrast of coarse and fine looks at nodes, in which a negative counts by how unlike it is (arXiv:2212.13847)."""
from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssl_core import Method
from ssl_core.modules import mean, mlp
from ssl_core.stores import spherical_kmeans

BLOCK = 2**20  # pairs whose weights are held at a time
NEVER = -1e9  # logarithm of no weight; of minus infinity alone there would be no gradient


class Meow(Method):
    """The coarse look at each node knows its fine look among those of all nodes; alike nodes are no negatives.

    MEOW: a negative counts once for each of several clusterings of the fine looks that puts it elsewhere; nodes are also told
    the mean of their clusters. AdaMEOW (`adaptive`): a small network says how much a pair counts, and learns with the rest.
    The augmentation gives the graph and one with something left out, which the fine look sees. Weights are found block by
    block and found again for the gradient: no N x N matrix is kept.

    Args:
        temperature: of the contrast.
        clusters: of each clustering, anew at every step; at most a third of the nodes.
        prototypes: weight of the contrast with clusters.
        adaptive: learn the weights, without clusters.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, temperature: float = 0.4,
                 clusters: tuple[int, ...] = (20, 50), prototypes: float = 1.0, adaptive: bool = False) -> None:
        super().__init__(encoder, augmentation, objective)
        if not hasattr(encoder, "coarse"):
            raise ValueError(f"meow needs an encoder with a coarse and a fine look (context-gcn), not {type(encoder).__name__}")
        if temperature <= 0 or not clusters or min(clusters) < 2:
            raise ValueError(f"temperature should be above 0 and clusters 2 or more, got {temperature} and {clusters}")
        self.temperature, self.clusters, self.prototypes = temperature, clusters, prototypes
        self.projector = mlp(encoder.width, encoder.width, encoder.width, norm="none", activation=nn.Tanh)
        self.pairs = Pairs(encoder.width) if adaptive else None

    def step(self, batch: Any) -> dict[str, Tensor]:
        whole, masked = self.augmentation(batch)
        rows = [self.projector(look) for look in (self.encoder.coarse(whole), self.encoder.fine(masked))]
        with torch.autocast(rows[0].device.type, enabled=False):
            coarse, fine = (F.normalize(row.float() if row.itemsize < 4 else row, dim=1) for row in rows)
            if self.pairs is not None:
                return {"loss": weighted_contrast(coarse, fine, self.temperature, self.pairs.block, *self.pairs.sides(fine))}
            found = [clustered(fine.detach(), min(count, max(2, len(fine) // 3))) for count in self.clusters]
            members = torch.stack([member for _, member in found], dim=1)  # (N, M)
            node = weighted_contrast(coarse, fine, self.temperature, elsewhere, members, members)
            cluster = mean(prototype_contrast(coarse, *pair, self.temperature) for pair in found)
        return {"loss": node + self.prototypes * cluster, "node": node, "cluster": cluster}


class Pairs(nn.Module):
    """How much a pair counts, in (0, 1): v tanh(W (z_i + z_j) + b) + c through a sigmoid.

    It is linear up to the tanh, so that each node enters it once, not each pair.

    Args:
        width: D.
        inner: width of the tanh.
    """

    def __init__(self, width: int, inner: int = 16) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, inner), nn.Linear(inner, 1)

    def sides(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a node gives as the first and as the second of a pair: (N, inner), (N, inner)."""
        return self.enter(rows), F.linear(rows, self.enter.weight)

    def block(self, a: Tensor, b: Tensor) -> Tensor:
        """Logarithm of the weights of all pairs, (B, inner), (N, inner) -> (B, N)."""
        return F.logsigmoid(self.leave((a[:, None] + b).tanh())[..., 0])


def elsewhere(a: Tensor, b: Tensor) -> Tensor:
    """Logarithm of in how many clusterings two nodes are apart, of their clusters: (B, M), (N, M) -> (B, N)."""
    return (a[:, None] != b).sum(dim=2).double().log().clamp(min=NEVER)


def weighted_contrast(a: Tensor, b: Tensor, temperature: float, weigh: Callable[[Tensor, Tensor], Tensor], of_a: Tensor,
                      of_b: Tensor) -> Tensor:
    """Mean of -log(e^{s_ii} / sum_j w_ij e^{s_ij}), s = a b' / temperature; exact, block by block: (N, D), (N, D) -> ().

    Args:
        weigh: what is known of some rows and of all, (B, .), (N, .) -> logarithm of their weights (B, N).
        of_a, of_b: what is known of the rows.
    """
    def rows(part: Tensor, known: Tensor) -> Tensor:
        return (part @ b.T / temperature + weigh(known, of_b).to(b.dtype)).logsumexp(dim=1)
    height = max(1, BLOCK // max(1, len(b)))
    against = torch.cat([checkpoint(rows, part, known, use_reentrant=False, preserve_rng_state=False)
                         for part, known in zip(a.split(height), of_a.split(height), strict=True)])
    against = torch.where(against < NEVER / 2, 0.0, against)  # a node that is like all others has no negatives
    return (against - (a * b).sum(dim=1) / temperature).mean()


@torch.no_grad()
def clustered(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Unit centres (K, D) of unit rows and the cluster of each row (N,)."""
    centres = spherical_kmeans(rows, count)
    return centres, (rows @ centres.T).argmax(dim=1)


@torch.no_grad()
def concentration(rows: Tensor, centres: Tensor, member: Tensor, temperature: float, smooth: float = 10.0) -> Tensor:
    """A temperature for each cluster, `temperature` on average: small where its rows are close (PCL, arXiv:2005.04966).

    Mean distance over log(size + 10); a cluster of one row has the largest; the lowest and highest tenth are cut off.
    """
    count = torch.bincount(member, minlength=len(centres))
    far = (rows - centres[member]).norm(dim=1)
    spread = torch.zeros_like(centres[:, 0]).index_add(0, member, far) / count.clamp(min=1) / (count + smooth).log()
    spread = torch.where(count > 1, spread, spread.max())
    low, high = torch.quantile(spread, torch.tensor([0.1, 0.9], dtype=spread.dtype, device=spread.device))
    spread = spread.clamp(low, high).clamp(min=1e-6)
    return temperature * spread / spread.mean()


def prototype_contrast(rows: Tensor, centres: Tensor, member: Tensor, temperature: float) -> Tensor:
    """Mean of -log(e^{z c_k(i) / phi_k(i)} / (N / K sum_k e^{z c_k / phi_k})): rows (N, D) and their clusters -> ()."""
    logits = rows @ centres.T / concentration(rows.detach(), centres, member, temperature)
    return F.cross_entropy(logits, member) + log(len(rows) / len(centres))
