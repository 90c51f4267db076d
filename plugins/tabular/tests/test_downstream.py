"""Probes and the scikit-learn transformer."""
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from ssl_core import ConfigError, Fold
from ssl_tabular import heads, trees
from ssl_tabular.probes import autoint, dcnv2, ft_transformer, mlp, resnet
from ssl_tabular.sklearn import SSLTransformer
from ssl_tabular.trees import boosted

TINY = {"encoder.width": 8, "encoder.depth": 1, "method.projector": [4]}


def ring(n, seed, quantity=False):
    """Points inside or outside a ring: no line tells them apart."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    radius = x.norm(dim=1)
    return Fold(x, (radius - radius.mean()) / radius.std() if quantity else (radius > 1.18).long())


PROBES = [(mlp, 600), (resnet, 600), (dcnv2, 600), (autoint, 600), (ft_transformer, 400), (boosted, 600)]


@pytest.mark.parametrize("probe, rows", PROBES)
def test_probes_find_what_no_line_finds(probe, rows):
    name, sizes = probe.__name__, (rows, rows // 3, rows // 3)
    folds = [ring(n, seed) for seed, n in enumerate(sizes)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = probe(*folds)
    assert list(found) == [name] and found[name] > 0.8
    assert torch.equal(before, torch.get_rng_state()), "a probe leaves the generators as they were"
    if probe in (autoint, ft_transformer):  # the same training with a slower network
        return
    assert found == probe(*folds)
    error = probe(*(ring(n, seed, True) for seed, n in enumerate(sizes)))
    assert list(error) == [f"{name}_rmse"] and 0 < error[f"{name}_rmse"] < 0.5


@pytest.mark.parametrize("probe", [mlp, dcnv2, boosted])
def test_probes_choose_on_validation(probe):
    train, validation, test = ring(300, 0), ring(100, 1), ring(100, 2)
    wrong = Fold(test.features, 1 - test.labels)
    (right,), (other,) = probe(train, validation, test).values(), probe(train, validation, wrong).values()
    assert right + other == pytest.approx(1.0), "the test labels change what is reported, never what is chosen"


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_other_libraries_of_trees(name):
    """They are used where they are installed, and named where they are not."""
    folds = Fold(ring(300, 0).features, ring(300, 0).labels * 2), ring(100, 1), ring(100, 2)  # classes 0 and 2, as in a gap
    folds = tuple(Fold(fold.features, fold.labels.clamp(max=1) * 2) for fold in folds)
    try:
        __import__(name)
    except ModuleNotFoundError:
        with pytest.raises(ConfigError, match=f"pip install {name}"):
            getattr(trees, name)(*folds)
        return
    found = getattr(trees, name)(*folds)
    assert list(found) == [name] and found[name] > 0.9
    error = getattr(trees, name)(*(ring(n, seed, True) for seed, n in enumerate((300, 100, 100))))
    assert 0 < error[f"{name}_rmse"] < 0.4


def test_cross_layers_are_those_of_the_paper():
    torch.manual_seed(0)
    net = heads.DCNv2(5, 3, width=2, cross=2).double().eval()
    x = torch.randn(4, 5, dtype=torch.float64)
    first = net.fields(x).flatten(1)
    row = first[1]
    for layer in net.cross:
        row = torch.stack([first[1][i] * (layer.weight[i] @ row + layer.bias[i]) + row[i] for i in range(len(row))])
    expected = net.leave(torch.cat([row, net.deep(first)[1]]))
    assert torch.allclose(net(x)[1], expected, atol=1e-12)


def frame(rows=120):
    g = np.random.default_rng(0)
    x = g.normal(size=(rows, 3))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": np.where(x[:, 2] > 0, "yes", "no"),
                         "d": g.choice(["u", "v", "w"], rows)})


def test_transformer_in_a_pipeline():
    table = frame()
    y = (table["a"] > 0).astype(int)
    pipe = make_pipeline(SSLTransformer(epochs=3, options=TINY), LogisticRegression(max_iter=500))
    assert pipe.fit(table, y).score(table, y) > 0.8
    found = pipe[0].transform(table)
    assert found.shape == (120, 8) and found.dtype == np.float32
    assert pipe[0].get_feature_names_out()[:2].tolist() == ["ssl0", "ssl1"]
    assert np.array_equal(clone(pipe[0]).fit(table).transform(table), found), "the same seed gives the same features"
    assert np.array_equal(pickle.loads(pickle.dumps(pipe[0])).transform(table), found)
    assert np.allclose(pipe[0].transform(table[:7]), found[:7], atol=1e-5)


@pytest.mark.parametrize("table, message", [
    (frame().assign(a=np.inf), "inf"), (frame()[:1], "two or more"), (np.full((9, 2), 3.0), "constant")])
def test_transformer_says_what_is_wrong(table, message):
    with pytest.raises(ValueError, match=message):
        SSLTransformer(epochs=1, options=TINY).fit(table)


CHECKS = ("check_estimator_sparse_tag", "check_no_attributes_set_in_init", "check_parameters_default_constructible",
          "check_transformer_general", "check_transformers_unfitted", "check_n_features_in", "check_fit1d",
          "check_estimators_pickle", "check_dict_unchanged", "check_get_feature_names_out_error",
          "check_dont_overwrite_attributes")


def test_scikit_learn_conventions():
    seen = set()
    for estimator, check in estimator_checks_generator(SSLTransformer(epochs=1, options=TINY)):
        name = getattr(check, "func", check).__name__
        if name in CHECKS:
            check(estimator)
            seen.add(name)
    assert len(seen) >= 9
