"""Adjusted R2 of least squares on the accuracy drop, with a jackknife interval, and what chance would explain.

Adjusted R2 takes every network for a case of its own. But the networks of one algorithm are alike, and a dozen columns
that tell eleven algorithms apart explain much of whatever differs between these, by chance alone. So the labels of the
algorithms are permuted too (`topo.stats.permutation`): what the same columns then explain is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import counted
from ..results.schema import GROUPS, PAIR
from .columns import require_columns
from .label_permutations import LabelOrders
from .predictors import Fill
from .regression import centred, same_rows
from .significance import FEWEST_ALGORITHMS, with_q_values

__all__ = ["adjusted_r2", "explained_by_chance", "explained_table"]

PERMUTATIONS = 999
SAME = 1e-9
# What recurs in many groups: whole algorithms, and whole pairs of dataset and model, are left out together.
CLUSTERS = (("pruner",), PAIR)


def adjusted_r2(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    target: str = "drop",
    within: Sequence[str] = (),
    clusters: Sequence[str] = GROUPS,
    level: float = 0.95,
) -> dict[str, float | str]:
    """R2 of ordinary least squares, corrected for the number of columns, with an interval over clusters.

    Adjusted R2 = 1 - (SSE / (n - g - p)) / (SST / (n - g)), p the rank of the columns and g the number of group means
    taken out first (1, the overall mean, without `within`). Gaps are filled with the column's median.

    Parameters
    ----------
    table
        One row a network.
    features
        Columns to predict from.
    target
        Column that is explained.
    within
        Columns of groups whose means are taken out of features and target.
    clusters
        Columns; rows that agree in all of them are left out together, since they are not independent.
    level
        Coverage of the interval.

    Returns
    -------
    dict
        n, rank, r2, adjusted_r2, low, high (t-interval with the jackknife's variance; NaN with fewer than four
        clusters), clusters, reason (why there is no number).

    Notes
    -----
    The jackknife leaves each cluster out in turn; the variance is (k - 1)/k times the squared deviations. Resampling
    clusters with replacement would leave fewer distinct ones, which fit better: percentiles would lie too high.

    Examples
    --------
    >>> table = pd.DataFrame({"x": [1.0, 2, 3, 4, 5, 6], "drop": [2.0, 4, 6, 8, 10, 13], "sparsity": 0.9})
    >>> fit = adjusted_r2(table, ["x"], clusters=["sparsity"])
    >>> round(fit["adjusted_r2"], 3), fit["rank"]
    (0.993, 1)
    """
    require_columns(table, [*features, target, *within, *clusters])
    table = table[np.isfinite(table[target].to_numpy(float))]
    empty = {"n": len(table), "rank": nan, "r2": nan, "adjusted_r2": nan, "low": nan, "high": nan, "clusters": nan}
    if len(table) < 3:
        return {**empty, "reason": "fewer than three networks"}
    x, y = _matrix(table, features, target, within)
    groups = table.groupby(list(within), dropna=False).ngroups if within else 1
    if (y**2).sum() <= 1e-24 * len(y):
        return {**empty, "reason": f"{target} is constant"}
    if not x.shape[1]:
        return {**empty, "reason": "every column is constant"}
    code = table.groupby(list(clusters), dropna=False).ngroup().to_numpy()
    moments = _moments(x, y, code)
    rank = int(np.linalg.matrix_rank(moments.sum(0)[1:-1, 1:-1], hermitian=True, rtol=1e-10))
    if len(y) - groups - rank < 1:
        return {
            **empty,
            "rank": rank,
            "reason": f"{counted(len(y), 'network', 'is', 'are')} too few for {counted(rank, 'column')}",
        }
    r2 = float(_r2(moments.sum(0)[None])[0])
    value = float(_adjusted(r2, len(y), groups, rank))
    low = high = nan
    k = len(moments)
    if k >= FEWEST_ALGORITHMS:
        remaining = moments.sum(0) - moments
        n = remaining[:, 0, 0]
        # Leaving a cluster out removes only the groups that lie wholly inside it.
        groups_left = groups if groups == 1 else groups - _groups_inside(table, within, clusters)
        values = _adjusted(_r2(remaining), n, groups_left, rank)
        half = stats.t.ppf(0.5 + level / 2, k - 1) * np.sqrt((k - 1) / k * ((values - values.mean()) ** 2).sum())
        low, high = value - half, value + half
    result = {"n": len(y), "rank": rank, "r2": r2, "adjusted_r2": value, "low": float(low), "high": float(high)}
    return {**result, "clusters": k, "reason": ""}


def explained_by_chance(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    target: str = "drop",
    within: Sequence[str] = (),
    groups: Sequence[str] = GROUPS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """Adjusted R2 when the labels of the algorithms are permuted, and the p-value of the one of the true labels.

    The target of an algorithm in a group is the group's mean, the algorithm's deviation from it, and what tells its
    networks apart. The deviations change places between the algorithms, in the same way in all groups.

    Parameters
    ----------
    table
        One row a network, with the column pruner.
    features
        Columns to predict from.
    target
        Column that is explained.
    within
        Columns of groups whose means are taken out of features and target.
    groups
        Columns that form the groups inside which algorithms are compared.
    permutations
        Random permutations where there are more than seven algorithms; else all are taken.
    seed
        Seeds the permutations.

    Returns
    -------
    dict
        chance (mean adjusted R2 over permutations), p (one-sided: at least as much is explained); NaN with fewer than
        four algorithms, or where nothing can be fitted.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results())[0]
    >>> found = explained_by_chance(table, ["sink_nodes_norm"], within=["dataset", "model", "sparsity"])
    >>> found["p"] < 0.05
    True
    """
    require_columns(table, [*features, target, *within, *groups, "pruner"])
    table = table[np.isfinite(table[target].to_numpy(float))]
    nothing = {"chance": nan, "p": nan}
    if len(table) < 3 or len(table["pruner"].unique()) < FEWEST_ALGORITHMS:
        return nothing
    x, y = _matrix(table, features, target, within)
    if (y**2).sum() <= 1e-24 * len(y) or not x.shape[1]:
        return nothing
    vectors, sizes, _ = np.linalg.svd(x, full_matrices=False)
    basis = vectors[:, sizes > 1e-5 * sizes.max()]
    rank, taken_out = basis.shape[1], table.groupby(list(within), dropna=False).ngroups if within else 1
    if len(y) - taken_out - rank < 1:
        return nothing
    units, names = pd.factorize(table["pruner"], sort=True)
    code = table.groupby(list(groups), dropna=False).ngroup().to_numpy()
    cells, cell = np.unique(code * len(names) + units, return_inverse=True)
    size, sums = np.bincount(cell), np.bincount(cell, y)
    group, unit = cells // len(names), cells % len(names)
    level = (np.bincount(group, sums) / np.bincount(group, size))[group]
    off = sums / size - level
    orders = LabelOrders(len(names), permutations, seed, shared=True)
    moved = np.empty((orders.count, len(cells)))
    for at in (np.flatnonzero(group == g) for g in np.unique(group)):
        moved[:, at] = off[at][orders.of(unit[at])]
        moved[:, at] -= (moved[:, at] @ size[at] / size[at].sum())[:, None]
    rest = y - (level + off)[cell]
    by_cell = np.stack([np.bincount(cell, column, minlength=len(cells)) for column in basis.T], axis=1)
    scores = (moved + level) @ by_cell + rest @ basis
    mean = y.mean()
    total = (moved + level - mean) ** 2 @ size + (rest**2).sum()
    r2 = (scores**2).sum(axis=1) / total
    return {
        "chance": float(_adjusted(r2[1:].mean(), len(y), taken_out, rank)),
        "p": float((r2 >= r2[0] - SAME).mean()),
    }


def _matrix(
    table: pd.DataFrame, features: Sequence[str], target: str, within: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns that vary, gaps filled with medians, and the target, all less their means."""
    columns, y = centred(table, features, target, within, np.arange(len(table)))
    x = Fill().fit(columns).transform(columns)
    x, y = x - x.mean(0), y - y.mean()
    spread = x.std(0)
    x = x[:, spread > 1e-12 * np.maximum(np.abs(x).max(0, initial=0), 1e-300)]
    return x / x.std(0), y


def _width(fit: Mapping[str, Any]) -> float:
    return float(np.nan_to_num(fit["high"] - fit["low"], nan=-1.0))


def _groups_inside(table: pd.DataFrame, within: Sequence[str], clusters: Sequence[str]) -> np.ndarray:
    """How many groups lie wholly inside each cluster, in the order of the clusters."""
    code = table.groupby(list(clusters), dropna=False).ngroup()
    spread = code.groupby([table[c] for c in within], dropna=False).agg(["min", "max"])
    inside = spread.loc[spread["min"] == spread["max"], "min"]
    return np.bincount(inside, minlength=code.max() + 1)


def _moments(x: np.ndarray, y: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Sums of products of (1, x, y) in every cluster, shape (clusters, p + 2, p + 2)."""
    rows = np.column_stack([np.ones(len(y)), x, y])
    order = np.argsort(code, kind="stable")
    pieces = np.split(rows[order], np.flatnonzero(np.diff(code[order])) + 1)
    return np.stack([piece.T @ piece for piece in pieces])


def _r2(moments: np.ndarray) -> np.ndarray:
    """R2 of y on (1, x) from sums of products, one value per matrix."""
    n = moments[:, :1, :1]
    centre = moments[:, 1:, 1:] - moments[:, 1:, :1] * moments[:, :1, 1:] / n
    xx, xy, yy = centre[:, :-1, :-1], centre[:, :-1, -1:], centre[:, -1, -1]
    explained = (np.swapaxes(xy, 1, 2) @ np.linalg.pinv(xx, rtol=1e-10, hermitian=True) @ xy)[:, 0, 0]
    return np.divide(explained, yy, out=np.full(len(yy), np.nan), where=yy > 0)


def _adjusted(r2: ArrayLike, n: ArrayLike, groups: ArrayLike, rank: int) -> np.ndarray:
    """R2 corrected for the number of columns and group means."""
    r2, n, groups = (np.asarray(value, dtype=float) for value in (r2, n, groups))
    return 1 - (1 - r2) * (n - groups) / (n - groups - rank)


def explained_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    within: Sequence[str] = GROUPS,
    targets: Sequence[str] = ("drop", "accuracy"),
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """`adjusted_r2` of every set on the same rows: pooled, and within groups, beside what chance explains.

    The interval is the wider one of those over algorithms and over pairs of dataset and model: both recur in many
    groups, so the groups are no independent cases.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    within
        Columns of groups whose means are taken out of features and target.
    targets
        Columns that are explained.
    permutations
        Of the labels of algorithms.
    seed
        Seeds the permutations.

    Returns
    -------
    DataFrame
        target, scope (``"pooled"`` or ``"within groups"``), features, columns, and what `adjusted_r2` and
        `explained_by_chance` give; q is p after Benjamini-Hochberg over the rows of a target and a scope.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results())[0]
    >>> explained = explained_table(table, {"core": ["k_core_norm"]}, targets=["drop"])
    >>> explained[["scope", "features", "n"]].values.tolist()
    [['pooled', 'core', 48], ['within groups', 'core', 48]]
    """
    tables = []
    for target in targets:
        shared = same_rows(table, sets, target)
        for scope, groups in (("pooled", ()), ("within groups", tuple(within))):
            rows = []
            for name, columns in sets.items():
                if columns:
                    over = [adjusted_r2(shared, columns, target=target, within=groups, clusters=c) for c in CLUSTERS]
                    fit = max(over, key=_width)
                    chance = explained_by_chance(
                        shared, columns, target=target, within=groups, permutations=permutations, seed=seed
                    )
                    head = {"target": target, "scope": scope, "features": name, "columns": len(columns)}
                    rows.append({**head, **fit, **chance})
            if rows:
                tables.append(with_q_values(pd.DataFrame(rows)))
    return pd.concat(tables, ignore_index=True)
