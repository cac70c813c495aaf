"""Regression on metrics with whole groups held out: predictions and their scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

from ..errors import InputError, counted
from ..results.labels import column_in_words
from ..results.schema import PAIR
from .columns import require_rows
from .predictors import PREDICTORS, predictor, reads_names

__all__ = ["centred", "held_out", "regression_table", "same_rows", "score"]

# Folds are single groups up to this many groups; more of them share folds.
MAX_FOLDS = 12
FEWEST_ROWS = 5
# Folds by which a penalty is chosen inside the training rows, and the models that have one.
INNER_FOLDS = 3
TUNED = ("ridge", "lasso")
# A relative error of a drop near zero means nothing: MAPE is over drops of at least this (one point of accuracy).
SMALLEST_DROP = 0.01


def held_out(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    by: str,
    model: str = "ridge",
    target: str = "drop",
    within: Sequence[str] = (),
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict every row from a model that saw no row of its group.

    Everything fitted (medians that fill gaps, scales, codes of text columns, penalties, group means) is fitted on the
    training rows of the fold, penalties with whole groups of these left out in turn. Predictions are cut to the range
    of the training targets.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns; numeric ones may have gaps, text ones are coded one-hot. None: the mean of the training rows.
    by
        Column whose values are left out whole, one after the other (in `max_folds` sets of values when there are more).
    model
        A name of `PREDICTORS`.
    target
        Column that is predicted or correlated with.
    within
        Columns of groups: features and target are taken as differences from their group's mean (`centred`).
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds every random choice.

    Returns
    -------
    DataFrame
        On the index of the table's rows that have a target: fold, group (the value of `by`), actual, predicted,
        trained_on (rows of training), and what the row counts as in tests (`topo.stats.gains.mean_gain`): algorithm,
        and pair (of dataset and model), where the table has these columns.

    Raises
    ------
    InputError
        A column is missing, the target has no value, is constant or not finite, or `by` has fewer than two values.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results(seeds=3))[0]
    >>> predictions = held_out(table, ["sink_nodes_norm"], by="seed", model="ols")
    >>> bool(score(predictions)["r2"] > 0.9)
    True
    """
    table = with_target(table, target, [*features, by, *within])
    pieces = []
    for fold in folds(
        table, features, by=by, model=model, target=target, within=within, max_folds=max_folds, seed=seed
    ):
        part = {
            "fold": fold.number,
            "group": table[by].astype(str).to_numpy()[fold.test],
            "actual": fold.y[fold.test],
            "predicted": fold.predict(fold.x.iloc[fold.test]),
            "trained_on": len(fold.train),
        }
        pieces.append(pd.DataFrame(part, index=table.index[fold.test]))
    return pd.concat(pieces).loc[table.index].assign(**units_of(table, within))


def units_of(table: pd.DataFrame, within: Sequence[str] = ()) -> dict[str, pd.Series]:
    """The algorithm, and the pair of dataset and model, of every row, where the table has these columns.

    Parameters
    ----------
    table
        One row a network.
    within
        Columns of groups whose means are taken out: with dataset and model among them, what these do to all algorithms
        alike is gone, and pairs are no units.
    """
    units = {"algorithm": table["pruner"].astype(str)} if "pruner" in table.columns else {}
    if set(PAIR) <= set(table.columns) and not set(PAIR) <= set(within):
        units["pair"] = table.groupby(list(PAIR), dropna=False).ngroup()
    return units


@dataclass(frozen=True)
class Fold:
    """One fold: positions of its rows, features and target (centred on this fold's training rows), the fitted model."""

    number: int
    train: np.ndarray
    test: np.ndarray
    x: pd.DataFrame
    y: np.ndarray
    fitted: Pipeline

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        """Predictions, cut to the range of the training targets."""
        seen = self.y[self.train]
        return np.clip(self.fitted.predict(x), seen.min(), seen.max())


def folds(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    by: str,
    model: str,
    target: str,
    within: Sequence[str] = (),
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> Iterator[Fold]:
    """The folds of `held_out`, fitted one after the other; every row of the table must have a target.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns to predict from.
    by
        Column whose values are held out.
    model
        Name of a regression model (`topo.stats.predictors.PREDICTORS`).
    target
        Column that is predicted or correlated with.
    within
        Columns of groups whose means are taken out of features and target.
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds every random choice.
    """
    groups = table[by].astype(str).to_numpy()
    names = np.unique(groups)
    if len(names) < 2:
        raise InputError(f"the table holds one {column_in_words(by)} only; leaving one out needs at least two.")
    centre = _centring(table, [] if reads_names(model) else features, target, within)
    splits = GroupKFold(min(len(names), max(2, max_folds))).split(table, groups=groups)
    for number, (train, test) in enumerate(splits):
        if len(train) < FEWEST_ROWS:
            left = f"{column_in_words(by)} {groups[test][0]!r} out leaves {counted(len(train), 'row')}"
            raise InputError(f"leaving {left} to learn from; at least {FEWEST_ROWS} are needed.")
        x, y = centre(train)
        x = table[list(features)] if reads_names(model) else x
        inner = inner_folds(table.iloc[train], by) if model in TUNED else None
        chosen = predictor(model if len(features) else "mean", x.iloc[train], seed=seed, inner=inner)
        with warnings.catch_warnings():
            # Incomplete convergence of a penalty path shows in the held-out errors.
            warnings.simplefilter("ignore", ConvergenceWarning)
            chosen.fit(x.iloc[train], y[train])
        yield Fold(number, train, test, x, y, chosen)


def inner_folds(table: pd.DataFrame, by: str) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """At most three folds of training rows: of groups as those held out, or else of algorithms, models or datasets.

    Parameters
    ----------
    table
        The training rows.
    by
        Column whose values are held out.

    Returns
    -------
    list or None
        Positions of training and of test rows; None where all these columns hold one value.
    """
    for column in (by, "pruner", *PAIR, "seed"):
        if column in table.columns and (count := len(table[column].unique())) > 1:
            names = table[column].astype(str).to_numpy()
            return list(GroupKFold(min(count, INNER_FOLDS)).split(table, groups=names))
    return None


def with_target(table: pd.DataFrame, target: str, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that have a target; refuses a table without one of the columns, and a constant target.

    Parameters
    ----------
    table
        One row a network.
    target
        Column that is predicted or correlated with.
    columns
        Further columns that must be present.
    """
    require_rows(table, [target, *columns])
    table = table[np.isfinite(table[target].to_numpy(float))]
    if not len(table):
        raise InputError(f"no network of the table has a value of its {column_in_words(target)}.")
    if not np.ptp(table[target].to_numpy(float)):
        raise InputError(f"the {column_in_words(target)} is constant, so there is nothing to explain.")
    return table


def centred(
    table: pd.DataFrame, features: Sequence[str], target: str, within: Sequence[str], train: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """Features and target less the means of their groups; unchanged without groups.

    The mean of a group is that of its training rows, so no held-out target enters it. A group of which all rows are
    held out is centred on its own rows: then only differences inside it are predicted, and scored.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns to predict from.
    target
        Column that is predicted or correlated with.
    within
        Columns of groups whose means are taken out of features and target.
    train
        Positions of the training rows.

    Returns
    -------
    tuple
        Features, and target.

    Raises
    ------
    InputError
        There are groups, and a feature holds text.
    """
    return _centring(table, features, target, within)(train)


def _centring(
    table: pd.DataFrame, features: Sequence[str], target: str, within: Sequence[str]
) -> Callable[[np.ndarray], tuple[pd.DataFrame, np.ndarray]]:
    """What `centred` returns as a function of the training rows."""
    x, y = table[list(features)], table[target].to_numpy(float)
    if not within:
        return lambda train: (x, y)
    text = [c for c in features if not pd.api.types.is_numeric_dtype(table[c])]
    if text:
        raise InputError(f"text columns ({', '.join(text)}) have no difference from a group's mean; leave them out.")
    code = table.groupby(list(within), dropna=False).ngroup().to_numpy()
    values = np.column_stack([x.to_numpy(float, na_value=nan), y])
    values[~np.isfinite(values)] = np.nan

    def centre(train: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        seen = np.zeros(len(code), dtype=bool)
        seen[train] = True
        source = seen | ~np.isin(code, code[seen])
        less = values - _means(values[source], code[source])[code]
        return pd.DataFrame(less[:, :-1], x.index, x.columns), less[:, -1]

    return centre


def _means(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Means of the finite values of every column by code, shape (codes, columns); NaN where there is none."""
    order = np.argsort(code, kind="stable")
    there, starts = np.unique(code[order], return_index=True)
    values = values[order]
    sums, counts = (np.add.reduceat(v, starts, axis=0) for v in (np.nan_to_num(values), np.isfinite(values) * 1.0))
    means = np.full((there.max() + 1, values.shape[1]), nan)
    means[there] = np.divide(sums, counts, out=np.full(sums.shape, nan), where=counts > 0)
    return means


def score(predictions: pd.DataFrame) -> dict[str, float]:
    """Scores of the predictions of `held_out`, all rows together.

    Parameters
    ----------
    predictions
        What `held_out` returned.

    Returns
    -------
    dict
        n, folds; r2 (1 less the squared error over that of the mean of all rows); mae (unit of the target); mape
        (mean of \\|error\\| / target over targets of at least 0.01; NaN where there is none); tau (Kendall's tau-b).
    """
    actual, predicted = predictions["actual"].to_numpy(float), predictions["predicted"].to_numpy(float)
    error = np.abs(actual - predicted)
    spread = ((actual - actual.mean()) ** 2).sum()
    large = actual >= SMALLEST_DROP
    ordered = np.ptp(predicted) > 0 and np.ptp(actual) > 0
    return {
        "n": len(actual),
        "folds": predictions["fold"].nunique(),
        "r2": 1 - (error**2).sum() / spread if spread else nan,
        "mae": error.mean(),
        "mape": (error[large] / actual[large]).mean() if large.any() else nan,
        "tau": float(stats.kendalltau(actual, predicted).statistic) if ordered else nan,
    }


def same_rows(table: pd.DataFrame, sets: Mapping[str, Sequence[str]], target: str = "drop") -> pd.DataFrame:
    """The rows that have the target and a value in a third of the columns of every set.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    target
        Column that is predicted or correlated with.

    Returns
    -------
    DataFrame
        Rows of `table`.
    """
    usable = np.isfinite(table[target].to_numpy(float))
    for columns in sets.values():
        if len(columns):
            usable &= (table[list(columns)].notna().mean(axis=1) >= 1 / 3).to_numpy()
    return table[usable]


def regression_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    by: Sequence[str] = ("dataset", "model", "pruner", "seed"),
    models: Sequence[str] = ("ols", "ridge", "lasso", "forest", "boosting"),
    cells: Mapping[str, Sequence[str]] | None = None,
    target: str = "drop",
    within: Sequence[str] = (),
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], pd.DataFrame]]:
    """Scores of every feature set, model and column of held-out groups, on the same rows.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    by
        Columns whose values are held out.
    models
        Names of regression models.
    cells
        Baselines without topology: name -> columns, whose cells' means predict (`topo.stats.baselines.cell_sets`).
    target
        Column that is predicted or correlated with.
    within
        Columns of groups whose means are taken out of features and target.
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds every random choice.

    Returns
    -------
    scores : DataFrame
        One row each: held_out, features, columns (their number), model, what `score` gives, reason (why it is empty).
    predictions : dict
        (held_out, features, model) -> what `held_out` returned.
    """
    cells = cells or {}
    require_rows(table, [c for columns in (*sets.values(), *cells.values()) for c in columns])
    for model in models:
        PREDICTORS.entry(model)
    table = same_rows(table, sets, target)
    rows, predictions = [], {}
    for hold in by:
        tried = [(n, c, m) for n, c in sets.items() for m in (models if len(c) else ("mean",))]
        for name, columns, model in [*tried, *((n, c, "cells") for n, c in cells.items())]:
            head = {"held_out": hold, "features": name, "columns": len(columns), "model": model}
            try:
                if model == "ols" and len(columns) > 1 and len(table) <= 2 * len(columns):
                    raise InputError(
                        f"too few networks ({len(table)}) for least squares on {counted(len(columns), 'column')}."
                    )
                predicted = held_out(
                    table,
                    columns,
                    by=hold,
                    model=model,
                    target=target,
                    within=within,
                    max_folds=max_folds,
                    seed=seed,
                )
                predictions[hold, name, model] = predicted
                rows.append({**head, **score(predicted), "reason": ""})
            except InputError as error:
                rows.append({**head, "n": len(table), "reason": str(error)})
    order = ["held_out", "features", "columns", "model", "n", "folds", "r2", "mae", "mape", "tau", "reason"]
    return pd.DataFrame(rows).reindex(columns=order), predictions
