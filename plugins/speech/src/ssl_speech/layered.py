"""Frozen features of all layers, weighted as the task likes: how SUPERB reads an encoder (arXiv:2105.01051)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Data
from ssl_core.batches import move
from ssl_core.contracts import Fold
from ssl_core.evaluation import folds

from .encoders import FrameEncoder
from .waves import masked_mean

STRENGTHS = tuple(10.0**k for k in range(1, -6, -1))  # of the penalty, strong to weak


@torch.no_grad()
def layer_means(encoder: FrameEncoder, batches: Iterable[Any], device: torch.device | str = "cpu") -> Tensor:
    """Mean over the frames of each recording after the front end and after every block, (N, depth + 1, D).

    A weighted sum of layers followed by a linear map and a mean over time, as SUPERB takes for words and speakers, needs no
    more than these means.

    Raises:
        ValueError: an encoder without layers of frames.
    """
    if not isinstance(encoder, FrameEncoder):
        raise ValueError(f"layers of frames are wanted (wav2vec2, mel, ...), {type(encoder).__name__} has none")
    training, found = encoder.training, []
    encoder.eval()
    for batch in batches:
        x, valid = encoder.local(move(batch, device))
        states = encoder.body(x, valid)[0]
        found.append(torch.stack([masked_mean(state.float(), valid) for state in states], dim=1))
    encoder.train(training)
    return torch.cat(found)


def weighted(train: Fold, validation: Fold, test: Fold) -> dict[str, Any]:
    """Accuracy of a linear probe on a learned weighted sum of layers, and the weights.

    Layers are centred and brought to one scale each, so that weights can be compared; SUPERB itself does not. The penalty of
    the linear map is the one that scores best on validation.

    Args:
        train, validation, test: features (N, L, D) and classes (N,).

    Returns:
        {"layers": accuracy, "weights": one for each layer, adding up to 1}
    """
    mean = train.features.mean(dim=0)
    scale = (train.features - mean).square().mean(dim=(0, 2)).sqrt().clamp(min=1e-6)[:, None]
    parts = [Fold((fold.features - mean) / scale, fold.labels) for fold in (train, validation, test)]
    classes = int(max(fold.labels.max() for fold in parts)) + 1
    layers, width = parts[0].features.shape[1:]
    state = parts[0].features.new_zeros(layers), parts[0].features.new_zeros(width + 1, classes)
    best, chosen = -1.0, state
    for strength in STRENGTHS:  # each starts from the solution of the one before
        state = fit(parts[0], *state, strength)
        found = accuracy(parts[1], *state)
        if found > best:
            best, chosen = found, state
    return {"layers": accuracy(parts[2], *chosen), "weights": chosen[0].softmax(dim=0).tolist()}


def fit(fold: Fold, mix: Tensor, weight: Tensor, strength: float, steps: int = 60) -> tuple[Tensor, Tensor]:
    """Cross-entropy and a penalty on the linear map, minimised over the weights (L,) and the map (D + 1, C) by L-BFGS."""
    mix, weight = mix.clone().requires_grad_(True), weight.clone().requires_grad_(True)
    search = torch.optim.LBFGS([mix, weight], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(logits(fold.features, mix, weight), fold.labels)
        value = value + strength / 2 * weight[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
    return mix.detach(), weight.detach()


def logits(x: Tensor, mix: Tensor, weight: Tensor) -> Tensor:
    """(N, L, D), (L,), (D + 1, C) -> (N, C)."""
    return torch.einsum("nld,l->nd", x, mix.softmax(dim=0)) @ weight[:-1] + weight[-1]


def accuracy(fold: Fold, mix: Tensor, weight: Tensor) -> float:
    return float((logits(fold.features, mix, weight).argmax(dim=1) == fold.labels).double().mean())


def layer_weighted(encoder: FrameEncoder, data: Data, device: torch.device | str = "cpu") -> dict[str, Any]:
    """`weighted` for an encoder and labelled data: `layer_weighted(run.encoder, run.data())`."""
    features = layer_means(encoder, data.train if data.items is None else data.items, device)
    found = [Fold(fold.features.unflatten(1, features.shape[1:]), fold.labels) for fold in folds(features.flatten(1), data)]
    return weighted(*found)
