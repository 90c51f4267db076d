"""Soft communities of nodes: how dense they are, what they look like, and contrast with them."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def deca(shares: Tensor, edge_index: Tensor, balance: float = 1.0, normalized: bool = False) -> Tensor:
    """Dense communities assignment (gCooL, arXiv:2110.14863, section 3.2): low when edges stay inside communities.

    Computed along the edges, O(E K): `paper` needs only the sum over edges of <R_i, R_j>, because rows of R sum to 1.

    Args:
        shares: (N, K) soft memberships R, rows sum to 1.
        edge_index: (2, E).
        balance: weight of the density between communities (lambda).
        normalized: divide M_kl by the sizes n_k n_l of the communities instead of by N (N - 1) and N.

    Returns:
        (): balance * between - inside + |R|^2 / 2N.
    """
    n, (source, target) = len(shares), edge_index
    spread = shares.square().sum() / (2 * n)
    if normalized:
        sizes = shares.sum(dim=0).clamp(min=1e-6)
        flow = torch.zeros_like(shares).index_add_(0, target, shares.index_select(0, source))
        density = shares.T @ flow / (sizes[:, None] * sizes)  # (K, K)
        inside, k = density.diagonal().mean(), len(density)
        between = (density.sum() - density.diagonal().sum()) / max(1, k * (k - 1))
        return balance * between - inside + spread
    inside = (shares.index_select(0, source) * shares.index_select(0, target)).sum()  # its backward adds, no sort
    between = len(source) - inside
    return balance * between / (n * (n - 1)) - inside / n + spread


def prototypes(rows: Tensor, member: Tensor, communities: int) -> tuple[Tensor, Tensor]:
    """Mean row of each community and whether it has any member: (K, D), (K,) bool."""
    count = torch.bincount(member, minlength=communities)
    total = rows.new_zeros(communities, rows.shape[1]).index_add_(0, member, rows)
    return total / count.clamp(min=1)[:, None], count > 0


def communal_contrast(rows: Tensor, means: Tensor, alive: Tensor, member: Tensor, temperature: float,
                      gamma: float | None) -> Tensor:
    """Tell the mean of a node's community from the means of the others (gCooL, section 3.3, ReSC).

    Args:
        rows: (N, D), unit rows.
        means: (K, D); those of empty communities are left out (`alive`).
        member: (N,) community of each node.
        gamma: None: cosine similarity; else exp(-d^2 / temperature), and a negative community l counts
            exp(-gamma |C_k - C_l|^2).

    Returns:
        ().
    """
    if gamma is None:
        logits = rows @ F.normalize(means).T / temperature
    else:
        logits = -(rows.square().sum(dim=1, keepdim=True) - 2 * rows @ means.T + means.square().sum(dim=1)) / temperature
        logits = logits - gamma * torch.cdist(means, means).square()[member]
    return F.cross_entropy(logits.masked_fill(~alive, -torch.inf), member)


@torch.no_grad()
def kmeans(rows: Tensor, clusters: int) -> Tensor:
    """Centres of k-means, (clusters, D), by scikit-learn; seeded by torch's generator."""
    from sklearn.cluster import KMeans
    seed = int(torch.randint(2**31, ()))
    found = KMeans(min(clusters, len(rows)), n_init=3, random_state=seed).fit(rows.float().cpu().numpy())
    centres = torch.from_numpy(found.cluster_centers_).to(rows)
    spare = rows[torch.randint(len(rows), (clusters - len(centres),), device=rows.device)]
    return torch.cat([centres, spare])
