"""Self-supervised features as a step of a scikit-learn pipeline."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted, validate_data

from ssl_core import DataError, pretrain
from ssl_core.evaluation import embed

from .data import read


class SSLTransformer(TransformerMixin, BaseEstimator):
    """Train an encoder on the rows of `fit`, without their labels, and turn rows into its representation.

    Takes arrays of numbers, in which NaN means missing, and DataFrames of any columns.

    Args:
        method: of this plugin: "tjepa", "scarf", "vime", ...
        epochs: passes over the rows; 0 for an untrained encoder.
        batch_size: rows in a batch.
        categorical: names of DataFrame columns, or numbers of array columns, that are categories whatever they look like.
        options: further options as on the command line: {"encoder.width": 128}.
        random_state: seed, a whole number.
        device: where `transform` runs: "cpu" or "cuda".

    Attributes:
        encoder_: the trained encoder, an `nn.Module`.
        schema_: what was learned of the columns.
    """

    def __init__(self, method: str = "scarf", epochs: int = 100, batch_size: int = 256, categorical: Any = (),
                 options: Mapping[str, Any] | None = None, random_state: int | None = 0, device: str = "cpu") -> None:
        self.method, self.epochs, self.batch_size, self.categorical = method, epochs, batch_size, categorical
        self.options, self.random_state, self.device = options, random_state, device

    def fit(self, X: Any, y: Any = None) -> SSLTransformer:
        """Train on X, (rows, columns); y is not used."""
        X = self._checked(X, reset=True)
        given = {"data.categorical": [str(name) for name in self.categorical], "data.batch_size": self.batch_size,
                 "trainer.tensorboard": False} | dict(self.options or {})
        seed = np.random.randint(2**31 - 1) if self.random_state is None else int(self.random_state)
        with TemporaryDirectory() as folder:
            try:
                run = pretrain("tabular", self.method, X, out=Path(folder) / "run", quiet=True, epochs=self.epochs, seed=seed,
                               probe="", baselines=False, **given)
            except DataError as error:  # scikit-learn's word for data that cannot be used
                raise ValueError(str(error)) from error
            self.encoder_, self.schema_ = run.encoder, run.read_json("encoder.json")["schema"]
        self._n_features_out = self.encoder_.width
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Representations, (rows, width) float32. Columns of a DataFrame are found by name."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        try:
            data = read(X, schema=self.schema_, batch_size=max(2, self.batch_size))
        except DataError as error:
            raise ValueError(str(error)) from error
        return embed(self.encoder_.to(self.device), data.items or (), self.device).cpu().numpy()

    def _checked(self, X: Any, reset: bool) -> Any:
        if hasattr(X, "columns"):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            return X
        return validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan",
                             ensure_min_samples=2 if reset else 1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """"ssl0", "ssl1", ..."""
        check_is_fitted(self)
        return np.asarray([f"ssl{i}" for i in range(self._n_features_out)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = self.random_state is None
        return tags
