"""Correlation of metrics with accuracy (Spearman, Pearson, Kendall), group by group, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError, unknown_name
from ..results.schema import ALL_FAMILIES, GROUPS, PAIR, category_of, metric_columns, ordered_metrics, tidy_results
from .columns import require_columns
from .resampling import KINDS, correlations, draw_counts
from .significance import cluster_column, with_q_values

__all__ = [
    "Correlation",
    "correlations_by_family",
    "grouped_correlation",
    "p_value",
    "spearman",
    "strongest_metrics",
]

# Columns of what `correlations_by_family` returns.
CORRELATION_COLUMNS = [
    *(*PAIR, "family", "sparsity"),
    *("metric", "n", "clusters", "r", "p", "q", "reason"),
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
    columns = _block("spearman", x[:, None], y, None, n_boot, level, min_rows, generator)
    n, rho, low, high, reason = (column[0] for column in columns)
    return Correlation(float(rho), float(low), float(high), int(n), str(reason))


def grouped_correlation(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] = GROUPS,
    cluster: str | None = None,
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
        Columns that form the groups; none means all rows together.
    cluster
        Column whose values are resampled with all their rows, such as ``"pruner"`` where the seeds of one algorithm
        are no independent evidence; left out, rows are resampled.
    n_boot, level, min_rows
        As in `spearman`. Kendall's tau of more than 2,000 rows has no interval.
    seed
        Seeds the resamples.

    Returns
    -------
    DataFrame
        One row per group and metric: the columns of `by`, metric, n (rows), clusters (distinct values of `cluster`;
        without it rows), r, low, high, p (two-sided, of no correlation, taking the clusters as the sample), reason.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> grouped_correlation(table, ["edges"], by=["family"], n_boot=0)[["family", "n"]].values.tolist()
    [['initial', 36], ['trained', 12]]
    """
    by, metrics = list(by), list(metrics)
    require_columns(table, [target, *by, *metrics, *([cluster] if cluster else [])])
    _check(kind, level, min_rows)
    generator = np.random.default_rng(seed)
    groups = table.groupby(by, sort=True, observed=True) if by else [((), table)]
    pieces = []
    for key, group in groups:
        codes = None if cluster is None else pd.factorize(group[cluster])[0]
        x, y = group[metrics].to_numpy(float), group[target].to_numpy(float)
        n, r, low, high, reason = _block(kind, x, y, codes, n_boot, level, min_rows, generator)
        complete = np.isfinite(y)[:, None] & np.isfinite(x)
        clusters = n if codes is None else [len(np.unique(codes[rows])) for rows in complete.T]
        piece = {**dict(zip(by, key, strict=True)), "metric": metrics, "n": n, "clusters": clusters}
        pieces.append(pd.DataFrame({**piece, "r": r, "low": low, "high": high, "reason": reason}))
    columns = [*by, "metric", "n", "clusters", "r", "low", "high", "reason"]
    result = pd.concat(pieces, ignore_index=True)[columns] if pieces else pd.DataFrame(columns=columns)
    result.insert(result.columns.get_loc("reason"), "p", p_value(kind, result["r"], result["clusters"]))
    return result


def correlations_by_family(
    table: pd.DataFrame, metrics: Sequence[str] | None = None, *, min_rows: int = 5
) -> pd.DataFrame:
    """Spearman's correlation of metrics with accuracy in every group, within each pruner family and over all of them.

    Groups are networks of one dataset, model and sparsity. Dense networks and networks without an accuracy are left
    out.

    Parameters
    ----------
    table
        Results table.
    metrics
        Metric columns; those of the whole-network graph when left out.
    min_rows
        Fewest networks for a correlation.

    Returns
    -------
    DataFrame
        dataset, model, family, sparsity, metric, n, clusters, r, p, q, reason; the sample of p is that of
        `topo.stats.significance.cluster_column`, and q is over all rows.

    Raises
    ------
    InputError
        The table has no metric.

    Examples
    --------
    >>> from topo.results import example_results
    >>> correlations_by_family(example_results(), ["edges"])["family"].unique().tolist()
    ['initial', 'trained', 'all families']
    """
    table = _with_accuracy(table)
    if metrics is None:
        metrics = ordered_metrics(c for c in metric_columns(table) if "__" not in c)
    if not len(metrics):
        raise InputError("the table has no metric columns, so there is nothing to correlate with accuracy.")
    by = CORRELATION_COLUMNS[:4]
    parts = [table]
    if len(table["family"].unique()) > 1:
        parts.append(table.assign(family=ALL_FAMILIES))
    cluster = cluster_column(table)
    pieces = [grouped_correlation(part, metrics, by=by, cluster=cluster, n_boot=0, min_rows=min_rows) for part in parts]
    return with_q_values(pd.concat(pieces, ignore_index=True))[CORRELATION_COLUMNS]


def strongest_metrics(table: pd.DataFrame, count: int = 6, *, min_rows: int = 5) -> list[str]:
    """In every category the whole-network metric with the largest median of \\|rho\\| over groups of one sparsity.

    Groups are networks of one dataset, model, family and sparsity; where all are too small, of one dataset and model.
    Metrics that are constant everywhere are left out.

    Parameters
    ----------
    table
        Results table.
    count
        Most metrics.
    min_rows
        Fewest networks for a correlation.

    Returns
    -------
    list
        Names of columns.

    Examples
    --------
    >>> from topo.results import example_results
    >>> len(strongest_metrics(example_results(), count=3))
    3
    """
    table = _with_accuracy(table)
    metrics = ordered_metrics(c for c in metric_columns(table) if "__" not in c)
    size = pd.Series(dtype=float)
    for by in ([*PAIR, "family", "sparsity"], [*PAIR]):
        correlations = grouped_correlation(table, metrics, by=by, n_boot=0, min_rows=min_rows)
        sizes = correlations.assign(r=correlations["r"].abs())
        size = sizes.groupby("metric", sort=False)["r"].median().dropna()
        if len(size):
            break
    best: dict[str, str] = {}
    for metric in size.sort_values(ascending=False, kind="stable").index:
        best.setdefault(category_of(metric), metric)
    chosen = sorted(best.values(), key=lambda metric: -size[metric])[:count]
    return [metric for metric in metrics if metric in chosen]


def _with_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """The sparse networks that have an accuracy."""
    table = tidy_results(table)
    return table[(table["pruner"] != "dense") & table["accuracy"].notna()]


def p_value(kind: str, r: ArrayLike, n: ArrayLike, *, covariates: int = 0) -> np.ndarray:
    """Two-sided p-value of no correlation.

    Parameters
    ----------
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    r
        Correlations.
    n
        Size of the sample of each.
    covariates
        Number of covariates that were partialled out.

    Returns
    -------
    array
        In the shape of `r`.

    Notes
    -----
    Pearson's and Spearman's by Student's t with n - 2 - covariates degrees of freedom, Kendall's by the normal with
    variance 2 (2n + 5) / (9 n (n - 1)); n less the covariates there too. NaN with fewer than four rows.

    Examples
    --------
    >>> p_value("pearson", np.array([0.5]), np.array([20])).round(4).tolist()
    [0.0248]
    """
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float) - covariates
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


def _block(
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    clusters: np.ndarray | None,
    n_boot: int,
    level: float,
    min_rows: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """n, r, low, high and reason of every column of x, shape (rows, columns), with y."""
    columns = x.shape[1]
    n, reason = np.zeros(columns, dtype=int), np.full(columns, "", dtype=object)
    r, low, high = np.full((3, columns), nan)
    complete = np.isfinite(x) & np.isfinite(y)[:, None]
    # Columns that lack the same rows share their resamples.
    patterns, pattern_of_column = np.unique(complete, axis=1, return_inverse=True)
    for i, rows in enumerate(patterns.T):
        chosen = np.flatnonzero(pattern_of_column.ravel() == i)
        n[chosen] = rows.sum()
        if rows.sum() < min_rows:
            reason[chosen] = f"fewer than {min_rows} networks have both values"
            continue
        a, b = x[np.ix_(rows, chosen)], y[rows]
        constant = np.ptp(a, axis=0) == 0
        reason[chosen[constant]] = "the metric is constant"
        if np.ptp(b) == 0:
            reason[chosen[~constant]] = "the accuracy is constant"
            continue
        chosen, a = chosen[~constant], a[:, ~constant]
        if not len(chosen):
            continue
        r[chosen] = correlations(kind, a, b, np.ones((1, len(b))))[0]
        if n_boot:
            codes = None if clusters is None else np.unique(clusters[rows], return_inverse=True)[1]
            draws = [correlations(kind, a, b, c) for c in draw_counts(n_boot, len(b), generator, clusters=codes)]
            low[chosen], high[chosen] = _interval(np.concatenate(draws), level)
    return n, r, low, high, reason


def _interval(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of every column of draws; NaN where more than half of them are undefined."""
    enough = np.isfinite(draws).sum(0) >= len(draws) / 2
    ends = np.full((2, draws.shape[1]), nan)
    if enough.any():
        ends[:, enough] = np.nanquantile(draws[:, enough], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends[0], ends[1]
