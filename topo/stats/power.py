"""How large a correlation has to be for a permutation test to find it, on the very design of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, isfinite, nan

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError
from ..results.schema import GROUPS
from .label_permutations import MOST
from .permutation import permuted_means
from .significance import FALSE_DISCOVERY_RATE, FEWEST_ALGORITHMS, significant

__all__ = ["Detectable", "detectable_correlation", "p_to_be_found"]


@dataclass(frozen=True)
class Detectable:
    """What a permutation test can find.

    Attributes
    ----------
    r
        Size of the mean correlation that is found with the power asked for, the median over metrics; NaN where not
        even a perfect one would be.
    units
        Units (algorithms) that the table has.
    units_needed
        Fewest units with which a perfect correlation would be found.
    """

    r: float
    units: int
    units_needed: int

    def __bool__(self) -> bool:
        """Whether any effect at all can be found."""
        return isfinite(self.r)


def p_to_be_found(tests: pd.DataFrame) -> float:
    """The p-value below which one more test of a table would be clear by `topo.stats.significant`.

    Parameters
    ----------
    tests
        One row a test, with columns p and q.

    Returns
    -------
    float
        By Benjamini and Hochberg's rule: 5% times the number that would then be clear, over the number of tests.

    Examples
    --------
    >>> p_to_be_found(pd.DataFrame({"p": [0.5, 0.4, 0.6, 0.3, None], "q": [0.6, 0.6, 0.6, 0.6, None]}))
    0.0125
    """
    known = int(tests["p"].notna().sum())
    return FALSE_DISCOVERY_RATE * min(int(significant(tests).sum()) + 1, known) / known if known else nan


def detectable_correlation(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    p_below: float,
    power: float = 0.8,
    unit: str | None = "pruner",
    given: Sequence[str] = (),
    target: str = "accuracy",
    by: Sequence[str] = GROUPS,
    min_units: int = FEWEST_ALGORITHMS,
    permutations: int = 5000,
    seed: int = 0,
) -> Detectable:
    """Size of the mean rank correlation that `permutation_correlation` would find, on the design of a table.

    Parameters
    ----------
    table, metrics, unit, given, target, by, min_units, permutations, seed
        As for `topo.stats.permutation_correlation`.
    p_below
        What counts as found: a p-value below this (see `p_to_be_found`).
    power
        Probability with which it is to be found, in (0, 1).

    Returns
    -------
    Detectable
        The size, or how many units it would take.

    Raises
    ------
    InputError
        `p_below` or `power` is not between 0 and 1; and as of `topo.stats.permutation_correlation`.

    Notes
    -----
    The correlations of a metric with the permuted target are what chance does on this table: with its groups, its
    units, its ties, and with how alike its groups are. The size that none but a share `p_below` of them reaches is
    what has to be seen; to see it with the power asked for, the true one has to lie further out by so many standard
    deviations of them, both as Fisher's z, on which scale they are as wide whatever the correlation is. Simulated
    tables with such an effect have a median correlation within about 0.05 of this where 80% of them are found.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("family == 'initial'")
    >>> found = detectable_correlation(table, ["edges", "spectral_gap"], p_below=0.05)
    >>> bool(0.5 < found.r < 1), found.units
    (True, 6)
    >>> detectable_correlation(table, ["edges"], p_below=0.001)
    Detectable(r=nan, units=6, units_needed=7)
    """
    for name, value in (("p_below", p_below), ("power", power)):
        if not 0 < value < 1:
            raise InputError(f"{name} must lie between 0 and 1; got {value}.")
    permuted = permuted_means(
        table, metrics, unit=unit, given=given, target=target, by=by, min_units=min_units,
        permutations=permutations, seed=seed,
    )  # fmt: skip
    needed = next(n for n in range(FEWEST_ALGORITHMS, 100) if 2 / factorial(n) < p_below)
    known = permuted.groups_of > 0
    to_be_seen = permuted.critical(p_below)[known]
    if not known.any() or np.median(to_be_seen) >= 1:
        return Detectable(nan, permuted.units, max(needed, permuted.units + 1))
    chance = np.arctanh(np.clip(permuted.means[1:, known], -MOST, MOST))
    further = stats.norm.ppf(power) * np.sqrt((chance**2).mean(axis=0))
    size = float(np.median(np.tanh(np.arctanh(np.minimum(to_be_seen, MOST)) + further)))
    return Detectable(size, permuted.units, needed)
