"""The models that regressions fit, with all their preprocessing inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ..registry import Registry

__all__ = ["PREDICTORS", "CellMeans", "Fill", "GroupRidge", "SignedLog", "predictor", "reads_names", "trees"]

PREDICTORS: Registry = Registry("regression model")
"""Functions ``model((rows, columns), seed)`` that return the steps of a pipeline, the model itself last.

One that is registered with ``reads_names=True`` takes the columns as they are, whatever their type.
"""

# Trees of a forest, whatever it predicts: many where training rows are few, since there single trees differ most.
TREES, FEWEST_TREES = 200, 30
ROWS_OF_ALL_TREES = 120_000
# Trees of a forest see at most this many rows each, so that a large table takes no longer than its sorting.
ROWS_A_TREE = 4000


@PREDICTORS.register("mean")
def mean(shape: tuple[int, int], seed: int) -> list[Any]:
    """The mean of the training rows."""
    return [DummyRegressor()]


@PREDICTORS.register("cells", reads_names=True)
def cells(shape: tuple[int, int], seed: int) -> list[Any]:
    """The mean of the training rows that agree in all columns, or in as many of them as are known."""
    return [CellMeans()]


@PREDICTORS.register("ols")
def ols(shape: tuple[int, int], seed: int) -> list[Any]:
    """Least squares on the columns as they are."""
    return [StandardScaler(), LinearRegression()]


@PREDICTORS.register("ridge")
def ridge(shape: tuple[int, int], seed: int) -> list[Any]:
    """Ridge regression on signed logarithms, the penalty by whole groups left out inside the training rows."""
    return [SignedLog(), StandardScaler(), GroupRidge()]


@PREDICTORS.register("lasso")
def lasso(shape: tuple[int, int], seed: int) -> list[Any]:
    """Lasso on signed logarithms, the penalty by whole groups left out inside the training rows."""
    return [SignedLog(), StandardScaler(), LassoCV(alphas=20, eps=1e-2, tol=1e-3, max_iter=5000)]


@PREDICTORS.register("forest")
def forest(shape: tuple[int, int], seed: int) -> list[Any]:
    """Forest of extremely randomised trees: 200, fewer of more than 600 training rows, at least 30."""
    rows, columns = shape
    # A random split of one column out of two learns nothing where the other holds everything.
    tried = max(min(2, columns), int(0.4 * columns))
    settings = {"min_samples_leaf": 3, "max_features": tried, "random_state": seed, **sampled(rows)}
    return [ExtraTreesRegressor(trees(rows), **settings)]


def trees(n: int) -> int:
    """Number of trees of a forest.

    `analyses/forest_seeds.py` counts for how many seeds of the forests the words of a verdict are the same.

    Parameters
    ----------
    n
        Number of training rows.

    Returns
    -------
    int
        Trees.

    Examples
    --------
    >>> trees(300) >= trees(1200) >= trees(100_000)
    True
    """
    return min(TREES, max(FEWEST_TREES, ROWS_OF_ALL_TREES // max(n, 1)))


def sampled(n: int) -> dict[str, Any]:
    """Settings of a forest that draws rows for its trees where there are many.

    Parameters
    ----------
    n
        Number of training rows.
    """
    return {"bootstrap": True, "max_samples": ROWS_A_TREE} if n > ROWS_A_TREE else {}


@PREDICTORS.register("boosting")
def boosting(shape: tuple[int, int], seed: int) -> list[Any]:
    """Gradient boosting of histograms, 100 trees of at most 15 leaves."""
    return [
        HistGradientBoostingRegressor(
            max_iter=100, max_leaf_nodes=15, min_samples_leaf=5, early_stopping=False, random_state=seed
        )
    ]  # fmt: skip


def predictor(
    model: str, x: pd.DataFrame, *, seed: int = 0, inner: Sequence[tuple[np.ndarray, np.ndarray]] | None = None
) -> Pipeline:
    """An unfitted model of that name for columns like those of `x`: numeric ones filled, text ones coded one-hot.

    Parameters
    ----------
    model
        Name of a regression model (`topo.stats.predictors.PREDICTORS`).
    x
        Features; their types decide the preprocessing.
    seed
        Seeds every random choice.
    inner
        Positions of training and test rows of the folds by which a model that tunes itself does so, where there are.

    Returns
    -------
    Pipeline
        Of scikit-learn.
    """
    steps = PREDICTORS[model](x.shape, seed)
    if inner is not None and "cv" in steps[-1].get_params():
        steps[-1].set_params(cv=inner)
    if reads_names(model):
        return make_pipeline(*steps)
    return make_pipeline(prepared(x, steps[:-1]), steps[-1])


def reads_names(model: str) -> bool:
    """Whether a regression model takes columns of any type as they are, as names.

    Parameters
    ----------
    model
        Name of a regression model.
    """
    return bool(PREDICTORS.entry(model).info.get("reads_names"))


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


class CellMeans(RegressorMixin, BaseEstimator):
    """The mean target of the training rows that agree with a row in all columns.

    Columns in which the row has a value that no training row has are left aside. Where no training row agrees in all
    the others, the last of them is left aside too, and so on down to the mean of all training rows: so put the column
    that matters most first.

    Examples
    --------
    >>> seen = pd.DataFrame({"sparsity": [0.8, 0.8, 0.9, 0.9], "pruner": ["er", "snip", "er", "snip"]})
    >>> new = pd.DataFrame({"sparsity": [0.9, 0.9, 0.5], "pruner": ["er", "new", "new"]})
    >>> CellMeans().fit(seen, np.array([1.0, 2.0, 3.0, 6.0])).predict(new).tolist()
    [3.0, 4.5, 3.0]
    """

    def fit(self, x: pd.DataFrame, y: ArrayLike) -> CellMeans:
        """Remember the training rows.

        Parameters
        ----------
        x
            Columns of names, or of numbers that are as good as names.
        y
            The target.

        Returns
        -------
        CellMeans
            Itself.
        """
        self.seen_ = x
        self.y_ = np.asarray(y, dtype=float)
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        """Means of the cells of the rows.

        Parameters
        ----------
        x
            The columns of the training rows.

        Returns
        -------
        array
            One value a row.
        """
        n = len(self.seen_)
        codes = np.zeros((n + len(x), x.shape[1]), dtype=int)
        for i, name in enumerate(x.columns):
            both = np.concatenate([t[name].to_numpy(object) for t in (self.seen_, x)])
            codes[:, i] = pd.factorize(both, use_na_sentinel=False)[0]
        seen, new = codes[:n], codes[n:]
        result = np.full(len(x), self.y_.mean())
        known = np.zeros(new.shape, dtype=bool)
        for i in range(new.shape[1]):
            known[:, i] = np.isin(new[:, i], seen[:, i])
        patterns, pattern = np.unique(known, axis=0, return_inverse=True)
        for i, kept in enumerate(patterns):
            columns, open_ = np.flatnonzero(kept), np.flatnonzero(pattern.ravel() == i)
            while len(columns) and len(open_):
                _, cell = np.unique(codes[:, columns], axis=0, return_inverse=True)
                cell = cell.ravel()
                size = np.bincount(cell[:n], minlength=cell.max() + 1)
                mean = np.bincount(cell[:n], self.y_, len(size)) / np.maximum(size, 1)
                own = cell[n:][open_]
                found = size[own] > 0
                result[open_[found]] = mean[own[found]]
                open_, columns = open_[~found], columns[:-1]
        return result


class GroupRidge(RegressorMixin, BaseEstimator):
    """Ridge regression whose penalty has the least squared error on groups left out of the training rows.

    scikit-learn's `RidgeCV` with such folds does the same by a search that takes thirty times as long.

    Parameters
    ----------
    penalties
        Penalties that are tried.
    cv
        Positions of training and test rows of the folds; None takes the rows in three blocks.

    Examples
    --------
    >>> x, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([2.0, 4.0, 6.0, 8.0])
    >>> GroupRidge(penalties=[1e-9]).fit(x, y).coef_.round(3).tolist()
    [2.0]
    """

    def __init__(
        self,
        penalties: Sequence[float] = tuple(np.logspace(-2, 4, 13)),
        cv: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None:
        self.penalties = penalties
        self.cv = cv

    def fit(self, x: np.ndarray, y: np.ndarray) -> GroupRidge:
        """Choose the penalty and fit all rows.

        Parameters
        ----------
        x
            (rows, columns), finite.
        y
            The target.

        Returns
        -------
        GroupRidge
            Itself.
        """
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        penalties = np.asarray(self.penalties, dtype=float)
        blocks = np.array_split(np.arange(len(x)), min(3, len(x)))
        folds = self.cv if self.cv is not None else [(np.setdiff1d(np.arange(len(x)), b), b) for b in blocks]
        errors = np.zeros(len(penalties))
        for train, test in folds if len(x) > 1 else ():
            weights, intercepts = _ridges(x[train], y[train], penalties)
            errors += ((x[test] @ weights + intercepts - y[test][:, None]) ** 2).sum(axis=0)
        # Of equals the largest penalty.
        self.alpha_ = float(penalties[len(penalties) - 1 - np.argmin(errors[::-1])])
        weights, intercepts = _ridges(x, y, np.array([self.alpha_]))
        self.coef_, self.intercept_ = weights[:, 0], float(intercepts[0])
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions of the rows.

        Parameters
        ----------
        x
            (rows, columns).

        Returns
        -------
        array
            One value a row.
        """
        return np.asarray(x, dtype=float) @ self.coef_ + self.intercept_


def _ridges(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (columns, penalties) and intercepts of ridge regressions."""
    centre, level = x.mean(axis=0), y.mean()
    values, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    turned = vectors.T @ ((x - centre).T @ (y - level))
    weights = vectors @ (turned[:, None] / (np.maximum(values, 0)[:, None] + penalties))
    return weights, level - centre @ weights


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
