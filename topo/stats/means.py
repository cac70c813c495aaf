"""Means with intervals over repeated measurements."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["mean_interval"]


def mean_interval(values: pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """A mean, and its t-interval.

    Parameters
    ----------
    values
        Independent measurements (n,), as of several seeds.
    level
        Of the interval.

    Returns
    -------
    tuple
        Mean, low, high; ends are NaN with fewer than two values, the mean is without any.

    Notes
    -----
    Student, *The probable error of a mean*, Biometrika 6 (1908).

    Examples
    --------
    >>> [round(end, 2) for end in mean_interval(pd.Series([1.0, 2.0, 3.0]))]
    [2.0, -0.48, 4.48]
    """
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    if n < 2:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half
