"""Spearman correlation of metrics with accuracy, group by group, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError

__all__ = ["Correlation", "grouped_spearman", "spearman"]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, its interval and the rows behind it; `reason` says why it is NaN when it is."""

    rho: float
    low: float
    high: float
    n: int
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return not isnan(self.low) and (self.low > 0 or self.high < 0)


def spearman(
    x: np.ndarray,
    y: np.ndarray,
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
    if not 0 < level < 1 or min_rows < 3:
        raise InputError(f"level must lie in (0, 1) and min_rows be at least 3; got {level} and {min_rows}.")
    whole = np.isfinite(x) & np.isfinite(y)
    x, y = x[whole], y[whole]
    n = len(x)
    if n < min_rows:
        return Correlation(nan, nan, nan, n, f"fewer than {min_rows} networks have both values")
    for column, name in ((x, "the metric"), (y, "the accuracy")):
        if np.ptp(column) == 0:
            return Correlation(nan, nan, nan, n, f"{name} is constant")
    rho = float(_rank_correlation(x[None], y[None])[0])
    low = high = nan
    if n_boot:
        generator = generator or np.random.default_rng(0)
        rows = generator.integers(n, size=(n_boot, n))
        draws = _rank_correlation(x[rows], y[rows])
        draws = draws[np.isfinite(draws)]
        if len(draws) >= n_boot / 2:
            low, high = (float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    return Correlation(rho, low, high, n)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of every row of x with the same row of y, shape (resamples, n); NaN where one is constant."""
    ranks = [stats.rankdata(a, axis=1) - (a.shape[1] + 1) / 2 for a in (x, y)]
    square = (ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1)
    cross = (ranks[0] * ranks[1]).sum(1)
    return np.divide(cross, np.sqrt(square), out=np.full(len(cross), nan), where=square > 0)


def grouped_spearman(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    target: str = "accuracy",
    by: Sequence[str] = ("family", "sparsity"),
    n_boot: int = 1000,
    level: float = 0.95,
    min_rows: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Spearman's correlation of every metric with `target` inside every group of rows.

    Parameters
    ----------
    table
        One row per network.
    metrics
        Numeric columns.
    by
        Columns that form the groups; none means all rows together.
    n_boot, level, min_rows
        As in `spearman`.
    seed
        Seeds the resamples.

    Returns
    -------
    DataFrame
        One row per group and metric: the columns of `by`, metric, n, rho, low, high, reason.

    Examples
    --------
    >>> from topo.stats import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> grouped_spearman(table, ["edges"], by=["family"], n_boot=0)[["family", "n"]].values.tolist()
    [['initial', 36], ['trained', 12]]
    """
    missing = [c for c in [target, *by, *metrics] if c not in table.columns]
    if missing:
        raise InputError(f"the table has no column {', '.join(map(repr, missing))}.")
    generator = np.random.default_rng(seed)
    by = list(by)
    groups = table.groupby(by, sort=True, observed=True) if by else [((), table)]
    rows = []
    for key, group in groups:
        y = group[target].to_numpy(float)
        for metric in metrics:
            found = spearman(
                group[metric].to_numpy(float), y, n_boot=n_boot, level=level, min_rows=min_rows, generator=generator
            )
            rows.append([*key, metric, found.n, found.rho, found.low, found.high, found.reason])
    return pd.DataFrame(rows, columns=[*by, "metric", "n", "rho", "low", "high", "reason"])
