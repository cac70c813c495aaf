"""Which of two pruners is better, said by a score and by the truth, in every group: agreement, intervals and tests.

Kendall's tau counts pairs: those that a score orders as the truth does, less those that it orders the other way. So an
order is held here as a sign for every group and pair of pruners. That also covers pairs that were each ordered by a
model of their own, as for pruners that were not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from scipy import stats

__all__ = ["PairOrders", "detectable", "mean_with_interval", "pair_signs"]

FEWEST_UNITS = 3


def pair_signs(values: np.ndarray) -> np.ndarray:
    """Signs of the differences of all pairs.

    Parameters
    ----------
    values
        Shape (..., pruners), NaN where there is none.

    Returns
    -------
    array
        Shape (..., pruners, pruners): 1 where the first is larger, -1 where it is smaller, else 0.

    Examples
    --------
    >>> pair_signs(np.array([1.0, 3.0, np.nan])).tolist()
    [[0, -1, 0], [1, 0, 0], [0, 0, 0]]
    """
    values = np.asarray(values, dtype=float)
    difference = values[..., :, None] - values[..., None, :]
    return np.sign(np.nan_to_num(difference)).astype(np.int8)


@dataclass(frozen=True)
class PairOrders:
    """Orders of pairs by a score and by the truth.

    Attributes
    ----------
    signs, truth
        Shape (groups, pruners, pruners), antisymmetric: signs of score and truth, 0 where tied, absent or not asked.
    asked
        Of the same shape, symmetric: which pairs a group has, and were scored.
    settings
        Shape (groups,): number of the pair of dataset and model of each group.
    """

    signs: np.ndarray
    truth: np.ndarray
    asked: np.ndarray
    settings: np.ndarray

    def tau(self) -> np.ndarray:
        """Kendall's tau-b in every group; 0 where a score ties all pairs, NaN where there is no pair."""
        return _tau(*(part.sum((1, 2)) for part in self._parts()))

    def right(self) -> np.ndarray:
        """Share of pairs that are ordered right in every group, a tie as half of one."""
        agree, _, _, pairs = (part.sum((1, 2)) for part in self._parts())
        return np.divide(agree, pairs, out=np.full(len(pairs), nan), where=pairs > 0) / 2 + 0.5

    def without_each_pruner(self) -> np.ndarray:
        """Tau of every group without each pruner in turn, shape (groups, pruners)."""
        return _tau(*(part.sum((1, 2))[:, None] - 2 * part.sum(2) for part in self._parts()))

    def _parts(self) -> tuple[np.ndarray, ...]:
        signs, truth = self.signs * self.asked, self.truth * self.asked
        return tuple(part.astype(float) for part in (signs * truth, signs**2, truth**2, self.asked))


def _tau(agree: np.ndarray, scored: np.ndarray, true: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    untied = np.sqrt(np.maximum(scored * true, 0))
    tau = np.divide(agree, untied, out=np.zeros_like(agree), where=untied > 0.5)
    return np.where(pairs > 0.5, tau, nan)


def mean_with_interval(orders: PairOrders, other: PairOrders | None = None, *, level: float = 0.95) -> dict[str, float]:
    """Mean over groups of tau, or of its difference from that of another score, with an interval.

    Pruners recur in all groups, and groups of one dataset and model at all sparsities, so neither pairs nor groups are
    independent. The variance has two ways of clusters (Cameron, Gelbach & Miller, *Robust inference with multiway
    clustering*, J. Bus. Econ. Stat. 29, 2011), each by the jackknife: what leaving out each pruner gives, plus what
    leaving out each dataset and model gives, less what leaving out each pruner of each dataset and model gives, and at
    least the larger of the first two. Student's t has the degrees of freedom of Satterthwaite. Scores stay as they are.

    Parameters
    ----------
    orders
        The score.
    other
        A score to compare with, of the same pairs.
    level
        Coverage of the interval.

    Returns
    -------
    dict
        mean, low, high, p (two-sided, of a mean of zero), error (standard error), df. With fewer than three pruners
        there is no interval, and with fewer than three pairs of dataset and model it speaks of those alone.
    """
    taus, without = orders.tau(), orders.without_each_pruner()
    if other is not None:
        taus, without = taus - other.tau(), without - other.without_each_pruner()
    empty = {"mean": nan, "low": nan, "high": nan, "p": nan, "error": nan, "df": nan}
    known = np.isfinite(taus)
    if not known.any():
        return empty
    taus, without, settings = taus[known], without[known], orders.settings[known]
    mean = float(taus.mean())
    pruners = orders.asked[known].any((0, 1))
    if pruners.sum() < FEWEST_UNITS:
        return {**empty, "mean": mean}
    with np.errstate(invalid="ignore"):
        leave_pruner = np.nanmean(without[:, pruners], axis=0)
    total = np.bincount(settings, taus)
    count = np.bincount(settings)
    total, count = total[count > 0], count[count > 0]
    enough = len(count) >= FEWEST_UNITS
    leave_setting = (total.sum() - total) / (count.sum() - count) if enough else np.array([mean])
    variances = np.array([_jackknife(leave_pruner), _jackknife(leave_setting)])
    if enough:
        change = np.zeros((settings.max() + 1, int(pruners.sum())))
        np.add.at(change, settings, np.nan_to_num(without[:, pruners] - taus[:, None]) / len(taus))
        both = _jackknife(change[np.bincount(settings) > 0].ravel())
        variances *= max(variances.sum() - both, variances.max()) / max(variances.sum(), 1e-300)
    freedom = np.array([len(leave_pruner) - 1, max(len(leave_setting) - 1, 1)])
    error = sqrt(variances.sum())
    if error == 0:
        return {**empty, "mean": mean, "low": mean, "high": mean, "p": float(mean == 0), "error": 0.0}
    df = float(variances.sum() ** 2 / (variances**2 / freedom).sum())
    half = float(stats.t.ppf(0.5 + level / 2, df)) * error
    most = 1.0 if other is None else 2.0
    low, high = max(mean - half, -most), min(mean + half, most)
    p = float(2 * stats.t.sf(abs(mean) / error, df))
    return {"mean": mean, "low": low, "high": high, "p": p, "error": error, "df": df}


def _jackknife(values: np.ndarray) -> float:
    return (len(values) - 1) / len(values) * float(((values - values.mean()) ** 2).sum())


def detectable(error: float, df: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """The mean that would be told from zero with this probability.

    Parameters
    ----------
    error, df
        Standard error and degrees of freedom, as of `mean_with_interval`.
    power
        The probability.
    level
        Coverage of the interval that must not hold zero.

    Returns
    -------
    float
        In the unit of the error.

    Examples
    --------
    >>> round(detectable(0.1, 1e9), 3)
    0.28
    """
    return float((stats.t.ppf(0.5 + level / 2, df) + stats.t.ppf(power, df)) * error)
