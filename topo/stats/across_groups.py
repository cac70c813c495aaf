"""Mean correlation over groups, with an interval over the algorithms compared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..results.schema import GROUPS
from .columns import require_columns
from .resampling import correlations

__all__ = ["mean_over_groups"]


def mean_over_groups(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    cluster: str = "pruner",
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] = GROUPS,
    n_boot: int = 400,
    level: float = 0.95,
    min_rows: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean over groups of the correlation with `target`, with an interval over resampled clusters.

    The same clusters are in every group (the same algorithms at every sparsity, say), so groups are no independent
    evidence. Here each resample draws clusters once, and every group takes those drawn.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Metric columns.
    cluster
        Column whose values are resampled.
    kind
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    target
        Column that metrics are correlated with.
    by
        Columns that form the groups.
    n_boot
        Resamples of an interval; 0 leaves it out.
    level
        Coverage of the interval.
    min_rows
        Fewest networks for a correlation.
    seed
        Seeds every random choice.

    Returns
    -------
    DataFrame
        metric, k (groups with a correlation), clusters, mean, low, high.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> mean_over_groups(table, ["edges"], by=["sparsity"])[["k", "clusters"]].values.tolist()
    [[3, 8]]
    """
    by, metrics = list(by), list(metrics)
    require_columns(table, [target, cluster, *by, *metrics])
    names = np.unique(table[cluster].to_numpy())
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_boot)
    counts = np.vstack([np.ones((1, len(names))), drawn])
    total = np.zeros((n_boot + 1, len(metrics)))
    defined = np.zeros((n_boot + 1, len(metrics)))
    for _, group in table.groupby(by, observed=True) if by else [((), table)]:
        codes = np.searchsorted(names, group[cluster].to_numpy())
        x, y = group[metrics].to_numpy(float), group[target].to_numpy(float)
        complete = np.isfinite(x) & np.isfinite(y)[:, None]
        patterns, pattern_of_column = np.unique(complete, axis=1, return_inverse=True)
        for i, rows in enumerate(patterns.T):
            if rows.sum() < min_rows:
                continue
            chosen = np.flatnonzero(pattern_of_column.ravel() == i)
            r = correlations(kind, x[np.ix_(rows, chosen)], y[rows], counts[:, codes[rows]])
            # Groups without a correlation are left out; so are those that a resample leaves without one.
            known = np.isfinite(r) & np.isfinite(r[:1])
            total[:, chosen] += np.where(known, r, 0)
            defined[:, chosen] += known
    means = np.divide(total, defined, out=np.full(total.shape, np.nan), where=defined > 0)
    low = high = np.full(len(metrics), np.nan)
    if n_boot:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of metrics without any correlation
            low, high = np.nanquantile(means[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame(
        {
            "metric": metrics,
            "k": defined[0].astype(int),
            "clusters": len(names),
            "mean": means[0],
            "low": low,
            "high": high,
        }
    )
