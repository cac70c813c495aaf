"""Correlations under permuted labels: the orders, the correlations, their p-values and intervals."""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations as all_orders
from math import ceil

import numpy as np
from scipy.stats import rankdata

from .residuals import scores_of

__all__ = ["MOST", "SAME", "LabelOrders", "critical_size", "p_and_interval", "permuted_correlations"]

# Up to this many units all orders are tried (5,040).
MOST_UNITS_IN_ALL_ORDERS = 7
# Correlations that differ by less are the same.
SAME = 1e-9
# Correlations of one are taken as this, for which Fisher's z is finite.
MOST = 1 - 1e-9
# Numbers held at once.
MOST_NUMBERS = 4_000_000


def permuted_correlations(
    kind: str, columns: np.ndarray, target: np.ndarray, *, permutations: int = 10_000, seed: int = 0
) -> np.ndarray:
    """Correlation of every column with a target, and with every permutation of it.

    Parameters
    ----------
    kind
        ``"spearman"``, ``"pearson"`` or ``"kendall"`` (tau-b).
    columns
        Shape (units, columns), finite, none constant.
    target
        Shape (units,), finite, not constant.
    permutations
        Random ones where there are more than seven units; else all are taken.
    seed
        Seeds them.

    Returns
    -------
    array of shape (permutations, columns)
        The identity first.

    Examples
    --------
    >>> r = permuted_correlations("kendall", np.array([[1.0], [2.0], [4.0], [3.0]]), np.arange(4.0))
    >>> r.shape, r[0].round(2).tolist()
    ((24, 1), [0.67])
    """
    orders = _all_orders(len(target), permutations, seed)
    if kind != "kendall":
        x, y = scores_of(columns, kind), scores_of(target[:, None], kind)[:, 0]
        return y[orders] @ x
    # Of whole-number ranks, since differences of values may underflow.
    x, y = (np.sign(ranks[:, None] - ranks[None]) for ranks in (rankdata(columns, axis=0), rankdata(target)))
    flat = x.reshape(-1, x.shape[2]) / np.linalg.norm(x, axis=(0, 1))
    y = y / np.linalg.norm(y)
    step = max(1, MOST_NUMBERS // y.size)
    pieces = [orders[at : at + step] for at in range(0, len(orders), step)]
    return np.vstack([y[o[:, :, None], o[:, None, :]].reshape(len(o), -1) @ flat for o in pieces])


@lru_cache(maxsize=64)
def _all_orders(units: int, permutations: int, seed: int) -> np.ndarray:
    return LabelOrders(units, permutations, seed, shared=True).all


class LabelOrders:
    """Permutations of all units, the identity first, and what they are among some of the units.

    Parameters
    ----------
    units
        How many there are.
    wanted
        Random permutations where there are more than seven units; else all are taken.
    seed
        Seeds the permutations.
    shared
        Whether one permutation holds for all groups; else every group draws its own.
    """

    def __init__(self, units: int, wanted: int, seed: int, *, shared: bool) -> None:
        self.shared = shared
        self.generator = np.random.default_rng(seed)
        self.known: dict[bytes, np.ndarray] = {}
        if shared and units <= MOST_UNITS_IN_ALL_ORDERS:
            self.all = np.array(list(all_orders(range(units))))
        elif shared:
            drawn = self.generator.permuted(np.tile(np.arange(units), (wanted, 1)), axis=1)
            self.all = np.vstack([np.arange(units), drawn])
        else:
            self.all = np.empty((wanted + 1, 0), dtype=int)
        self.count = len(self.all)

    def of(self, units: np.ndarray) -> np.ndarray:
        """For every permutation the place, among `units`, of the unit whose value each of them takes.

        Parameters
        ----------
        units
            Numbers of the units that a group has.
        """
        if not self.shared:
            drawn = self.generator.permuted(np.tile(np.arange(len(units)), (self.count - 1, 1)), axis=1)
            return np.vstack([np.arange(len(units)), drawn])
        key = units.tobytes()
        if key not in self.known:
            place = np.full(self.all.shape[1], -1)
            place[units] = np.arange(len(units))
            taken = self.all[:, units]
            while (absent := place[taken] < 0).any():
                rows = np.nonzero(absent)[0]
                taken[absent] = self.all[rows, taken[absent]]
            self.known[key] = place[taken]
        return self.known[key]


def critical_size(permuted: np.ndarray, p_below: float) -> np.ndarray:
    """The size that a correlation has to exceed for a p-value below `p_below`; 1 where none can.

    Parameters
    ----------
    permuted
        As for `p_and_interval`.
    p_below
        Above 0 and below 1.

    Returns
    -------
    array
        By column.

    Examples
    --------
    >>> r = permuted_correlations("spearman", np.arange(4.0)[:, None], np.arange(4.0))
    >>> critical_size(r, 0.1).round(2).tolist(), critical_size(r, 0.05).tolist()
    ([0.8], [1.0])
    """
    # The order itself counts among the permutations, and is as large as itself.
    may_reach_it = ceil(p_below * len(permuted) - SAME) - 2
    if may_reach_it < 0:
        return np.ones(permuted.shape[1])
    return np.minimum(-np.sort(-np.abs(permuted[1:]), axis=0)[may_reach_it] + SAME, 1)


def p_and_interval(permuted: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p-values of no relation, and the correlations that the test would not reject.

    Parameters
    ----------
    permuted
        Correlations by permutation and column, the identity first.
    level
        Coverage, in (0, 1).

    Returns
    -------
    p, low, high
        By column. Errors are taken to be those of the permuted correlations on the scale of Fisher's z: zero is outside
        where p is below one less `level`.

    Examples
    --------
    >>> r = permuted_correlations("spearman", np.arange(5.0)[:, None] ** 2, np.arange(5.0))
    >>> [ends.round(2).tolist() for ends in p_and_interval(r, 0.95)]
    [[0.02], [1.0], [1.0]]
    """
    r = permuted[0]
    p = (np.abs(permuted) >= np.abs(r) - SAME).mean(axis=0)
    critical, centre = critical_size(permuted, 1 - level), np.arctanh(np.clip(r, -MOST, MOST))
    reach = np.arctanh(np.minimum(critical, MOST))
    low, high = np.tanh(centre - reach), np.tanh(centre + reach)
    possible = critical < 1
    return p, np.where(possible, np.minimum(low, r), -1), np.where(possible, np.maximum(high, r), 1)
