"""False discoveries among many tests."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ..errors import InputError

__all__ = ["q_values"]


def q_values(p: np.ndarray, *, dependent: bool = False) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values; rejecting q <= a keeps the expected share of false ones at most a.

    Parameters
    ----------
    p
        p-values of all tests, any shape; missing ones stay missing and do not count.
    dependent
        Benjamini and Yekutieli's, which hold under any dependence of the tests and are larger.

    Returns
    -------
    array of the shape of `p`

    Notes
    -----
    Benjamini & Hochberg, *Controlling the false discovery rate*, J. R. Statist. Soc. B 57 (1995): the i-th smallest of
    m p-values becomes the least of p_j m/j over j >= i.

    Examples
    --------
    >>> q_values([0.01, 0.04, 0.03, np.nan]).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    p = np.asarray(p, dtype=float)
    known = np.isfinite(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise InputError("p-values must lie between 0 and 1.")
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method="by" if dependent else "bh")
    return q
