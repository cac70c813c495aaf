"""The rule by which a result counts as clear: its false-discovery rate, with algorithms as the sample.

Seeds of one algorithm are no independent evidence. So where groups hold several algorithms, tests and resamples take
the algorithms with all their seeds as the sample (`cluster_column`). Many metrics and groups are tested, so every table
of tests is adjusted for their number (`with_q_values`), and a test is clear when its adjusted p-value is below
`FALSE_DISCOVERY_RATE` (`significant`). Over many groups that hold the same algorithms their labels are permuted
(`topo.stats.permutation`). A statement about single intervals says so itself (`interval_sign`). Questions,
report, figures and notebooks ask this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError
from ..results.schema import GROUPS

__all__ = [
    "FALSE_DISCOVERY_RATE",
    "FEWEST_ALGORITHMS",
    "cluster_column",
    "interval_sign",
    "q_values",
    "significant",
    "with_q_values",
]

FALSE_DISCOVERY_RATE = 0.05
# With fewer algorithms in a group there is nothing to learn from the differences between them.
FEWEST_ALGORITHMS = 4


def q_values(p: ArrayLike, *, dependent: bool = False) -> np.ndarray:
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

    Raises
    ------
    InputError
        A p-value is not between 0 and 1.

    Notes
    -----
    Benjamini & Hochberg, *Controlling the false discovery rate*, J. R. Statist. Soc. B 57 (1995): the i-th smallest of
    m p-values becomes the least of p_j m/j over j >= i.

    Examples
    --------
    >>> q_values([0.01, 0.04, 0.03, np.nan]).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    values = np.asarray(p, dtype=float)
    known = np.isfinite(values)
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise InputError("p-values must lie between 0 and 1.")
    q = np.full(values.shape, np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(values[known], method="by" if dependent else "bh")
    return q


def with_q_values(tests: pd.DataFrame, *, within: Sequence[str] = ()) -> pd.DataFrame:
    """A table of tests with a column q behind its column p, adjusted over all rows.

    Parameters
    ----------
    tests
        One row a test, with a column p; a column q is computed anew.
    within
        Columns whose values are tables of their own, such as the one that a figure is drawn of.

    Returns
    -------
    DataFrame
        A new one.

    Examples
    --------
    >>> with_q_values(pd.DataFrame({"p": [0.01, 0.04], "n": [9, 9]})).columns.tolist()
    ['p', 'q', 'n']
    """
    adjusted = tests.drop(columns="q", errors="ignore")
    q = pd.Series(np.nan, adjusted.index)
    parts = adjusted.groupby(list(within), sort=False, observed=True).indices.values() if within else [slice(None)]
    for rows in parts:
        q.iloc[rows] = q_values(adjusted["p"].to_numpy(float)[rows])
    adjusted.insert(adjusted.columns.get_loc("p") + 1, "q", q)
    return adjusted


def significant(tests: pd.DataFrame) -> pd.Series:
    """Which tests are clear: q below the false-discovery rate of 5%; a missing q is not.

    Parameters
    ----------
    tests
        One row a test, with a column q as `with_q_values` gives it.

    Returns
    -------
    Series of bool, on the index of `tests`

    Raises
    ------
    InputError
        The table has no column q.

    Examples
    --------
    >>> significant(pd.DataFrame({"q": [0.01, 0.2, np.nan]})).tolist()
    [True, False, False]
    """
    if "q" not in tests.columns:
        raise InputError("the table of tests has no column 'q'; see topo.stats.with_q_values.")
    return tests["q"].astype(float) < FALSE_DISCOVERY_RATE


def interval_sign(low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Side of zero on which intervals lie: 1 above, -1 below, 0 where they hold zero or are not known.

    For claims that were stated beforehand and for statements about two single intervals; among many tests
    `significant` decides.

    Parameters
    ----------
    low, high
        Ends of the intervals.

    Returns
    -------
    array
        Of 1, -1 and 0.

    Examples
    --------
    >>> interval_sign([0.1, -0.2, -0.1, np.nan], [0.3, -0.1, 0.2, np.nan]).tolist()
    [1, -1, 0, 0]
    """
    return (np.asarray(low, dtype=float) > 0).astype(int) - (np.asarray(high, dtype=float) < 0).astype(int)


def cluster_column(table: pd.DataFrame, by: Sequence[str] = GROUPS) -> str | None:
    """The column whose values are the sample in the groups of a table.

    Parameters
    ----------
    table
        One row a network.
    by
        Columns that form the groups.

    Returns
    -------
    str or None
        ``"pruner"`` where groups hold at least four algorithms, as the median over groups; else None: the networks.

    Examples
    --------
    >>> from topo.results import example_results
    >>> cluster_column(example_results()), cluster_column(example_results(pruners=("snip", "er")))
    ('pruner', None)
    """
    groups = table.groupby(list(by), observed=True) if by else table.assign(all=0).groupby("all")
    algorithms = groups["pruner"].nunique().median()
    return "pruner" if algorithms >= FEWEST_ALGORITHMS else None
