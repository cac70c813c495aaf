"""Classification of the pruner or its family from metrics, with whole groups held out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import InputError, unknown_name
from ..results.labels import column_in_words
from ..results.schema import GROUPS
from .columns import require_rows
from .predictors import SignedLog, prepared, sampled, trees
from .regression import MAX_FOLDS

__all__ = ["CLASSIFIERS", "classify_held_out", "confusion_shares", "label_shares", "relative_to_group"]

CLASSIFIERS = ("logistic", "forest")


def classify_held_out(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    label: str,
    by: str,
    model: str = "forest",
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict the label of every row from a classifier that saw no row of its group; classes have equal weights.

    Parameters
    ----------
    table
        One row a network; rows without a label are left out.
    features
        Columns to predict from; without any the prediction is the most frequent label of the training rows.
    label
        Column to predict.
    by
        Column whose values are held out as wholes.
    model
        One of `CLASSIFIERS`.
    max_folds
        Most folds; more groups than this share folds.
    seed
        Seeds the forest.

    Returns
    -------
    DataFrame
        On the index of the rows that have a label: fold, group, actual, predicted.

    Raises
    ------
    InputError
        A column is missing, there is only one label or one group, or a fold's training rows hold only one label.

    Examples
    --------
    >>> table = pd.DataFrame({"x": [0.0, 1, 0, 1] * 6, "kind": ["a", "b"] * 12, "seed": np.repeat([0, 1, 2], 8)})
    >>> predictions = classify_held_out(table, ["x"], label="kind", by="seed")
    >>> bool((predictions["actual"] == predictions["predicted"]).all())
    True
    """
    shares = label_shares(table, features, label=label, by=by, model=model, max_folds=max_folds, seed=seed)
    predicted = shares.drop(columns=["fold", "group", "actual"])
    return shares[["fold", "group", "actual"]].assign(predicted=predicted.fillna(-1).idxmax(axis=1))


def label_shares(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    label: str,
    by: str,
    model: str = "forest",
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """How probable every label is for every row, by a classifier that saw no row of its group.

    With `by` equal to `label` every label is held out in turn: the shares then say which of the other labels a row
    resembles.

    Parameters
    ----------
    table, features, label, by, model, max_folds, seed
        As for `classify_held_out`.

    Returns
    -------
    DataFrame
        On the index of the rows that have a label: fold, group, actual, and a column a label, missing where no
        training row had it.

    Raises
    ------
    InputError
        As for `classify_held_out`.

    Examples
    --------
    >>> table = pd.DataFrame({"x": [0.0, 1, 5, 6] * 6, "kind": ["a", "b", "c", "d"] * 6})
    >>> shares = label_shares(table, ["x"], label="kind", by="kind")
    >>> shares.loc[0, ["a", "b", "c", "d"]].astype(float).round(1).tolist()
    [nan, 1.0, 0.0, 0.0]
    """
    require_rows(table, [*features, label, by])
    table = table[table[label].notna()]
    labels, groups = table[label].astype(str).to_numpy(), table[by].astype(str).to_numpy()
    for column, values in ((label, labels), (by, groups)):
        if len(np.unique(values)) < 2:
            word = column_in_words(column)
            there = f"one {word} only" if len(values) else f"no {word}"
            raise InputError(f"the table holds {there}; it takes at least two.")
    names = np.unique(labels)
    pieces = []
    splits = GroupKFold(min(len(np.unique(groups)), max_folds)).split(table, groups=groups)
    for fold, (train, test) in enumerate(splits):
        known, counts = np.unique(labels[train], return_counts=True)
        if len(known) < 2:
            raise InputError(f"without {groups[test][0]} the training rows hold one {column_in_words(label)} only.")
        if len(features):
            x = table[list(features)]
            with warnings.catch_warnings():  # that labels are many, which they are meant to be
                warnings.filterwarnings("ignore", message="The number of unique classes is greater")
                fitted = _classifier(model, x.iloc[train], seed).fit(x.iloc[train], labels[train])
            shares, known = fitted.predict_proba(x.iloc[test]), fitted.classes_
        else:
            shares = np.broadcast_to(np.arange(len(known)) == counts.argmax(), (len(test), len(known))).astype(float)
        piece = pd.DataFrame({"fold": fold, "group": groups[test], "actual": labels[test]}, index=table.index[test])
        pieces.append(piece.join(pd.DataFrame(shares, table.index[test], known).reindex(columns=names)))
    return pd.concat(pieces).loc[table.index]


def _classifier(model: str, x: pd.DataFrame, seed: int) -> Pipeline:
    if model == "logistic":
        steps = [SignedLog(), StandardScaler(), LogisticRegression(max_iter=300, class_weight="balanced")]
    elif model == "forest":
        steps = [
            ExtraTreesClassifier(
                trees(len(x)), min_samples_leaf=2, class_weight="balanced", random_state=seed, **sampled(len(x))
            )
        ]
    else:
        raise unknown_name("classifier", model, CLASSIFIERS)
    return make_pipeline(prepared(x, steps[:-1]), steps[-1])


def confusion_shares(predictions: pd.DataFrame) -> pd.DataFrame:
    """Confusion matrix: share of the networks of each label (row) predicted as each label (column); rows add up to 1.

    Parameters
    ----------
    predictions
        Columns actual and predicted, as `classify_held_out` returns them.

    Returns
    -------
    DataFrame
        Square.

    Examples
    --------
    >>> confusion_shares(pd.DataFrame({"actual": list("aab"), "predicted": list("abb")})).values.tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    names = sorted(set(predictions["actual"]) | set(predictions["predicted"]))
    counts = pd.crosstab(predictions["actual"], predictions["predicted"]).reindex(
        index=names, columns=names, fill_value=0
    )
    return counts.div(counts.sum(axis=1).where(lambda total: total > 0), axis=0)


def relative_to_group(table: pd.DataFrame, features: Sequence[str], by: Sequence[str] = GROUPS) -> pd.DataFrame:
    """Features in standard deviations from the mean of their group.

    They tell networks of equal dataset, model and sparsity apart. No label enters, but the other networks of the
    group do.

    Parameters
    ----------
    table
        One row a network.
    features
        Numeric columns; the others of the table stay as they are.
    by
        Columns that form the groups.

    Returns
    -------
    DataFrame
        `table` with the new values.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": [0.5, 0.5, 0.9, 0.9], "x": [1.0, 3, 10, 30]})
    >>> relative_to_group(table, ["x"])["x"].tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    require_rows(table, [*features, *by])
    features = [c for c in dict.fromkeys(features) if c not in by]
    values = table[features].astype(float).replace([np.inf, -np.inf], np.nan)
    grouped = values.groupby([table[c] for c in by], dropna=False)
    spread = grouped.transform("std", ddof=0)
    centred = values - grouped.transform("mean")
    return table.assign(**(centred / spread.where(spread > 0)).fillna(centred.where(spread == 0) * 0))
