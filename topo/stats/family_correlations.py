"""Tables of correlations of metrics with accuracy: within pruner families, and of the strongest metrics."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..errors import InputError
from ..results.schema import ALL_FAMILIES, PAIR, category_of, metric_columns, ordered_metrics, tidy_results
from .correlation import grouped_correlation
from .significance import cluster_column, with_q_values

__all__ = ["CORRELATION_COLUMNS", "correlations_by_family", "strongest_metrics"]

# Columns of what `correlations_by_family` returns.
CORRELATION_COLUMNS = [
    *(*PAIR, "family", "sparsity"),
    *("metric", "n", "clusters", "r", "p", "q", "reason"),
]


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
        correlations = grouped_correlation(table, metrics, by=by, cluster=None, n_boot=0, min_rows=min_rows)
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
