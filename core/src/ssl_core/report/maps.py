"""The embedding in the plane: PCA at once, t-SNE from scikit-learn, UMAP where it is installed."""
from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


def maps(features: Tensor, full: bool) -> tuple[dict[str, Any], list[str]]:
    """Maps of some rows (n, D) by name, (n, 2) each, and a line for each that is not there."""
    rows = features.double() - features.double().mean(dim=0)
    if len(rows) < 3 or float(rows.square().sum()) <= 1e-12 * float(features.double().square().sum()):
        return {}, ["All items lie on one point, so there is no map to draw."] if len(rows) >= 3 else ["Too few items to map."]
    found = {"PCA": principal(rows, 2).numpy()}
    if not full:
        return found, ["t-SNE and UMAP take seconds: `sslrun report RUN` draws them too."]
    near = principal(rows, 50).float().numpy()
    found["t-SNE"] = tsne(near)
    try:
        found["UMAP"] = umap(near)
    except ModuleNotFoundError:
        return found, ["No UMAP: umap-learn is not installed (pip install umap-learn)."]
    return found, []


def principal(rows: Tensor, count: int) -> Tensor:
    """Centred rows (n, D) along their first axes: (n, min(count, n, D)), at least two columns."""
    left, values, _ = torch.linalg.svd(rows, full_matrices=False)
    found = (left * values)[:, :count]
    return found if found.shape[1] > 1 else torch.cat([found, torch.zeros_like(found)], dim=1)


def tsne(rows: Any) -> Any:
    """t-SNE (van der Maaten and Hinton, 2008), started from the principal axes."""
    from sklearn.manifold import TSNE
    return TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(rows)


def umap(rows: Any) -> Any:
    """UMAP (arXiv:1802.03426).

    Raises:
        ModuleNotFoundError: umap-learn is not installed.
    """
    from umap import UMAP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that a seed makes it run in one thread
        return UMAP(n_neighbors=min(15, len(rows) - 1), random_state=0).fit_transform(rows)
