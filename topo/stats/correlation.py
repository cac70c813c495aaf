"""Correlation of metrics with accuracy (Spearman, Pearson, Kendall), group by group, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError, unknown_name
from .columns import group_columns, listed_columns, require_columns
from .label_permutations import p_and_interval, permuted_correlations
from .resampling import KINDS, correlations, draw_counts
from .significance import FEWEST_ALGORITHMS, cluster_column

# In place of a column: the one that the table asks for.
BY_TABLE = "by table"

__all__ = [
    "Correlation",
    "grouped_correlation",
    "p_value",
    "spearman",
]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its interval.

    Attributes
    ----------
    rho
        The correlation; NaN where it is undefined.
    low, high
        Ends of the interval.
    n
        Rows with both values.
    reason
        Why the correlation is undefined; empty where it is not.
    """

    rho: float
    low: float
    high: float
    n: int
    reason: str = ""


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    n_boot: int = 1000,
    level: float = 0.95,
    min_rows: int = 5,
    generator: np.random.Generator | None = None,
) -> Correlation:
    """Spearman's rank correlation of two columns with a percentile bootstrap interval over rows.

    Rows where either value is missing or infinite are left out. A constant column, or fewer than
    `min_rows` rows, gives NaN with a reason.

    Parameters
    ----------
    x, y
        Arrays of shape (n,).
    n_boot
        Resamples; 0 leaves the interval NaN.
    level
        Coverage of the interval, in (0, 1).
    min_rows
        Fewest complete rows for a number to be given; at least 3.
    generator
        Source of the resamples; one seeded with 0 when left out.

    Returns
    -------
    Correlation
        rho, low, high, n and reason.

    Raises
    ------
    InputError
        The columns differ in length.

    Notes
    -----
    Ranks are taken anew in every resample; resamples in which a column is constant are left out. Percentile
    intervals from few rows are too narrow: read them as a rough guide below about 20 rows.

    Examples
    --------
    >>> spearman([1, 2, 3, 4, 5, 6], [1, 4, 9, 16, 25, 36]).rho
    1.0
    >>> spearman([1, 1, 1, 1, 1, 1], [1, 4, 9, 16, 25, 36]).reason
    'the metric is constant'
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"the two columns must have one axis and one length; got shapes {x.shape} and {y.shape}.")
    _check("spearman", level, min_rows)
    generator = generator or np.random.default_rng(0)
    numbers = _block("spearman", x[:, None], y, n_boot, level, min_rows, generator)
    rho, low, high = (float(numbers[name][0]) for name in ("r", "low", "high"))
    return Correlation(rho, low, high, int(numbers["n"][0]), str(numbers["reason"][0]))


def grouped_correlation(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] | None = None,
    cluster: str | None = BY_TABLE,
    n_boot: int = 1000,
    level: float = 0.95,
    min_rows: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlation of every metric with `target` inside every group of rows.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Numeric columns.
    kind
        ``"spearman"``, ``"pearson"`` or ``"kendall"`` (tau-b).
    target
        Column that metrics are correlated with.
    by
        Columns that form the groups: unless given dataset, model and sparsity, of which a table may lack the first two;
        an empty list means all rows together.
    cluster
        Column whose values are the sample, such as ``"pruner"``, since the seeds of one algorithm are no independent
        evidence: each of them is one point of a group, the mean of its rows there. Left out, it is the pruner where
        groups hold at least four (`topo.stats.significance.cluster_column`), else rows are, as with None.
    n_boot
        Resamples of rows for the interval, 0 for none; with a `cluster` the interval needs none. Kendall's tau of more
        than 2,000 rows has no interval.
    level, min_rows
        As in `spearman`; with a `cluster` a group also needs four of its values.
    seed
        Seeds resamples and permutations.

    Returns
    -------
    DataFrame
        One row per group and metric: the columns of `by`, metric, n (rows), clusters (distinct values of `cluster`;
        without it rows), r, low, high, p (two-sided, of no correlation), reason.

    Notes
    -----
    With a `cluster` p is the share of the permutations of its values whose correlation is as large, of all there are of
    up to seven and of 10,000 random ones of more, and the interval holds the correlations that this test would not
    reject. Approximations by Student's t and percentiles of resamples err with so few: of four algorithms in the same
    order, one case in twelve by chance, they say p = 0. Without a `cluster` p is that of `p_value`.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> grouped_correlation(table, ["edges"], by=["sparsity"])[["sparsity", "n", "clusters"]].values.tolist()[0]
    [0.8, 16.0, 8.0]
    """
    listed_columns(metrics=metrics)
    by, metrics = group_columns(table, by), list(metrics)
    require_columns(table, [target, *by, *metrics])
    if cluster == BY_TABLE:
        cluster = cluster_column(table, by) if "pruner" in table.columns else None
    require_columns(table, [target, *by, *metrics, *([cluster] if cluster else [])])
    _check(kind, level, min_rows)
    generator = np.random.default_rng(seed)
    groups = table.groupby(by, sort=True, observed=True) if by else [((), table)]
    pieces = []
    for key, group in groups:
        x, y = group[metrics].to_numpy(float), group[target].to_numpy(float)
        if cluster is None:
            numbers = _block(kind, x, y, n_boot, level, min_rows, generator)
            numbers |= {"clusters": numbers["n"], "p": p_value(kind, numbers["r"], numbers["n"])}
        else:
            numbers = _of_clusters(kind, x, y, pd.factorize(group[cluster])[0], cluster, level, min_rows, seed)
        pieces.append(pd.DataFrame({**dict(zip(by, key, strict=True)), "metric": metrics, **numbers}))
    columns = [*by, "metric", "n", "clusters", "r", "low", "high", "p", "reason"]
    return pd.concat(pieces, ignore_index=True)[columns] if pieces else pd.DataFrame(columns=columns)


def p_value(kind: str, r: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Two-sided p-value of no correlation of many independent rows.

    Parameters
    ----------
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    r
        Correlations.
    n
        Size of the sample of each.

    Returns
    -------
    array
        In the shape of `r`.

    Notes
    -----
    Pearson's and Spearman's by Student's t with n - 2 degrees of freedom, Kendall's by the normal with variance
    2 (2n + 5) / (9 n (n - 1)). NaN with fewer than four rows. Of Spearman's below ten rows it is too small.

    Examples
    --------
    >>> p_value("pearson", np.array([0.5]), np.array([20])).round(4).tolist()
    [0.0248]
    """
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    enough = n >= 4
    n = np.where(enough, n, np.nan)
    if kind == "kendall":
        p = 2 * stats.norm.sf(np.abs(r) / np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
    else:
        with np.errstate(divide="ignore"):
            p = 2 * stats.t.sf(np.abs(r) * np.sqrt((n - 2) / np.maximum(1 - r**2, 0)), n - 2)
    return np.where(enough, p, np.nan)


def _check(kind: str, level: float, min_rows: int) -> None:
    if kind not in KINDS:
        raise unknown_name("correlation", kind, KINDS)
    if not 0 < level < 1 or min_rows < 3:
        raise InputError(f"level must lie in (0, 1) and min_rows be at least 3; got {level} and {min_rows}.")


def _patterns(
    x: np.ndarray, y: np.ndarray, min_rows: int, n: np.ndarray, reason: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns of x that lack the same rows, and the rows they have; with their number and why there is none."""
    complete = np.isfinite(x) & np.isfinite(y)[:, None]
    patterns, pattern_of_column = np.unique(complete, axis=1, return_inverse=True)
    for i, rows in enumerate(patterns.T):
        chosen = np.flatnonzero(pattern_of_column.ravel() == i)
        n[chosen] = rows.sum()
        if rows.sum() < min_rows:
            reason[chosen] = f"fewer than {min_rows} networks have both values"
        else:
            yield chosen, rows


def _varying(chosen: np.ndarray, a: np.ndarray, b: np.ndarray, reason: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns that are not constant, none where the target is; with the reason of the others."""
    constant = np.ptp(a, axis=0) == 0
    reason[chosen[constant]] = "the metric is constant"
    if np.ptp(b) == 0:
        reason[chosen[~constant]] = "the accuracy is constant"
        constant[:] = True
    return chosen[~constant], a[:, ~constant]


def _block(
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    n_boot: int,
    level: float,
    min_rows: int,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """n, r, low, high and reason of every column of x, shape (rows, columns), with y."""
    n, reason = np.zeros(x.shape[1], dtype=int), np.full(x.shape[1], "", dtype=object)
    r, low, high = np.full((3, x.shape[1]), nan)
    for chosen, rows in _patterns(x, y, min_rows, n, reason):
        b = y[rows]
        chosen, a = _varying(chosen, x[np.ix_(rows, chosen)], b, reason)
        if not len(chosen):
            continue
        r[chosen] = correlations(kind, a, b, np.ones((1, len(b))))[0]
        if n_boot:
            draws = [correlations(kind, a, b, counts) for counts in draw_counts(n_boot, len(b), generator)]
            low[chosen], high[chosen] = _interval(np.concatenate(draws), level)
    return {"n": n, "r": r, "low": low, "high": high, "reason": reason}


def _of_clusters(
    kind: str, x: np.ndarray, y: np.ndarray, codes: np.ndarray, cluster: str, level: float, min_rows: int, seed: int
) -> dict[str, np.ndarray]:
    """The same of the means of clusters, with the number of clusters and p-values by permutation."""
    n, reason = np.zeros(x.shape[1], dtype=int), np.full(x.shape[1], "", dtype=object)
    r, low, high, p = np.full((4, x.shape[1]), nan)
    clusters = n.copy()
    for chosen, rows in _patterns(x, y, min_rows, n, reason):
        units, of = np.unique(codes[rows], return_inverse=True)
        clusters[chosen] = len(units)
        if len(units) < FEWEST_ALGORITHMS:
            noun = "algorithms" if cluster == "pruner" else f"values of {cluster}"
            reason[chosen] = f"fewer than {FEWEST_ALGORITHMS} {noun} have both values"
            continue
        mean = np.equal.outer(np.arange(len(units)), of) / np.bincount(of)[:, None]
        b = mean @ y[rows]
        chosen, a = _varying(chosen, mean @ x[np.ix_(rows, chosen)], b, reason)
        if len(chosen):
            permuted = permuted_correlations(kind, a, b, seed=seed)
            r[chosen] = permuted[0]
            p[chosen], low[chosen], high[chosen] = p_and_interval(permuted, level)
    return {"n": n, "clusters": clusters, "r": r, "low": low, "high": high, "p": p, "reason": reason}


def _interval(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of every column of draws; NaN where more than half of them are undefined."""
    enough = np.isfinite(draws).sum(0) >= len(draws) / 2
    ends = np.full((2, draws.shape[1]), nan)
    if enough.any():
        ends[:, enough] = np.nanquantile(draws[:, enough], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends[0], ends[1]
