"""Whether algorithms, and their families, are recognised: tests, intervals and power with algorithms as the sample.

Networks of one algorithm are alike, so that the number of networks says nothing of how sure a score is. A name is
recognised from what one model (or dataset) shares with another, and a family from what one algorithm shares with
another; chance is therefore what other assignments of the names score.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import comb, factorial, nan, prod

import numpy as np
import pandas as pd
from scipy import optimize, stats

from .label_permutations import LabelOrders
from .significance import FALSE_DISCOVERY_RATE, FEWEST_ALGORITHMS

__all__ = [
    "accuracy_found",
    "family_accuracy_found",
    "family_predictions",
    "family_test",
    "mean_over_algorithms",
    "name_test",
    "recall_of_algorithms",
]

# Up to this many assignments of algorithms to families all are tried.
MOST_ASSIGNMENTS = 1000
POWER = 0.8
# What Benjamini and Hochberg ask of a test where half of the tests are clear.
LEVEL = FALSE_DISCOVERY_RATE / 2
SAME = 1e-9


def recall_of_algorithms(predictions: pd.DataFrame) -> pd.Series:
    """Share of the networks of every algorithm that are told rightly.

    Parameters
    ----------
    predictions
        Columns actual and predicted, and pruner where the labels are not the algorithms.

    Returns
    -------
    Series
        By algorithm.

    Examples
    --------
    >>> recall_of_algorithms(pd.DataFrame({"actual": list("aab"), "predicted": list("abb")})).to_dict()
    {'a': 0.5, 'b': 1.0}
    """
    right = predictions["actual"] == predictions["predicted"]
    return right.groupby(predictions["pruner" if "pruner" in predictions.columns else "actual"]).mean()


def mean_over_algorithms(
    values: pd.Series, families: Mapping[str, str] | None = None, *, level: float = 0.95
) -> dict[str, float]:
    """Mean over algorithms with its t-interval; with families the mean of their means, each family weighing the same.

    Parameters
    ----------
    values
        One value an algorithm.
    families
        Algorithm -> family; None for no families.
    level
        Coverage of the interval.

    Returns
    -------
    dict
        mean, low, high and p (two-sided, of a mean of zero); without interval where there are fewer than four
        algorithms, or a family has one, or all values are the same.

    Notes
    -----
    Families are independent samples of algorithms, so their variances s^2/n add up, with the degrees of freedom of
    Welch and Satterthwaite.

    Examples
    --------
    >>> score = mean_over_algorithms(pd.Series({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}))
    >>> [round(score[name], 3) for name in ("mean", "low", "high", "p")]
    [0.25, 0.045, 0.455, 0.03]
    """
    values = values.dropna()
    family = np.array([families[name] if families else "" for name in values.index])
    samples = [values.to_numpy()[family == name] for name in np.unique(family)]
    mean = float(np.mean([sample.mean() for sample in samples])) if samples else nan
    if not samples or min(map(len, samples)) < 2 or len(values) < FEWEST_ALGORITHMS:
        return {"mean": mean, "low": nan, "high": nan, "p": nan}
    share = np.array([sample.var(ddof=1) / len(sample) for sample in samples]) / len(samples) ** 2
    variance = share.sum()
    if not variance > 0:
        return {"mean": mean, "low": nan, "high": nan, "p": nan}
    freedom = variance**2 / (share**2 / [len(sample) - 1 for sample in samples]).sum()
    half = stats.t.ppf(0.5 + level / 2, freedom) * np.sqrt(variance)
    p = 2 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom)
    return {"mean": mean, "low": mean - float(half), "high": mean + float(half), "p": float(p)}


def name_test(predictions: pd.DataFrame, *, permutations: int = 999, seed: int = 0) -> float:
    """p-value of telling the names of algorithms in most of the held-out groups, where names are exchangeable in each.

    Parameters
    ----------
    predictions
        What `topo.stats.classification.classify_held_out` returned for algorithms.
    permutations
        Random permutations where a group holds more than seven algorithms; else all are taken.
    seed
        Seeds the permutations.

    Returns
    -------
    float
        The p-value.

    Notes
    -----
    In each held-out group (a fold) the names of its algorithms are permuted, all networks of one together, while the
    predictions, which saw none of its names, stay. That p-value is exact for every fold. Folds share training rows and
    depend on each other, so the k-th smallest p-value of n times n / k is taken, k being just more than half: valid
    under any dependence (Rueger, *Das maximale Signifikanzniveau*, Metrika 25, 1978).

    Examples
    --------
    >>> names = list("abcde") * 4
    >>> table = pd.DataFrame({"fold": [0] * 10 + [1] * 10, "actual": names, "predicted": names})
    >>> round(name_test(table), 4)
    0.0083
    """
    values = []
    folds, actual, predicted = (predictions[c].to_numpy() for c in ("fold", "actual", "predicted"))
    for fold in np.unique(folds):
        here = folds == fold
        names, row = np.unique(actual[here].astype(str), return_inverse=True)
        shares = (predicted[here].astype(str)[:, None] == names).astype(float)
        shares = (np.eye(len(names))[row].T @ shares) / np.bincount(row)[:, None]
        score = np.take_along_axis(
            shares, LabelOrders(len(shares), permutations, seed, shared=True).all.T, axis=1
        ).mean(axis=0)
        values.append(float((score >= score[0] - SAME).mean()))
    k = len(values) // 2 + 1
    return min(1.0, sorted(values)[k - 1] * len(values) / k)


def family_predictions(shares: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """The family whose algorithms every network resembles most, each network's own algorithm being held out.

    Parameters
    ----------
    shares
        What `topo.stats.classification.label_shares` returned for algorithms, algorithms being held out.
    families
        Algorithm -> family.

    Returns
    -------
    DataFrame
        On the index of `shares`: pruner, actual, predicted (families).

    Examples
    --------
    >>> shares = pd.DataFrame({"fold": 0, "group": ["a"], "actual": ["a"], "a": [np.nan], "b": [0.3], "c": [0.7]})
    >>> family_predictions(shares, {"a": "early", "b": "early", "c": "late"})["predicted"].tolist()
    ['late']
    """
    names = [c for c in shares.columns if c not in ("fold", "group", "actual")]
    of_family = shares[names].T.groupby([families[n] for n in names]).mean().T
    predicted = of_family.fillna(-1).idxmax(axis=1)
    return pd.DataFrame({"pruner": shares["actual"], "actual": shares["actual"].map(families), "predicted": predicted})


def family_test(
    shares: pd.DataFrame, families: Mapping[str, str], *, permutations: int = 999, seed: int = 0
) -> tuple[float, float]:
    """p-value of telling the family of algorithms that were never seen, where algorithms are exchangeable.

    Parameters
    ----------
    shares
        As for `family_predictions`.
    families
        Algorithm -> family.
    permutations
        Random assignments where there are more than a thousand; else all are taken.
    seed
        Seeds the assignments.

    Returns
    -------
    p : float
        Share of the assignments of algorithms to families, of equal sizes, whose score is as high.
    needed : float
        Balanced accuracy that all but a share `LEVEL` of the assignments do not exceed.

    Notes
    -----
    The forests know algorithms, not families, so another assignment asks for no other forest, and the test is exact.

    Examples
    --------
    >>> names = list("abcdef")
    >>> near = pd.DataFrame([[float(i // 3 == j // 3) for j in range(6)] for i in range(6)], columns=names)
    >>> near = near.mask(np.eye(6, dtype=bool)).assign(fold=0, group=names, actual=names)
    >>> p, _ = family_test(near, {n: "early" if n in "abc" else "late" for n in names})
    >>> p
    0.1
    """
    names = [c for c in shares.columns if c not in ("fold", "group", "actual")]
    kinds, kind = np.unique([families[n] for n in names], return_inverse=True)
    own = pd.Index(names).get_indexer(shares["actual"])
    values = shares[names].to_numpy(float)
    known, filled = np.isfinite(values).astype(float), np.nan_to_num(values)
    count = np.maximum(np.bincount(own, minlength=len(names)), 1)
    size = np.bincount(kind)
    scores = []
    for assigned in _assignments(kind, permutations, seed):
        member = np.eye(len(kinds))[assigned]
        of_training = known @ member
        mean = np.divide(filled @ member, of_training, out=np.full(of_training.shape, -1.0), where=of_training > 0)
        recall = np.bincount(own, mean.argmax(axis=1) == assigned[own], len(names)) / count
        scores.append((np.bincount(assigned, recall, len(kinds)) / size).mean())
    return float((np.array(scores) >= scores[0] - SAME).mean()), float(np.quantile(scores, 1 - LEVEL, method="higher"))


def _assignments(kind: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """Assignments of algorithms to families of the same sizes, the true one first: all where they are few."""
    number = factorial(len(kind)) // prod(factorial(size) for size in np.bincount(kind))
    if number > MOST_ASSIGNMENTS:
        drawn = np.random.default_rng(seed).permuted(np.tile(kind, (wanted, 1)), axis=1)
        return np.vstack([kind, drawn])
    rows = np.zeros((1, 0), dtype=int)
    for _ in kind:
        rows = np.vstack([np.column_stack([rows, np.full(len(rows), k)]) for k in np.unique(kind)])
        left = np.stack([(rows == k).sum(axis=1) <= (kind == k).sum() for k in np.unique(kind)])
        rows = rows[left.all(axis=0)]
    return np.vstack([kind, rows[(rows != kind).any(axis=1)]])


def accuracy_found(kinds: int, folds: int, *, power: float = POWER) -> float:
    """Balanced accuracy that `name_test` finds with a stated power or more, algorithms being told as wholes.

    Parameters
    ----------
    kinds
        Number of algorithms.
    folds
        Number of held-out groups.
    power
        How often it is found, at `LEVEL`.

    Returns
    -------
    float
        The accuracy; NaN where not even 1 is found so often.

    Notes
    -----
    By chance the number of names told rightly in a group is that of the fixed points of a random permutation. The
    smallest number is taken that is rare enough, and the accuracy at which most groups reach it. Where several
    algorithms are taken for one, fewer are needed.

    Examples
    --------
    >>> round(accuracy_found(8, 2), 2), round(accuracy_found(11, 5), 2), accuracy_found(3, 2)
    (0.65, 0.48, nan)
    """
    k = folds // 2 + 1
    fixed = np.array([comb(kinds, i) * _derangements(kinds - i) for i in range(kinds + 1)], dtype=float)
    beyond = np.cumsum((fixed / fixed.sum())[::-1])[::-1]
    enough = np.flatnonzero(beyond * folds / k <= LEVEL)
    if not len(enough):
        return nan

    def lack(accuracy: float) -> float:
        return float(stats.binom.sf(k - 1, folds, stats.binom.sf(enough[0] - 1, kinds, accuracy))) - power

    return float(optimize.brentq(lack, 0, 1))


def _derangements(n: int) -> int:
    values = [1, 0]
    for i in range(2, n + 1):
        values.append((i - 1) * (values[-1] + values[-2]))
    return values[n]


def family_accuracy_found(sizes: list[int], needed: float, *, power: float = POWER) -> float:
    """Balanced accuracy that `family_test` finds with a stated power, algorithms being told in all networks or none.

    Parameters
    ----------
    sizes
        Number of algorithms of every family.
    needed
        What `family_test` returned.
    power
        How often it is found, at `LEVEL`.

    Returns
    -------
    float
        The accuracy; NaN where not even 1 is found so often.

    Examples
    --------
    >>> round(family_accuracy_found([7, 4], 0.75), 2)
    0.86
    """
    told = list(product(*(range(size + 1) for size in sizes)))
    enough = np.array([np.mean(np.divide(t, sizes)) > needed + SAME for t in told])
    if not enough.any():
        return nan

    def lack(accuracy: float) -> float:
        chances = [np.prod(stats.binom.pmf(t, sizes, accuracy)) for t in np.array(told)[enough]]
        return float(np.sum(chances)) - power

    return float(optimize.brentq(lack, 0, 1))
