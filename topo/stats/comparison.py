"""Comparison of feature sets: paired differences of held-out predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from ..errors import InputError
from .gains import mean_gain
from .significance import q_values

__all__ = ["comparison_table", "paired_difference"]

# Models of sets that no other model predicts from.
ALONE = ("mean", "cells")
COLUMNS = [
    "held_out", "model", "first", "second", "difference", "low", "high", "p", "q", "detectable", "algorithms", "pairs",
    "reason",
]  # fmt: skip


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, level: float = 0.95, tests: int = 1
) -> dict[str, float | str]:
    """Difference in mean absolute error of two sets of predictions of the same rows and folds, with an interval.

    It is the error of the second less that of the first, in the unit of the target: positive where the first is better.
    What is tested is whether it holds over algorithms and over pairs of dataset and model
    (`topo.stats.gains.mean_gain`). Squared errors, and so R2, would hang on a few algorithms that are far off.

    Parameters
    ----------
    first, second
        What `topo.stats.regression.held_out` returned for each.
    level
        Coverage of the interval.
    tests
        How many tests are adjusted for together.

    Returns
    -------
    dict
        difference, low, high, p (two-sided), detectable (the difference that would be found with 80% power),
        algorithms, pairs, reason (why there is no interval).

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
    (0.4, True)
    """
    if not first.index.equals(second.index) or (first["fold"].to_numpy() != second["fold"].to_numpy()).any():
        raise InputError("the two predictions are not of the same rows in the same folds, so they are not paired.")
    if not np.allclose(first["actual"], second["actual"], rtol=1e-9, atol=1e-12):
        raise InputError("the two predictions are of different targets, so they are not paired.")
    actual = first["actual"].to_numpy(float)
    error = [np.abs(p["predicted"].to_numpy(float) - actual) for p in (first, second)]
    return mean_gain(error[1] - error[0], first, level=level, tests=tests)


def comparison_table(
    predictions: Mapping[tuple[str, str, str], pd.DataFrame],
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    models: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Every pair of feature sets that were tried with the same model and the same groups left out.

    Parameters
    ----------
    predictions
        (held_out, features, model) -> predictions, as from `topo.stats.regression.regression_table`.
    pairs
        (first, second) names of feature sets; all pairs when left out. Baselines (the mean, and means of cells) are
        paired with every model. Of those that predict the same the first is compared.
    models
        Models whose predictions are compared; all of them when left out. The more tests, the larger q.

    Returns
    -------
    DataFrame
        held_out, model, first, second, what `paired_difference` gives, and q: p after Benjamini-Hochberg over all rows.
    """
    names = list(dict.fromkeys(name for _, name, _ in predictions))
    pairs = list(combinations(names, 2) if pairs is None else pairs)
    wanted = {model for *_, model in predictions if model not in ALONE} if models is None else set(models)
    compared: list[tuple[dict[str, str], pd.DataFrame, pd.DataFrame]] = []
    for hold, model in dict.fromkeys((hold, model) for hold, _, model in predictions if model in wanted):
        for first, second in pairs:
            one, other = (_of(predictions, hold, name, model) for name in (first, second))
            if one is None or other is None:
                continue
            if not any(
                was["held_out"] == hold and was["first"] == first and _same(other, before)
                for was, _, before in compared
            ):
                head = {"held_out": hold, "model": model, "first": first, "second": second}
                compared.append((head, one, other))
    rows = [{**head, **paired_difference(*both, tests=len(compared))} for head, *both in compared]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["q"] = q_values(table["p"].to_numpy(float))
    return table


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one is not other and bool(np.allclose(one["predicted"], other["predicted"], rtol=1e-9, atol=1e-12))


def _of(
    predictions: Mapping[tuple[str, str, str], pd.DataFrame], hold: str, name: str, model: str
) -> pd.DataFrame | None:
    return next((predictions[hold, name, m] for m in (model, *ALONE) if (hold, name, m) in predictions), None)
