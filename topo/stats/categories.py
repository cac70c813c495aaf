"""Which kind of pruning made a mask: classification from metrics with whole groups held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import InputError, unknown_name
from .predictors import ROWS_A_TREE, SignedLog, prepared
from .regression import MAX_FOLDS, refuse_missing

__all__ = ["CLASSIFIERS", "category_table", "confusion", "guess_category", "relative_to_cell"]

CLASSIFIERS = ("logistic", "forest")
CELL = ("dataset", "model", "sparsity")


def guess_category(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    label: str,
    by: str,
    model: str = "forest",
    max_folds: int = MAX_FOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Guess the label of every row from a classifier that saw no row of its group; classes weigh the same.

    Without features the guess is the most frequent label of the training rows.

    Returns
    -------
    DataFrame
        On the index of the rows that have a label: fold, group, actual, guessed.

    Raises
    ------
    InputError
        A column is missing, there is only one label or one group, or a fold's training rows hold only one label.

    Examples
    --------
    >>> table = pd.DataFrame({"x": [0.0, 1, 0, 1] * 6, "kind": ["a", "b"] * 12, "seed": np.repeat([0, 1, 2], 8)})
    >>> found = guess_category(table, ["x"], label="kind", by="seed")
    >>> bool((found["actual"] == found["guessed"]).all())
    True
    """
    refuse_missing(table, [*features, label, by])
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
            guessed = _classifier(model, x.iloc[train], seed).fit(x.iloc[train], labels[train]).predict(x.iloc[test])
        else:
            names, counts = np.unique(labels[train], return_counts=True)
            guessed = np.full(len(test), names[counts.argmax()])
        pieces.append(
            pd.DataFrame(
                {"fold": fold, "group": groups[test], "actual": labels[test], "guessed": guessed},
                index=table.index[test],
            )
        )
    return pd.concat(pieces).loc[table.index]


def _classifier(model: str, x: pd.DataFrame, seed: int):
    if model == "logistic":
        steps = [SignedLog(), StandardScaler(), LogisticRegression(max_iter=300, class_weight="balanced")]
    elif model == "forest":
        share = None if len(x) <= ROWS_A_TREE else ROWS_A_TREE
        steps = [
            RandomForestClassifier(
                30, min_samples_leaf=2, class_weight="balanced", max_samples=share, random_state=seed
            )
        ]  # fmt: skip
    else:
        raise unknown_name("classifier", model, CLASSIFIERS)
    return make_pipeline(prepared(x, steps[:-1]), steps[-1])


def confusion(guesses: pd.DataFrame) -> pd.DataFrame:
    """Share of the networks of each kind (row) guessed as each kind (column); rows add up to 1.

    Examples
    --------
    >>> confusion(pd.DataFrame({"actual": list("aab"), "guessed": list("abb")})).values.tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    names = sorted(set(guesses["actual"]) | set(guesses["guessed"]))
    counts = pd.crosstab(guesses["actual"], guesses["guessed"]).reindex(index=names, columns=names, fill_value=0)
    return counts.div(counts.sum(axis=1).where(lambda total: total > 0), axis=0)


def relative_to_cell(table: pd.DataFrame, features: Sequence[str], cell: Sequence[str] = CELL) -> pd.DataFrame:
    """Features in standard deviations from the mean of their cell: what tells networks of equal sparsity apart.

    No label enters, but the other networks of the cell do.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": [0.5, 0.5, 0.9, 0.9], "x": [1.0, 3, 10, 30]})
    >>> relative_to_cell(table, ["x"])["x"].tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    refuse_missing(table, [*features, *cell])
    features = [c for c in dict.fromkeys(features) if c not in cell]
    values = table[features].astype(float).replace([np.inf, -np.inf], np.nan)
    grouped = values.groupby([table[c] for c in cell], dropna=False)
    spread = grouped.transform("std", ddof=0)
    centred = values - grouped.transform("mean")
    return table.assign(**(centred / spread.where(spread > 0)).fillna(centred.where(spread == 0) * 0))


def category_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    labels: Sequence[str] = ("family", "pruner"),
    by: Sequence[str] = ("dataset", "model"),
    models: Sequence[str] = CLASSIFIERS,
    n_boot: int = 300,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[tuple[str, str, str, str], pd.DataFrame]]:
    """Balanced accuracy of every feature set, label, classifier and way of holding out.

    Returns
    -------
    scores : DataFrame
        label, kinds, chance (1 / kinds), held_out, features, columns, model, n, balanced_accuracy, low, high
        (percentiles over resampled cells of dataset, model and sparsity), reason.
    guesses : dict
        (label, held_out, features, model) -> what `guess_category` returned.
    """
    rows, guesses = [], {}
    cell = table.groupby(list(CELL), dropna=False).ngroup()
    for label in labels:
        refuse_missing(table, [label])
        kinds = table[label].nunique()
        for hold in by:
            for name, columns in sets.items():
                for model in models if len(columns) else ("most frequent",):
                    head = {"label": label, "kinds": kinds, "chance": 1 / max(kinds, 1), "held_out": hold}
                    head |= {"features": name, "columns": len(columns), "model": model}
                    try:
                        found = guess_category(table, columns, label=label, by=hold, model=model, seed=seed)
                        guesses[label, hold, name, model] = found
                        low, high = _interval(found, cell[found.index].to_numpy(), n_boot, seed)
                        value = balanced_accuracy_score(found["actual"], found["guessed"])
                        got = {"n": len(found), "balanced_accuracy": value, "low": low, "high": high, "reason": ""}
                    except InputError as error:
                        got = {"n": len(table), "reason": str(error)}
                    rows.append({**head, **got})
    order = ["label", "kinds", "chance", "held_out", "features", "columns", "model", "n"]
    return pd.DataFrame(rows).reindex(columns=[*order, "balanced_accuracy", "low", "high", "reason"]), guesses


def _interval(guesses: pd.DataFrame, cell: np.ndarray, n_boot: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the balanced accuracy; a resample is a weight for every cell."""
    cells, place = np.unique(cell, return_inverse=True)
    names, kind = np.unique(guesses["actual"], return_inverse=True)
    if len(cells) < 5 or not n_boot:
        return nan, nan
    total, right = np.zeros((2, len(cells), len(names)))
    np.add.at(total, (place, kind), 1)
    np.add.at(right, (place, kind), (guesses["actual"] == guesses["guessed"]).to_numpy(float))
    weights = np.random.default_rng(seed).multinomial(len(cells), np.full(len(cells), 1 / len(cells)), n_boot)
    total, right = weights @ total, weights @ right
    recall = np.divide(right, total, out=np.full(total.shape, nan), where=total > 0)
    return tuple(float(q) for q in np.quantile(np.nanmean(recall, axis=1), [0.025, 0.975]))
