"""Further scores: what is known to be easy scores high, what is noise scores as chance."""
import pytest
import torch

from ssl_core import Fold
from ssl_graph.probes import similar, svm


def folds(separated, n=240):
    torch.manual_seed(0)
    labels = torch.arange(n) % 3
    rows = torch.randn(n, 6) + (4 * torch.nn.functional.one_hot(labels, 6) if separated else 0)
    return [Fold(rows[part], labels[part]) for part in torch.randperm(n).split(n // 3)]


@pytest.mark.parametrize(("probe", "name"), [(svm, "svm"), (similar, "sim@5")])
def test_scores_tell_signal_from_noise(probe, name):
    assert probe(*folds(True))[name] > 0.95
    assert abs(probe(*folds(False))[name] - 1 / 3) < 0.12


def test_quantities_have_no_such_scores():
    given = [Fold(fold.features, fold.labels.double()) for fold in folds(True)]
    assert svm(*given) == similar(*given) == {}


def test_similar_is_a_share_of_neighbours():
    _, _, test = folds(False)
    unit = torch.nn.functional.normalize(test.features)
    right = 0
    for i in range(len(unit)):
        alike = sorted(((float(unit[i] @ unit[j]), j) for j in range(len(unit)) if j != i), reverse=True)[:5]
        right += sum(int(test.labels[j] == test.labels[i]) for _, j in alike)
    assert similar(test, test, test)["sim@5"] == pytest.approx(right / 5 / len(unit))
