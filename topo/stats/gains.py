"""Means of gains in prediction, tested with algorithms, and pairs of dataset and model, as the units of evidence.

The networks of one algorithm share what is good or bad about it, on every dataset and model, and so do the networks of
one dataset and model. A difference between two predictions is clear only where it is beyond chance over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np
import pandas as pd
from scipy import optimize, stats

from .significance import FEWEST_ALGORITHMS

__all__ = ["detectable", "mean_gain"]

POWER = 0.8


def mean_gain(gains: np.ndarray, units: pd.DataFrame, *, level: float = 0.95, tests: int = 1) -> dict[str, float | str]:
    """Mean of the gains of single networks, with an interval and a test over every kind of unit.

    Parameters
    ----------
    gains
        One value a network that was held out.
    units
        One row a network: `algorithm`, and `pair` (of dataset and model) where there are any; without an algorithm
        `fold` is the unit.
    level
        Coverage of the interval.
    tests
        How many tests are adjusted for together: a difference that is alone among them has to be clear at a level
        that much smaller.

    Returns
    -------
    dict
        difference (the mean), low, high, p (two-sided), detectable (the difference that would be found with 80% power
        after the adjustment), algorithms, pairs (how many), reason (why there is no test).

    Notes
    -----
    The variance is that of a jackknife over units. Algorithms that are held out were in the training rows of the
    others, and where datasets, models or seeds are held out all algorithms were: the errors of the k algorithms depend
    on each other through what was learnt from them. As for folds that share training rows (Nadeau & Bengio, *Inference
    for the generalization error*, Machine Learning 52, 2003) s^2 (1/k + 1/(k - 1)) takes the place of s^2/k. The
    interval is the wider one, and p the larger one, of algorithms and of pairs: a difference between two sets of
    metrics that follow algorithms, or datasets and models, for reasons of their own is called clear at most as often
    as stated (`tests/stats/test_comparison.py`).

    Examples
    --------
    >>> units = pd.DataFrame({"algorithm": ["er", "er", "erk", "erk", "snip", "snip", "grasp", "grasp"]})
    >>> gain = mean_gain(np.array([1.0, 1, 2, 2, 3, 3, 2, 2]), units)
    >>> round(gain["difference"], 2), round(gain["low"], 2), round(gain["high"], 2)
    (2.0, 0.02, 3.98)
    """
    gains = np.asarray(gains, dtype=float)
    mean = float(gains.mean())
    kinds = [kind for kind in ("algorithm", "pair") if kind in units] if "algorithm" in units else ["fold"]
    count = {kind: len(pd.unique(units[kind])) for kind in kinds}
    result: dict[str, float | str] = {"difference": mean, "low": nan, "high": nan, "p": nan, "detectable": nan}
    result |= {"algorithms": count.get("algorithm", nan), "pairs": count.get("pair", nan), "reason": ""}
    if count.get("algorithm", FEWEST_ALGORITHMS) < FEWEST_ALGORITHMS:
        return {**result, "reason": f"fewer than {FEWEST_ALGORITHMS} algorithms"}
    if count.get("fold", 2) < 2:
        return {**result, "reason": "only one group was held out"}
    errors = [(count[kind] - 1, _error(gains, units[kind], kind)) for kind in kinds if count[kind] > 1]
    half = max(float(stats.t.ppf(0.5 + level / 2, df)) * error for df, error in errors)
    p = max(_p(mean, error, df) for df, error in errors)
    found = detectable(errors, alpha=(1 - level) / tests)
    return {**result, "low": mean - half, "high": mean + half, "p": p, "detectable": found}


def _error(gains: np.ndarray, units: pd.Series, kind: str) -> float:
    """Standard error of the mean over units."""
    codes, names = pd.factorize(units)
    k = len(names)
    without = (gains.sum() - np.bincount(codes, gains)) / (len(gains) - np.bincount(codes))
    variance = (k - 1) / k * ((without - without.mean()) ** 2).sum()
    return sqrt(variance * (1 if kind == "pair" else 1 + k / (k - 1)))


def _p(mean: float, error: float, df: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, df))


def detectable(errors: Sequence[tuple[int, float]], *, alpha: float = 0.05, power: float = POWER) -> float:
    """The true difference at which all t-tests together are significant with a given probability.

    Parameters
    ----------
    errors
        Degrees of freedom and standard error of each test. All have to be significant; they are taken as independent.
    alpha
        Two-sided level of each test.
    power
        The probability.

    Returns
    -------
    float
        From the noncentral t-distribution; 0 where nothing varies.

    Examples
    --------
    >>> round(detectable([(10, 1.0)]), 2)  # of standard errors
    3.11
    """
    largest = max((error for _, error in errors), default=0.0)
    if largest == 0:
        return 0.0

    def missing(size: float) -> float:
        each = [stats.nct.sf(stats.t.ppf(1 - alpha / 2, df), df, size / error) for df, error in errors if error > 0]
        return float(np.prod(each)) - power

    high = largest
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0, high, xtol=1e-6 * largest))
