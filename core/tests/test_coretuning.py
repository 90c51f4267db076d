"""Core-tuning against a plain version with loops, and the errors of the published code that it does not have."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_core.finished.coretuning import CoreTuning, focal_contrast, mixed

G = torch.Generator().manual_seed(0)
X = torch.rand(12, 5, generator=G, dtype=torch.float64)  # non-negative, as after a ReLU
LABELS = torch.tensor([0, 1, 2] * 4)
Y = F.one_hot(LABELS, 3).double()
SHARES = 0.8 + 0.2 * torch.rand(2, 12, generator=G, dtype=torch.float64)
OTHER = torch.randperm(12, generator=G)


def plain(x, y, shares, other):
    labels, unit = y.argmax(1), x / np.linalg.norm(x, axis=1, keepdims=True)
    rows, targets = [*x], [*y]
    for i in range(len(x)):
        a = shares[0, i]
        rows.append(a * x[i] + (1 - a) * x[other[i]])
        targets.append(a * y[i] + (1 - a) * y[other[i]])
    for i in range(len(x)):
        friends = [j for j in range(len(x)) if j != i and labels[j] == labels[i]] or [i]
        strangers = [j for j in range(len(x)) if labels[j] != labels[i]]
        p, n = min(friends, key=lambda j: unit[i] @ unit[j]), max(strangers, key=lambda j: unit[i] @ unit[j])
        b = shares[1, i]
        rows.append(b * x[p] + (1 - b) * x[n])
        targets.append(b * y[p] + (1 - b) * y[n])
    return np.stack(rows), np.stack(targets)


def plain_contrast(rows, targets, temperature):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for i in range(len(rows)):
        below = sum(np.exp(unit[i] @ unit[j] / temperature) for j in range(len(rows)) if j != i)
        terms = []
        for j in range(len(rows)):
            if j != i and np.allclose(targets[i], targets[j], atol=1e-9):
                p = np.exp(unit[i] @ unit[j] / temperature) / below
                terms.append(-(1 - p) * np.log(p))
        if terms:
            found.append(np.mean(terms))
    return np.mean(found)


def test_mixtures_and_hard_pairs_are_those_of_the_paper():
    ours, wanted = mixed(X, Y, SHARES, OTHER), plain(X.numpy(), Y.numpy(), SHARES.numpy(), OTHER.numpy())
    for a, b in zip(ours, wanted):
        np.testing.assert_allclose(a, b)


def test_the_hard_positive_is_another_item_though_features_are_not_negative():
    """Masking by multiplication picks the masked zero, and so the anchor itself or item 0."""
    rows, _ = mixed(X, Y, torch.ones(2, 12, dtype=torch.float64), OTHER)
    for i, row in enumerate(rows[24:]):
        chosen = (X - row).abs().sum(dim=1).argmin()
        assert chosen != i and LABELS[chosen] == LABELS[i]


def test_an_item_alone_in_its_class_is_its_own_positive_and_one_class_has_no_negative():
    y = F.one_hot(torch.tensor([2] + [0, 1] * 5 + [0]), 3).double()
    rows, targets = mixed(X, y, torch.ones(2, 12, dtype=torch.float64), OTHER)
    torch.testing.assert_close(rows[24], X[0])
    one = torch.ones(12, 1, dtype=torch.float64)
    rows, targets = mixed(X, one, SHARES, OTHER)
    assert rows.isfinite().all() and torch.equal(targets, torch.ones(36, 1, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_contrast_equals_its_formula_in_value_and_gradient(temperature):
    rows, targets = mixed(X, Y, SHARES, OTHER)
    rows = rows.clone().requires_grad_()
    ours = focal_contrast(rows, targets, temperature)
    assert ours.item() == pytest.approx(plain_contrast(rows.detach().numpy(), targets.numpy(), temperature), rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: focal_contrast(x, targets, temperature), rows)


def test_many_classes_are_told_apart():
    """Soft labels encoded as decimal numbers overflow."""
    labels = torch.arange(40)
    rows, targets = torch.randn(80, 6, dtype=torch.float64), F.one_hot(labels.repeat(2), 40).double()
    assert focal_contrast(rows, targets, 0.1).item() == pytest.approx(plain_contrast(rows.numpy(), targets.numpy(), 0.1))


def test_the_gradient_reaches_the_encoder_through_every_part():
    torch.manual_seed(0)
    x, net, classifier = torch.randn(12, 8, requires_grad=True), CoreTuning(8), nn.Linear(8, 3)
    loss = net(x, LABELS, classifier)
    loss.backward()
    assert loss.isfinite() and x.grad.abs().sum(dim=1).min() > 0
    assert all(p.grad is not None for p in [*net.parameters(), *classifier.parameters()])
