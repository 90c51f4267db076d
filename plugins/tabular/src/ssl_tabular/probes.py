"""Probes that people use on tables: networks on frozen features, stopped by the validation fold."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Fold
from ssl_core.batches import seed_all, unnoticed

from . import heads


def mlp(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Accuracy (`mlp`) or root mean squared error (`mlp_rmse`) of a perceptron with two hidden layers of 256.

    AdamW, 1e-3, batches of 256, at most 100 epochs; it stops after 12 epochs without a better validation score and keeps
    the best. Features are standardised with the statistics of the training fold. Always the same seed.
    """
    return _scores("mlp", heads.perceptron, train, validation, test)


def resnet(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`resnet` or `resnet_rmse` of a residual perceptron, trained as `mlp` is."""
    return _scores("resnet", heads.resnet, train, validation, test)


def dcnv2(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`dcnv2` or `dcnv2_rmse` of a deep and cross network, trained as `mlp` is."""
    return _scores("dcnv2", heads.DCNv2, train, validation, test)


def autoint(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`autoint` or `autoint_rmse` of AutoInt, trained as `mlp` is."""
    return _scores("autoint", heads.AutoInt, train, validation, test)


def ft_transformer(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`ft_transformer` or `ft_transformer_rmse` of an FT-Transformer, trained as `mlp` is."""
    return _scores("ft_transformer", heads.FTTransformer, train, validation, test)


def matching(train: Fold, validation: Fold, test: Fold, most: int = 3000) -> dict[str, float]:
    """`pair_f1`: of all pairs of test rows, those called alike by their cosine, against those of one label.

    The threshold is the one with the best F1 among pairs of validation rows; of more than `most` rows, the first are taken.
    Empty for a quantity, and where no two rows share a label.
    """
    if test.labels.is_floating_point():
        return {}
    (close, same), (asked, wanted) = (_pairs(fold, most) for fold in (validation, test))
    if not same.any() or not wanted.any():
        return {}
    order = close.argsort(descending=True)
    hits = same[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(hits) + 1, device=hits.device) + same.sum())
    called = asked >= close[order[int(f1.argmax())]]
    return {"pair_f1": float(2 * (called & wanted).sum() / (called.sum() + wanted.sum()))}


def _pairs(fold: Fold, most: int) -> tuple[Tensor, Tensor]:
    """Cosine of each pair of rows, and whether they share a label: (P,), (P,)."""
    rows, labels = F.normalize(fold.features[:most], dim=1), fold.labels[:most]
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    return (rows @ rows.T)[first, second], labels[first] == labels[second]


def _scores(name: str, head: heads.Head, train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    mean, deviation = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    folds = [Fold((fold.features - mean) / deviation, fold.labels) for fold in (train, validation, test)]
    quantity = train.labels.is_floating_point()
    outputs = 1 if quantity else int(train.labels.max()) + 1
    with unnoticed(), torch.enable_grad():
        seed_all(0)
        net = head(train.features.shape[1], outputs).to(train.features.device)
        found = _fit(net, folds, quantity)
    return {f"{name}_rmse": -found} if quantity else {name: found}


def _fit(net: nn.Module, folds: list[Fold], quantity: bool, epochs: int = 100, patience: int = 12, size: int = 256) -> float:
    """Train with early stopping; the score of the test fold at the best validation score."""
    train, validation, test = folds
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    best, found, waited = -float("inf"), 0.0, 0
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(train.labels)).to(train.labels.device)
        for part in order.tensor_split(-(-len(order) // size)):  # of equal sizes: batch statistics need two rows
            optimizer.zero_grad()
            out, wanted = net(train.features[part]), train.labels[part]
            loss = F.mse_loss(out[:, 0], wanted) if quantity else F.cross_entropy(out, wanted)
            loss.backward()
            optimizer.step()
        score = _score(net, validation, quantity)
        if score > best:
            best, found, waited = score, _score(net, test, quantity), 0
        else:
            waited += 1
        if waited == patience:
            break
    return found


@torch.no_grad()
def _score(net: nn.Module, fold: Fold, quantity: bool, block: int = 8192) -> float:
    """Accuracy, or minus the root mean squared error: more is better."""
    net.eval()
    out = torch.cat([net(rows) for rows in fold.features.split(block)])
    return -_rmse(out[:, 0], fold.labels) if quantity else float((out.argmax(dim=1) == fold.labels).double().mean())


def _rmse(guess: Tensor, labels: Tensor) -> float:
    return float((guess - labels).square().mean().sqrt())
