"""The models that regressions fit, with all their preprocessing inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LassoCV, LinearRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ..registry import Registry

__all__ = ["PREDICTORS", "Fill", "SignedLog", "predictor"]

PREDICTORS: Registry = Registry("regression model")
"""Functions ``model(n, seed)`` that return the steps of a pipeline for n training rows, the model itself last."""

# Trees of a forest, whatever it predicts.
TREES = 30
# Trees of a forest see at most this many rows each, so that a large table takes no longer than its sorting.
ROWS_A_TREE = 4000


@PREDICTORS.register("mean")
def mean(n: int, seed: int) -> list[Any]:
    """The mean of the training rows."""
    return [DummyRegressor()]


@PREDICTORS.register("ols")
def ols(n: int, seed: int) -> list[Any]:
    """Least squares on the columns as they are."""
    return [StandardScaler(), LinearRegression()]


@PREDICTORS.register("ridge")
def ridge(n: int, seed: int) -> list[Any]:
    """Ridge regression on signed logarithms, the penalty by leave-one-out inside the training rows."""
    return [SignedLog(), StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))]


@PREDICTORS.register("lasso")
def lasso(n: int, seed: int) -> list[Any]:
    """Lasso on signed logarithms, the penalty by three folds inside the training rows."""
    return [SignedLog(), StandardScaler(), LassoCV(alphas=20, eps=1e-2, cv=3, tol=1e-3, max_iter=5000)]


@PREDICTORS.register("forest")
def forest(n: int, seed: int) -> list[Any]:
    """Random forest of 30 trees."""
    share = None if n <= ROWS_A_TREE else ROWS_A_TREE
    return [RandomForestRegressor(TREES, min_samples_leaf=3, max_features=0.4, max_samples=share, random_state=seed)]


@PREDICTORS.register("boosting")
def boosting(n: int, seed: int) -> list[Any]:
    """Gradient boosting of histograms, 100 trees of at most 15 leaves."""
    return [
        HistGradientBoostingRegressor(
            max_iter=100, max_leaf_nodes=15, min_samples_leaf=5, early_stopping=False, random_state=seed
        )
    ]  # fmt: skip


def predictor(model: str, x: pd.DataFrame, *, seed: int = 0) -> Pipeline:
    """An unfitted model of that name for columns like those of `x`: numeric ones filled, text ones coded one-hot.

    Parameters
    ----------
    model
        Name of a regression model (`topo.stats.predictors.PREDICTORS`).
    x
        Features; their types decide the preprocessing.
    seed
        Seeds every random choice.

    Returns
    -------
    Pipeline
        Of scikit-learn.
    """
    steps = PREDICTORS[model](len(x), seed)
    return make_pipeline(prepared(x, steps[:-1]), steps[-1])


def prepared(x: pd.DataFrame, numeric_steps: list[Any]) -> Any:
    """The transformer of columns like those of `x`.

    Parameters
    ----------
    x
        Features; their types decide the preprocessing.
    numeric_steps
        Transformers of numeric columns after gaps are filled.
    """
    text = [c for c in x.columns if not pd.api.types.is_numeric_dtype(x[c])]
    numeric = [c for c in x.columns if c not in text]
    if not len(x.columns):
        return FunctionTransformer(_nothing)
    fill = make_pipeline(Fill(), *numeric_steps)
    if not text:
        return fill  # without the transformer of columns, which takes longer than a small fit
    codes = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text)
    return make_column_transformer(*([(fill, numeric)] if numeric else []), codes, sparse_threshold=0)


def _nothing(x: pd.DataFrame) -> np.ndarray:
    return np.zeros((len(x), 1))


class Fill(TransformerMixin, BaseEstimator):
    """Gaps (NaN or infinite) take the column's median over the training rows; columns without a value become zero.

    Examples
    --------
    >>> Fill().fit([[1.0], [3.0], [np.nan]]).transform([[np.inf], [7.0]]).tolist()
    [[2.0], [7.0]]
    """

    def fit(self, x: ArrayLike, y: object = None) -> Fill:
        """Remember the medians of the columns of x.

        Parameters
        ----------
        x
            (rows, columns).
        y
            Not used; there for scikit-learn.

        Returns
        -------
        Fill
            Itself.
        """
        x = _finite(x)
        self.medians_ = np.nan_to_num(pd.DataFrame(x).median().to_numpy(float))
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x: ArrayLike) -> np.ndarray:
        """The columns of x with their gaps filled.

        Parameters
        ----------
        x
            (rows, columns).

        Returns
        -------
        array
            (rows, columns).
        """
        x = _finite(x)
        return np.where(np.isnan(x), self.medians_, x)


class SignedLog(TransformerMixin, BaseEstimator):
    """sign(x) log(1 + abs(x) / s), s a tenth of the median of the training rows' nonzero magnitudes.

    Counts that span decades become comparable, and zero stays zero.

    Examples
    --------
    >>> SignedLog().fit([[10.0], [0.0], [-10.0]]).transform([[-1.0], [0.0], [1.0]]).round(3).ravel().tolist()
    [-0.693, 0.0, 0.693]
    """

    def fit(self, x: ArrayLike, y: object = None) -> SignedLog:
        """Remember the scales of the columns of x.

        Parameters
        ----------
        x
            (rows, columns).
        y
            Not used; there for scikit-learn.

        Returns
        -------
        SignedLog
            Itself.
        """
        size = np.abs(np.asarray(x, dtype=float))
        medians = pd.DataFrame(np.where(size > 0, size, np.nan)).median().to_numpy(float)
        self.scale_ = np.where(np.isnan(medians), 1.0, medians / 10)
        self.n_features_in_ = size.shape[1]
        return self

    def transform(self, x: ArrayLike) -> np.ndarray:
        """The columns of x on the signed logarithmic scale.

        Parameters
        ----------
        x
            (rows, columns).

        Returns
        -------
        array
            (rows, columns).
        """
        x = np.asarray(x, dtype=float)
        return np.sign(x) * np.log1p(np.abs(x) / self.scale_)


def _finite(x: ArrayLike) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    return np.where(np.isfinite(x), x, np.nan)
