"""SCGC: a perceptron whose rows attract along the powers of the graph, sharpened around clusters (arXiv:2204.12656)."""
from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data as Graph

from ssl_core import Method, Representation
from ssl_core.modules import mlp
from ssl_core.objectives.blockwise import log_sum_exp

from ..communities import kmeans

CHUNK = 2**20  # pairs whose rows are held at a time


class MLP(nn.Module):
    """A perceptron on the features of each node; it sees no edges.

    Args:
        in_features: features of a node; from the data.
        width: of the representation.
        hidden: widths of the inner layers.
    """

    def __init__(self, in_features: int, width: int = 256, hidden: tuple[int, ...] = (512,)) -> None:
        super().__init__()
        self.width, self.input_width, self.widths = width, in_features, (in_features, *hidden, width)
        self.net = mlp(*self.widths, norm="none")

    def forward(self, graph: Graph) -> Representation:
        rows = self.net(graph.x)
        return Representation(rows, rows)


class SCGC(Method):
    """Contrast nodes with what the graph lets them reach, and pull them towards clusters found on the way.

    First an autoencoder is trained; then k-means sets the centres, and the contrast and the self-training begin.

    Args:
        clusters: their number K; from the data, the number of classes, unless given.
        order: powers of the graph (r).
        cumulative: sum the powers 1 to r instead of taking the last (SCGC*).
        reconstruct: keep the autoencoder's loss after its warm-up (not in SCGC*).
        sharpness: what cosines are multiplied with before the exponential (tau of the paper).
        contrast: weight of the contrast (alpha).
        clustering: weight of the self-training (beta).
        warmup: share of training for the autoencoder alone.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, classes: int = 10, clusters: int = 0, order: int = 1,
                 cumulative: bool = False, reconstruct: bool = True, sharpness: float = 0.25, contrast: float = 1.0,
                 clustering: float = 0.1, warmup: float = 0.3) -> None:
        super().__init__(encoder, augmentation, objective)
        if not isinstance(encoder, MLP):
            raise ValueError(f"scgc needs the encoder mlp, whose decoder is its mirror image, not {type(encoder).__name__}")
        if order < 1 or not 0 < sharpness <= 40 or not 0 <= warmup < 1:
            raise ValueError(f"order should be 1 or more, sharpness in (0, 40], warmup in [0, 1); "
                             f"got {order}, {sharpness} and {warmup}")
        self.decoder = mlp(*encoder.widths[::-1], norm="none")
        self.centres = nn.Parameter(torch.randn(clusters or classes, encoder.width))
        self.order, self.cumulative, self.reconstruct = order, cumulative, reconstruct
        self.sharpness, self.contrast, self.clustering, self.warmup = sharpness, contrast, clustering, warmup
        self.known: tuple[Tensor, Tensor, Tensor] | None = None  # edge_index, and the pairs and weights found for it

    def step(self, batch: Any) -> dict[str, Tensor]:
        (view, *_) = self.augmentation(batch)
        z, start = self.encoder(view).pooled, ceil(self.warmup * self.progress.total)
        rebuild = contrast = cluster = z.new_zeros((), dtype=torch.float32)
        if self.reconstruct or self.progress.step < start:
            rebuild = self.compare(self.decoder(z), batch.x)
        if self.progress.step >= start:
            with torch.autocast(z.device.type, enabled=False):
                z = z.float() if z.itemsize < 4 else z
                if self.progress.step == start:
                    self.restart(z)
                contrast = influence_contrast(z, *self.influence(batch), self.sharpness)
                cluster = self_training(self.assign(z))
        loss = rebuild + self.contrast * contrast + self.clustering * cluster
        return {"loss": loss, "rebuild": rebuild, "contrast": contrast, "cluster": cluster}

    def assign(self, z: Tensor) -> Tensor:
        """Soft membership of each node in each cluster, by Student's t with one degree of freedom, (N, K)."""
        near = 1 / (1 + distances(z, self.centres))
        return near / near.sum(dim=1, keepdim=True)

    def influence(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Pairs that attract and how much; found once per graph."""
        if self.known is None or self.known[0] is not graph.edge_index:
            self.known = graph.edge_index, *influence(graph, self.order, self.cumulative)
        return self.known[1], self.known[2]

    @torch.no_grad()
    def restart(self, z: Tensor) -> None:
        """Put the centres where k-means finds clusters now."""
        self.centres.copy_(kmeans(z.detach(), len(self.centres)))


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances (N, K); smooth where rows coincide, as the root is not."""
    return (a.square().sum(dim=1, keepdim=True) - 2 * a @ b.T + b.square().sum(dim=1)).clamp(min=0)


def self_training(q: Tensor) -> Tensor:
    """KL(p | q) per node, with p the sharpened and size-balanced q, held still (DEC, arXiv:1511.06335): (N, K) -> ()."""
    p = q.detach().square() / q.detach().sum(dim=0)
    p = p / p.sum(dim=1, keepdim=True)
    return F.kl_div(q.log(), p, reduction="batchmean")


def influence(graph: Graph, order: int, cumulative: bool) -> tuple[Tensor, Tensor]:
    """The r-th power of the row-normalised A + I, or the sum of the powers 1 to r, as pairs (2, M) and weights (M,).

    Sparse products only, by SciPy and once per graph; no N x N matrix is made.
    """
    n = graph.num_nodes
    source, target = graph.edge_index.cpu().numpy()
    matrix = sp.csr_matrix((np.ones(len(source)), (target, source)), (n, n)) + sp.eye(n, format="csr")
    matrix = sp.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    power = total = matrix
    for _ in range(order - 1):
        power = matrix @ power
        total = total + power if cumulative else power
    total = total.tocoo()
    pairs = torch.from_numpy(np.stack([total.row, total.col])).long()
    return pairs.to(graph.x.device), torch.from_numpy(total.data).to(graph.x)


def influence_contrast(z: Tensor, pairs: Tensor, weights: Tensor, sharpness: float) -> Tensor:
    """-log of the share that the pairs of the graph have in all pairs, exact (SCGC): (N, D), (2, M), (M,) -> ().

    With e_ij = exp(sharpness cos(z_i, z_j)) and e_ii = 1: mean_i -log(sum_j W_ij e_ij / sum_j e_ij + 1e-8).
    """
    z, (i, j) = F.normalize(z, dim=1), pairs
    along = torch.where(i == j, 0.0, sharpness * dots(z, pairs)).exp()
    pulled = z.new_zeros(len(z)).index_add(0, i, weights * along)
    others, _ = log_sum_exp(z, z, sharpness, bound=sharpness, exclude_self=True)
    everything = torch.logaddexp(others, torch.zeros_like(others))
    return -(pulled * (-everything).exp() + 1e-8).log().mean()


def dots(rows: Tensor, pairs: Tensor) -> Tensor:
    """Inner products of pairs of rows: (N, D), (2, M) -> (M,), in M + N D memory where autograd would keep 2 M D."""
    return _Dots.apply(rows, pairs)


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, pairs: Tensor) -> Tensor:
        ctx.save_for_backward(rows, pairs)
        return torch.cat([(rows[i] * rows[j]).sum(dim=1) for i, j in zip(*(p.split(CHUNK) for p in pairs), strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rows, pairs = ctx.saved_tensors
        total = torch.zeros_like(rows)
        for i, j, g in zip(pairs[0].split(CHUNK), pairs[1].split(CHUNK), grad.split(CHUNK), strict=True):
            total.index_add_(0, i, g[:, None] * rows[j]).index_add_(0, j, g[:, None] * rows[i])
        return total, None
