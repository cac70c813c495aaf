"""Classification of the pruner or its family from metrics, with whole groups held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import InputError, unknown_name
from ..results.schema import GROUPS, PAIR
from . import predictors
from .columns import require_rows
from .predictors import ROWS_A_TREE, SignedLog, prepared
from .regression import MAX_FOLDS

__all__ = ["CLASSIFIERS", "classification_table", "classify_held_out", "confusion_shares", "relative_to_group"]

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
    require_rows(table, [*features, label, by])
    table = table[table[label].notna()]
    labels, groups = table[label].astype(str).to_numpy(), table[by].astype(str).to_numpy()
    for column, values in ((label, labels), (by, groups)):
        if len(np.unique(values)) < 2:
            raise InputError(f"the table holds {len(np.unique(values))} value of {column!r}; it takes at least two.")
    pieces = []
    splits = GroupKFold(min(len(np.unique(groups)), max_folds)).split(table, groups=groups)
    for fold, (train, test) in enumerate(splits):
        if len(np.unique(labels[train])) < 2:
            raise InputError(f"without {groups[test][0]} the training rows hold one {label} only.")
        if len(features):
            x = table[list(features)]
            predicted = _classifier(model, x.iloc[train], seed).fit(x.iloc[train], labels[train]).predict(x.iloc[test])
        else:
            names, counts = np.unique(labels[train], return_counts=True)
            predicted = np.full(len(test), names[counts.argmax()])
        pieces.append(
            pd.DataFrame(
                {"fold": fold, "group": groups[test], "actual": labels[test], "predicted": predicted},
                index=table.index[test],
            )
        )
    return pd.concat(pieces).loc[table.index]


def _classifier(model: str, x: pd.DataFrame, seed: int) -> Pipeline:
    if model == "logistic":
        steps = [SignedLog(), StandardScaler(), LogisticRegression(max_iter=300, class_weight="balanced")]
    elif model == "forest":
        share = None if len(x) <= ROWS_A_TREE else ROWS_A_TREE
        steps = [
            RandomForestClassifier(
                predictors.TREES, min_samples_leaf=2, class_weight="balanced", max_samples=share, random_state=seed
            )
        ]  # fmt: skip
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


def classification_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    labels: Sequence[str] = ("family", "pruner"),
    by: Sequence[str] = PAIR,
    models: Sequence[str] = CLASSIFIERS,
    n_boot: int = 300,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[tuple[str, str, str, str], pd.DataFrame]]:
    """Balanced accuracy of every feature set, label, classifier and column of held-out groups.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    labels
        Columns to predict.
    by
        Columns whose values are held out as wholes, one after the other.
    models
        Names of classifiers.
    n_boot
        Resamples of an interval; 0 leaves it out.
    seed
        Seeds classifiers and resamples.

    Returns
    -------
    scores : DataFrame
        label, kinds, chance (1 / kinds), held_out, features, columns, model, n, balanced_accuracy, low, high
        (percentiles over resampled groups of dataset, model and sparsity), reason.
    predictions : dict
        (label, held_out, features, model) -> what `classify_held_out` returned.
    """
    rows, predictions = [], {}
    group = table.groupby(list(GROUPS), dropna=False).ngroup()
    for label in labels:
        require_rows(table, [label])
        kinds = table[label].nunique()
        for hold in by:
            for name, columns in sets.items():
                for model in models if len(columns) else ("most frequent",):
                    head = {"label": label, "kinds": kinds, "chance": 1 / max(kinds, 1), "held_out": hold}
                    head |= {"features": name, "columns": len(columns), "model": model}
                    try:
                        predicted = classify_held_out(table, columns, label=label, by=hold, model=model, seed=seed)
                        predictions[label, hold, name, model] = predicted
                        low, high = _interval(predicted, group[predicted.index].to_numpy(), n_boot, seed)
                        value = balanced_accuracy_score(predicted["actual"], predicted["predicted"])
                        score = {"n": len(predicted), "balanced_accuracy": value, "low": low, "high": high}
                        rows.append({**head, **score, "reason": ""})
                    except InputError as error:
                        rows.append({**head, "n": len(table), "reason": str(error)})
    order = ["label", "kinds", "chance", "held_out", "features", "columns", "model", "n"]
    return pd.DataFrame(rows).reindex(columns=[*order, "balanced_accuracy", "low", "high", "reason"]), predictions


def _interval(predictions: pd.DataFrame, group: np.ndarray, n_boot: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the balanced accuracy; a resample is a weight for every group."""
    groups, position = np.unique(group, return_inverse=True)
    names, kind = np.unique(predictions["actual"], return_inverse=True)
    if len(groups) < 5 or not n_boot:
        return nan, nan
    total, correct = np.zeros((2, len(groups), len(names)))
    np.add.at(total, (position, kind), 1)
    np.add.at(correct, (position, kind), (predictions["actual"] == predictions["predicted"]).to_numpy(float))
    weights = np.random.default_rng(seed).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), n_boot)
    total, correct = weights @ total, weights @ correct
    recall = np.divide(correct, total, out=np.full(total.shape, nan), where=total > 0)
    low, high = np.quantile(np.nanmean(recall, axis=1), [0.025, 0.975])
    return float(low), float(high)
