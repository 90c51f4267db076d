"""What a matrix of features says about itself, with or without labels: pure functions, computed in 64 bits.

N rows, D columns; every result is a plain number unless said otherwise.
"""
from __future__ import annotations

from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor

MOST = 20_000  # rows beyond which evenly spaced ones are taken


def wide(x: Tensor) -> Tensor:
    """In 64 bits; on the CPU if the device has none (Apple's)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def thinned(rows: Tensor, limit: int = MOST) -> Tensor:
    """At most about `limit` rows, evenly spaced, in 64 bits."""
    return wide(rows[:: max(1, len(rows) // limit)])


def singular_values(x: Tensor) -> Tensor:
    """Of (N, D), through the smaller Gram matrix: exact to 1e-8 of the largest, in (N + D) min(N, D)^2 time."""
    gram = x.T @ x if len(x) > x.shape[1] else x @ x.T
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0)


def effective_rank(values: Tensor, eps: float = 1e-7) -> float:
    """exp of the entropy of values >= 0 that are made to sum to one."""
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny) + eps
    return float((-(share * share.log()).sum()).exp())


def rankme(features: Tensor, limit: int = MOST) -> float:
    """RankMe, from 1 to D: exp(-sum p log p), p = s / sum(s) + 1e-7, s the singular values (arXiv:2210.02885, equation 1)."""
    return effective_rank(singular_values(thinned(features, limit)))


def alpha_req(features: Tensor, first: int = 11, last: int = 50) -> float:
    """alpha-ReQ: the exponent a in eigenvalue(i) ~ i^-a of the covariance, by least squares in log-log (arXiv:2202.05808).

    About 1 is good; large: few directions hold all variance. Fitted on the indices `first` to `last`, or on all where
    there are fewer than `last` positive eigenvalues; 0.0 where there are fewer than two.
    """
    x = thinned(features)
    values = singular_values(x - x.mean(dim=0)).square()
    values = values[values > values.max() * 1e-12]
    start, end = (first - 1, last) if len(values) >= last else (0, len(values))
    if end - start < 2:
        return 0.0
    index = torch.arange(start + 1, end + 1, dtype=torch.float64, device=x.device).log()
    index, height = index - index.mean(), values[start:end].log()
    return -float((index * height).sum() / index.square().sum())


def lidar(views: Tensor, delta: float = 1e-4) -> float:
    """LiDAR: the effective rank of what tells items apart, in the measure of what augmentation changes (arXiv:2312.04000).

    The entropy of RankMe on the eigenvalues of Sw^-1/2 Sb Sw^-1/2; Sb: covariance of the means of the items, Sw: mean
    covariance of the views of an item, plus delta. At most N - 1.

    Args:
        views: (N, V, D), V >= 2 views of each item.
    """
    x = wide(views)
    means = x.mean(dim=1)  # (N, D)
    between, within = means - means.mean(dim=0), (x - means[:, None]).flatten(0, 1)
    spread = within.T @ within / (len(x) * (x.shape[1] - 1)) + delta * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    values, vectors = torch.linalg.eigh(spread)
    white = between @ vectors / values.clamp(min=delta).sqrt()  # rotated, which changes no eigenvalue
    return effective_rank(singular_values(white).square() / max(1, len(x) - 1))


def deviations(features: Tensor) -> Tensor:
    """(D,) deviations of each column of the unit rows, times sqrt(D): 1 where directions are spread evenly, 0 where all rows
    point the same way (SimSiam, arXiv:2011.10566, section 4.1)."""
    unit = F.normalize(wide(features), dim=1)
    return unit.std(dim=0, correction=0) * unit.shape[1] ** 0.5


def uniformity(features: Tensor, limit: int = 1024) -> float:
    """log of the mean of exp(-2 |u - v|^2) over pairs of unit rows: 0 collapsed, down to -4 (arXiv:2005.10242, equation 2)."""
    unit = F.normalize(thinned(features, limit), dim=1)
    return float(F.pdist(unit).square().mul(-2).exp().mean().clamp(min=1e-300).log()) if len(unit) > 1 else 0.0


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean |u - v|^2 of unit rows of two views: 0 the same, 2 unrelated (arXiv:2005.10242, equation 1)."""
    return float((F.normalize(wide(a), dim=1) - F.normalize(wide(b), dim=1)).square().sum(dim=1).mean())


def agreement(student: Tensor, teacher: Tensor) -> float:
    """Mean cosine of the rows of a student with those of its teacher."""
    return float(F.cosine_similarity(wide(student), wide(teacher), dim=1).mean())


def perplexity(shares: Tensor) -> float:
    """Entries of a codebook in use: exp of the entropy of the shares (K,) in which they are chosen; from 1 to K."""
    share = wide(shares) / wide(shares).sum()
    return float(torch.special.entr(share).sum().exp())


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Linear CKA of two embeddings of the same items, (N, D) and (N, E): |A'B|^2 / (|A'A| |B'B|), columns centred
    (arXiv:1905.00414, section 3). 1: equal up to rotation and scale; 0: nothing in common."""
    a, b = (x - x.mean(dim=0) for x in (thinned(a), thinned(b)))
    if max(a.shape[1], b.shape[1]) > len(a):  # the same through the Gram matrices of the items, which are smaller then
        first, second = a @ a.T, b @ b.T
        common, below = (first * second).sum(), first.norm() * second.norm()
    else:
        common, below = (a.T @ b).square().sum(), (a.T @ a).norm() * (b.T @ b).norm()
    return float(common / below) if below > 0 else 0.0


def logme(features: Tensor, labels: Tensor, steps: int = 100, tolerance: float = 1e-6) -> float:
    """LogME: log evidence per item of a Bayesian linear model of the labels, its two precisions chosen by the fixed point
    of MacKay; the mean over one-against-all classes (arXiv:2102.11005, algorithm 1). Larger is better.

    Args:
        labels: (N,) long for classes, float for a quantity.
    """
    x = features.double()
    targets = labels.double()[:, None] if labels.is_floating_point() else F.one_hot(labels).double()
    targets = targets[:, targets.std(dim=0) > 0]
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    return sum(_evidence(u.T @ y, y, s.square(), x.shape[1], steps, tolerance) for y in targets.T) / max(1, targets.shape[1])


def _evidence(z: Tensor, y: Tensor, power: Tensor, width: int, steps: int, tolerance: float) -> float:
    """log p(y) / N of y = F w + noise, w ~ N(0, 1 / alpha), noise ~ N(0, 1 / beta), alpha and beta at their fixed point."""
    n, rest = len(y), y.square().sum() - z.square().sum()
    alpha = beta = torch.ones((), dtype=y.dtype, device=y.device)
    for _ in range(steps):
        share = alpha + beta * power
        mean2 = (beta.square() * power * z.square() / share.square()).sum()  # |m|^2
        error = (alpha * z / share).square().sum() + rest.clamp(min=0)  # |F m - y|^2
        used = (beta * power / share).sum()
        new_alpha = used / mean2.clamp(min=1e-12)
        new_beta = (n - used).clamp(min=1e-12) / error.clamp(min=1e-12)
        done = bool((new_alpha / new_beta / (alpha / beta) - 1).abs() < tolerance)
        alpha, beta = new_alpha, new_beta
        if done:
            break
    share = alpha + beta * power
    mean2 = (beta.square() * power * z.square() / share.square()).sum()
    error = (alpha * z / share).square().sum() + rest.clamp(min=0)
    spread = share.log().sum() + (width - len(power)) * alpha.log()  # log |A|
    value = n * beta.log() + width * alpha.log() - n * log(2 * pi) - beta * error - alpha * mean2 - spread
    return float(value / (2 * n))


def h_score(features: Tensor, labels: Tensor) -> float:
    """H-score: trace of cov(f)^-1 cov(E[f | y]), from 0 to classes - 1 (Bao et al., ICIP 2019, definition 2). Larger is
    better; of a covariance without inverse, the pseudo-inverse."""
    x = features.double() - features.double().mean(dim=0)
    means = torch.stack([x[labels == c].mean(dim=0) for c in labels.unique()])  # (C, D)
    share = torch.stack([(labels == c).double().mean() for c in labels.unique()])
    between = means.T @ (share[:, None] * means)
    return float(torch.trace(torch.linalg.pinv(x.T @ x / len(x), hermitian=True, rtol=1e-9) @ between))


def ped(features: Tensor, labels: Tensor, radius: float = 0.5, time: float = 0.1, steps: int = 6) -> float:
    """LogME after PED: classes that overlap push each other apart first, as fine-tuning would (arXiv:2308.15074).

    Classes are balls of radius R = sqrt(sum of variances). Two that are nearer than `radius` (R_i + R_j) are moved apart by
    min(time^2 / 2 * F, F) each, F being how much they overlap; up to `steps` times, until the moves are half of the
    first. Columns are standardised with their own statistics (the paper: those of the source data).
    """
    x = features.double()
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-9)
    classes, member = labels.unique(return_inverse=True)
    first = 0.0
    for step in range(steps):
        means = torch.stack([x[member == c].mean(dim=0) for c in range(len(classes))])  # (C, D)
        radii = torch.stack([(x[member == c] - means[c]).square().sum(dim=1).mean().sqrt() for c in range(len(classes))])
        apart = means[:, None] - means  # (C, C, D)
        distance = apart.norm(dim=2)
        force = (radius * (radii[:, None] + radii) - distance).clamp(min=0).fill_diagonal_(0)
        push = torch.minimum(time**2 / 2 * force, force)
        moves = (push[..., None] * apart / distance.clamp(min=1e-12)[..., None]).sum(dim=1)  # (C, D)
        x, size = x + moves[member], float(moves.norm(dim=1).sum())
        first = first or size
        if step and size <= first / 2:
            break
    return logme(x, labels)


def average_precision(features: Tensor, labels: Tensor, at: tuple[int, ...] = (1, 5, 10)) -> dict[str, Tensor]:
    """For each item, how well its class is found among all other items by cosine: average precision, and whether one of the
    `at` nearest is of its class. (N,) each, named `map` and `recall@k`; items without another of their class are left out.
    """
    unit, found = F.normalize(features, dim=1), dict[str, list[Tensor]]()
    for rows in torch.arange(len(unit), device=unit.device).split(max(1, 2**22 // len(unit))):
        near = unit[rows] @ unit.T
        near[torch.arange(len(rows), device=unit.device), rows] = -torch.inf
        order = near.argsort(dim=1, descending=True, stable=True)[:, :-1]  # the item itself comes last
        right = (labels[order] == labels[rows, None]).double()  # (Q, N - 1)
        right = right[right.any(dim=1)]
        rank = torch.arange(1, right.shape[1] + 1, device=unit.device)
        precise = (right * right.cumsum(dim=1) / rank).sum(dim=1) / right.sum(dim=1)
        found.setdefault("map", []).append(precise)
        for k in at:
            found.setdefault(f"recall@{k}", []).append(right[:, :k].amax(dim=1))
    return {name: torch.cat(parts) for name, parts in found.items()}
