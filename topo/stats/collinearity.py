"""Redundant columns: groups of strongly correlated metrics, and metrics that others determine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ..errors import InputError
from .columns import listed_columns, require_columns

__all__ = ["REPEATS", "collinear_groups", "determined_columns", "rank_correlations", "repeated_metrics"]

# Rank correlation from which a metric says the same as another.
REPEATS = 0.98

# Column, formula, columns it needs, the formula itself. N nodes, E edges.
RELATIONS: tuple[tuple[str, str, tuple[str, ...], Callable[..., np.ndarray]], ...] = (
    ("one_hop", "(1 + E/N)/E", ("edges", "nodes"), lambda e, n: (1 + e / n) / e),
    ("one_hop_norm", "(1 + E/N)/E", ("edges", "nodes"), lambda e, n: (1 + e / n) / e),
    ("one_hop", "1 + E/N", ("edges", "nodes"), lambda e, n: 1 + e / n),
    ("density", "E/(N (N - 1))", ("edges", "nodes"), lambda e, n: e / (n * (n - 1))),
    ("mean_degree", "2 E/N", ("edges", "nodes"), lambda e, n: 2 * e / n),
    ("mean_component_size", "1/connected_components", ("connected_components",), lambda c: 1 / c),
    ("mean_component_size_norm", "1/connected_components", ("connected_components",), lambda c: 1 / c),
    ("mean_component_size", "N/connected_components", ("nodes", "connected_components"), lambda n, c: n / c),
    ("strong_components", "N", ("nodes",), lambda n: n),
)


def rank_correlations(
    table: pd.DataFrame, metrics: Sequence[str], *, by: Sequence[str] = (), min_rows: int = 5
) -> pd.DataFrame:
    """Spearman's correlation between metrics: of all rows, or the median over groups of at least `min_rows`.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    by
        Columns of groups of rows; all rows together when empty.
    min_rows
        Fewest complete rows for a correlation.

    Returns
    -------
    DataFrame
        metrics x metrics; NaN where a metric is constant (in every group).
    """
    listed_columns(metrics=metrics, by=by)
    metrics, by = list(metrics), list(by)
    require_columns(table, [*metrics, *by])
    groups = [group for _, group in table.groupby(by, observed=True)] if by else [table]
    each = [group[metrics].astype(float).corr("spearman", min_periods=min_rows).to_numpy() for group in groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of metrics that are constant in every group
        middle = np.nanmedian(each, axis=0)
    return pd.DataFrame(middle, index=metrics, columns=metrics)


def collinear_groups(
    table: pd.DataFrame, metrics: Sequence[str], *, threshold: float = 0.95, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Groups of metrics of which any two correlate at least `threshold` in size (complete linkage).

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    threshold
        Smallest absolute rank correlation inside a group of metrics.
    by
        Columns of groups of rows: the median correlation inside them is taken, so that differences between
        architectures do not make different metrics look collinear.

    Returns
    -------
    DataFrame
        metric, group (from 1, the largest first; metrics alone in theirs come last), size, kept (the member that
        correlates most with the others and represents them), r (with it). Constant metrics are left out.

    Raises
    ------
    InputError
        `threshold` is not above 0 and at most 1.

    Examples
    --------
    >>> table = pd.DataFrame({"a": range(9), "b": [v**3 for v in range(9)], "c": [3, 1, 2, 9, 4, 0, 5, 8, 2]})
    >>> collinear_groups(table, ["a", "b", "c"])[["metric", "group", "size"]].values.tolist()
    [['a', 1, 2], ['b', 1, 2], ['c', 2, 1]]
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must lie in (0, 1]; got {threshold}.")
    size = rank_correlations(table, metrics, by=by).abs()
    defined = [m for m in size.index if np.isfinite(size.loc[m, m])]
    size = size.loc[defined, defined].fillna(0.0)
    if len(defined) < 2:
        labels = np.arange(1, len(defined) + 1)
    else:
        distance = 1 - size.to_numpy()
        distance = np.clip((distance + distance.T) / 2, 0, None)
        np.fill_diagonal(distance, 0)
        labels = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - threshold + 1e-9, "distance")
    rows = []
    for label in np.unique(labels):
        members = [m for m, one in zip(defined, labels, strict=True) if one == label]
        kept = size.loc[members, members].sum().idxmax()
        rows += [[m, len(members), kept, size.loc[m, kept], defined.index(members[0])] for m in members]
    result = pd.DataFrame(rows, columns=["metric", "size", "kept", "r", "first"])
    result = result.sort_values(["size", "first"], ascending=[False, True], kind="stable", ignore_index=True)
    result.insert(1, "group", result["first"].ne(result["first"].shift()).cumsum() if len(result) else [])
    return result.drop(columns="first")


def repeated_metrics(
    table: pd.DataFrame, metrics: Sequence[str], *, threshold: float = REPEATS, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Metrics that order networks as an earlier one of the list does.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns; of those that are alike the first stands for all.
    threshold
        Smallest absolute rank correlation between any two that are alike.
    by
        Columns of groups of rows: the median correlation inside them is taken.

    Returns
    -------
    DataFrame
        metric, same_as, r (with it; negative where the order is reversed), in the order of `metrics`.

    Raises
    ------
    InputError
        As of `collinear_groups`.

    Examples
    --------
    >>> table = pd.DataFrame({"a": range(9), "b": [-v for v in range(9)], "c": [3, 1, 2, 9, 4, 0, 5, 8, 2]})
    >>> repeated_metrics(table, ["a", "b", "c"]).values.tolist()
    [['b', 'a', -1.0]]
    """
    groups = collinear_groups(table, metrics, threshold=threshold, by=by)
    first = groups.set_index("metric")["group"].reindex([m for m in metrics if m in set(groups["metric"])])
    stands_for = {group: metric for metric, group in reversed(list(first.items()))}
    r = rank_correlations(table, metrics, by=by)
    rows = [(m, stands_for[g], r.loc[m, stands_for[g]]) for m, g in first.items() if stands_for[g] != m]
    return pd.DataFrame(rows, columns=["metric", "same_as", "r"])


def determined_columns(table: pd.DataFrame, *, tolerance: float = 1e-6) -> pd.DataFrame:
    """Metrics that are exact functions of others, by the known formulas.

    Parameters
    ----------
    table
        One row a network, metrics under their registered names.
    tolerance
        Largest relative error of a formula.

    Returns
    -------
    DataFrame
        metric, formula, rows (complete), error (largest relative one, at most `tolerance`).

    Examples
    --------
    >>> table = pd.DataFrame({"edges": [10.0, 20, 40], "nodes": [5.0, 5, 9]})
    >>> determined_columns(table.assign(mean_degree=2 * table.edges / table.nodes))["formula"].tolist()
    ['2 E/N']
    """
    rows = []
    for metric, formula, needs, function in RELATIONS:
        if metric in table.columns and set(needs) <= set(table.columns):
            columns = table[[metric, *needs]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
            columns = columns[np.isfinite(columns).all(1)]
            if len(columns) < 3 or np.ptp(columns[:, 0]) == 0:
                continue
            with np.errstate(all="ignore"):
                expected = function(*columns[:, 1:].T)
                error = np.max(np.abs(columns[:, 0] - expected) / np.abs(expected))
            if error <= tolerance:
                rows.append([metric, formula, len(columns), error])
    return pd.DataFrame(rows, columns=["metric", "formula", "rows", "error"])
