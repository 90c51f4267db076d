"""Gradient-boosted trees as probes: in the row of the raw features they are the reference that a representation has to meet.

Learning rate 0.1 or 0.05 with 31 or 15 leaves (catboost: depth 6 or 4), at most 300 trees; setting and number of trees by the
validation fold. On wide features they are slow.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ssl_core import ConfigError, Fold

SETTINGS = ((0.1, 31), (0.05, 15))
TREES = 300
Guesses = Callable[[np.ndarray], Iterator[np.ndarray]]  # rows -> guesses by the first 1, 2, ... trees
Grow = Callable[[np.ndarray, np.ndarray, float, int, bool], Guesses]  # rows, labels, rate, leaves, is it a quantity


def boosted(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """Accuracy (`boosted`) or root mean squared error (`boosted_rmse`) of scikit-learn's histogram gradient boosting."""
    return _scores("boosted", _scikit, train, validation, test)


def xgboost(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`xgboost` or `xgboost_rmse` of XGBoost, if it is installed."""
    return _scores("xgboost", _xgboost, train, validation, test)


def lightgbm(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`lightgbm` or `lightgbm_rmse` of LightGBM, if it is installed."""
    return _scores("lightgbm", _lightgbm, train, validation, test)


def catboost(train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    """`catboost` or `catboost_rmse` of CatBoost, if it is installed."""
    return _scores("catboost", _catboost, train, validation, test)


def _scores(name: str, grow: Grow, train: Fold, validation: Fold, test: Fold) -> dict[str, float]:
    quantity = train.labels.is_floating_point()
    (x, y), (x_held, y_held), (x_test, y_test) = ((f.features.cpu().numpy(), f.labels.cpu().numpy()) for f in
                                                  (train, validation, test))
    known, y = (None, y) if quantity else np.unique(y, return_inverse=True)  # some libraries want classes without gaps

    def score(guess: np.ndarray, labels: np.ndarray) -> float:
        if known is None:
            return -float(np.sqrt(np.mean((guess - labels) ** 2)))
        return float(np.mean(known[guess.astype(np.int64)] == labels))

    best, chosen = -np.inf, (iter(()), 0)
    for rate, leaves in SETTINGS:
        guesses = grow(x, y, rate, leaves, quantity)
        held = [score(guess, y_held) for guess in guesses(x_held)]
        if max(held) > best:
            best, chosen = max(held), (guesses(x_test), int(np.argmax(held)))
    found = score(next(islice(chosen[0], chosen[1], None)), y_test)
    return {f"{name}_rmse": -found} if quantity else {name: found}


def _library(name: str) -> Any:
    from importlib import import_module
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"the probe {name} needs {name}, which is not installed.\n  Try: pip install {name}") from error


def _scikit(x: np.ndarray, y: np.ndarray, rate: float, leaves: int, quantity: bool) -> Guesses:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    kind = HistGradientBoostingRegressor if quantity else HistGradientBoostingClassifier
    trees = kind(learning_rate=rate, max_leaf_nodes=leaves, max_iter=TREES, early_stopping=False, random_state=0).fit(x, y)
    return trees.staged_predict


def _xgboost(x: np.ndarray, y: np.ndarray, rate: float, leaves: int, quantity: bool) -> Guesses:
    library = _library("xgboost")
    kind = library.XGBRegressor if quantity else library.XGBClassifier
    trees = kind(learning_rate=rate, max_leaves=leaves, grow_policy="lossguide", tree_method="hist", n_estimators=TREES,
                 random_state=0).fit(x, y)
    return lambda rows: (trees.predict(rows, iteration_range=(0, n)) for n in range(1, TREES + 1))


def _lightgbm(x: np.ndarray, y: np.ndarray, rate: float, leaves: int, quantity: bool) -> Guesses:
    library = _library("lightgbm")
    classes = 1 if quantity else int(y.max()) + 1
    goal = "regression" if quantity else "binary" if classes == 2 else "multiclass"
    options = {"objective": goal, "learning_rate": rate, "num_leaves": leaves, "verbosity": -1, "seed": 0,
               "deterministic": True, **({"num_class": classes} if classes > 2 else {})}
    trees = library.train(options, library.Dataset(x, y), TREES)

    def guess(out: np.ndarray) -> np.ndarray:
        return out if quantity else (out > 0.5).astype(int) if classes == 2 else out.argmax(axis=1)
    return lambda rows: (guess(trees.predict(rows, num_iteration=n)) for n in range(1, TREES + 1))


def _catboost(x: np.ndarray, y: np.ndarray, rate: float, leaves: int, quantity: bool) -> Guesses:
    library = _library("catboost")
    kind = library.CatBoostRegressor if quantity else library.CatBoostClassifier
    trees = kind(learning_rate=rate, depth=6 if leaves > 16 else 4, iterations=TREES, random_seed=0, verbose=False,
                 allow_writing_files=False).fit(x, y)
    if quantity:
        return trees.staged_predict
    return lambda rows: (np.asarray(guess).reshape(len(rows)) for guess in trees.staged_predict(rows))
