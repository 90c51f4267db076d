"""What is measured of an embedding: what it knows of how a view was drawn, and test images from another domain."""
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from ssl_core import Data, DataError, Fold
from ssl_core.probes.linear import STRENGTHS
from ssl_vision.data import digits
from ssl_vision.equivariance import equivariance, parameters, r2
from ssl_vision.shifts import SHIFTS, shifted
from ssl_vision.views import Traced


@pytest.fixture(scope="module")
def data():
    return digits()


def test_r2_is_that_of_scikit_learn_with_the_penalty_that_validation_picks():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 12, generator=g).double()
    y = x[:, :3] * 2 + torch.randn(300, 3, generator=g) + 5
    parts = [Fold(x[i: i + 100], y[i: i + 100]) for i in (0, 100, 200)]
    mean, std, centre, size = x[:100].mean(0), x[:100].std(0), y[:100].mean(0), y[:100].std(0)
    scaled = [(((f.features - mean) / std).numpy(), ((f.labels - centre) / size).numpy()) for f in parts]
    fitted = {s: Ridge(alpha=s * 100, fit_intercept=False).fit(*scaled[0]) for s in STRENGTHS}
    best = max(STRENGTHS, key=lambda s: r2_score(scaled[1][1], fitted[s].predict(scaled[1][0])))
    found = r2(*parts)
    guess = fitted[best].predict(scaled[2][0])
    expected = 1 - ((guess - scaled[2][1]) ** 2).sum(0) / (scaled[2][1] ** 2).sum(0)
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-9)


def test_the_test_fold_chooses_nothing():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 30, generator=g), torch.randn(200, 2, generator=g)
    whole = [Fold(x[:60], y[:60]), Fold(x[60:120], y[60:120])]
    a, b = r2(*whole, Fold(x[120:160], y[120:160])), r2(*whole, Fold(x[160:], y[160:]))
    joint = r2(*whole, Fold(x[120:], y[120:]))
    assert not torch.allclose(a, b) and ((joint - torch.minimum(a, b)) > -0.2).all()  # one penalty, whatever is tested
    still = r2(Fold(x[:60], y[:60] * 0), Fold(x[60:120], y[60:120]), Fold(x[120:], y[120:]))
    assert still.isnan().all()


def test_an_embedding_that_holds_the_parameters_is_equivariant_and_one_that_does_not_is_not(data):
    drawn = Traced(2, scale=(0.4, 0.9), angle=20.0, strengths=(0.3, 0.3, 0.0, 0.0))
    knows = equivariance(parameters, data, drawn)
    assert knows["r2"] > 0.999 and knows["r2_geometry"] > 0.999 and knows["r2_colour"] > 0.999
    noise = equivariance(lambda view: torch.randn(len(view.pixels), 8), data, drawn)
    assert abs(noise["r2"]) < 0.1
    half = equivariance(lambda view: view.theta.flatten(1), data, drawn)
    assert half["r2_geometry"] > 0.999 and half["r2_colour"] < 0.1
    pixels = equivariance(lambda view: view.pixels.flatten(1), data, drawn)
    assert 0.1 < pixels["r2"] < 0.95 and pixels == equivariance(lambda view: view.pixels.flatten(1), data, drawn)
    assert "r2_colour" not in equivariance(parameters, data, Traced(2, jitter=0.0))


def test_measuring_leaves_the_random_numbers_alone(data):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    equivariance(parameters, data, Traced(2))
    list(shifted(data, SHIFTS["noise"]).items)
    assert torch.equal(torch.rand(4), expected)
    with pytest.raises(DataError, match="no folds"):
        equivariance(parameters, Data(train=[], size=0), Traced(2))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_the_test_images_and_no_others(name, data):
    before = torch.cat([batch.pixels.float() / 255 for batch in data.items])
    other = shifted(data, SHIFTS[name])
    after = torch.cat([batch.pixels for batch in other.items])
    assert after.shape == before.shape and 0 <= after.min() and after.max() <= 1
    changed = (after - before).abs().amax(dim=(1, 2, 3)) > 1e-3
    test = torch.isin(torch.arange(len(before)), data.folds["test"])
    assert not changed[~test].any() and changed[test].float().mean() > 0.95
    assert torch.equal(after, torch.cat([batch.pixels for batch in other.items]))
