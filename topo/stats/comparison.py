"""Comparison of feature sets: paired differences of held-out predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from math import nan

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError
from .significance import q_values

__all__ = ["comparison_table", "paired_difference"]


def paired_difference(first: pd.DataFrame, second: pd.DataFrame, *, level: float = 0.95) -> dict[str, float | str]:
    """Difference in held-out R2 of two sets of predictions of the same rows and folds, with an interval.

    In every fold the mean squared error of the second less that of the first is divided by the variance of all
    targets: the gain in R2. The folds' mean has a t-interval whose variance is that of Nadeau & Bengio (*Inference for
    the generalization error*, Machine Learning 52, 2003): folds share training rows, so s^2 (1/k + n_test/n_train)
    takes the place of s^2/k.

    Parameters
    ----------
    first, second
        What `topo.stats.regression.held_out` returned for each.
    level
        Coverage of the interval.

    Returns
    -------
    dict
        difference, low, high, p (two-sided), folds, reason (why there is no interval).

    Raises
    ------
    InputError
        The two are not predictions of the same rows in the same folds.

    Examples
    --------
    >>> right = pd.DataFrame({"fold": [0, 0, 1, 1, 2, 2], "actual": [0.0, 1, 0, 1, 0, 1], "trained_on": 4})
    >>> right["predicted"] = [0.1, 0.9, 0.2, 0.8, 0.0, 1.0]
    >>> gain = paired_difference(right, right.assign(predicted=0.5))
    >>> round(gain["difference"], 2), bool(gain["low"] > 0)
    (0.93, True)
    """
    if not first.index.equals(second.index) or (first["fold"].to_numpy() != second["fold"].to_numpy()).any():
        raise InputError("the two predictions are not of the same rows in the same folds, so they are not paired.")
    if not np.allclose(first["actual"], second["actual"], rtol=1e-9, atol=1e-12):
        raise InputError("the two predictions are of different targets, so they are not paired.")
    actual = first["actual"].to_numpy(float)
    error = [(p["predicted"].to_numpy(float) - actual) ** 2 for p in (first, second)]
    fold = first["fold"].to_numpy()
    size = first.groupby("fold").size()
    gain = pd.Series(error[1] - error[0]).groupby(fold).mean().to_numpy() / actual.var()
    k = len(gain)
    result: dict[str, float | str] = {
        "difference": float(gain.mean()),
        "low": nan,
        "high": nan,
        "p": nan,
        "folds": k,
        "reason": "",
    }
    if k < 2:
        return {**result, "reason": "only one group was held out"}
    ratio = (size / first.groupby("fold")["trained_on"].first()).mean()
    deviation = float(np.sqrt(gain.var(ddof=1) * (1 / k + ratio)))
    if deviation == 0:
        return {**result, "low": gain.mean(), "high": gain.mean(), "p": 1.0 if gain.mean() == 0 else 0.0}
    half = stats.t.ppf(0.5 + level / 2, k - 1) * deviation
    p = 2 * stats.t.sf(abs(gain.mean()) / deviation, k - 1)
    return {**result, "low": gain.mean() - half, "high": gain.mean() + half, "p": p}


def comparison_table(
    predictions: Mapping[tuple[str, str, str], pd.DataFrame], pairs: Iterable[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Every pair of feature sets that were tried with the same model and the same groups left out.

    Parameters
    ----------
    predictions
        (held_out, features, model) -> predictions, as from `topo.stats.regression.regression_table`.
    pairs
        (first, second) names of feature sets; all pairs when left out. Sets without a column (the mean) have the model
        ``"mean"`` and are paired with every model.

    Returns
    -------
    DataFrame
        held_out, model, first, second, what `paired_difference` gives, and q: p after Benjamini-Hochberg over all rows.
    """
    names = list(dict.fromkeys(name for _, name, _ in predictions))
    pairs = list(combinations(names, 2) if pairs is None else pairs)
    rows = []
    for hold, model in dict.fromkeys((hold, model) for hold, _, model in predictions if model != "mean"):
        for first, second in pairs:
            both = [predictions.get((hold, n, model), predictions.get((hold, n, "mean"))) for n in (first, second)]
            if both[0] is None or both[1] is None:
                continue
            head = {"held_out": hold, "model": model, "first": first, "second": second}
            rows.append({**head, **paired_difference(*both)})
    columns = ["held_out", "model", "first", "second", "difference", "low", "high", "p", "q", "folds", "reason"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    table["q"] = q_values(table["p"].to_numpy(float))
    return table
