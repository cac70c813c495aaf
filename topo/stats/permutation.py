"""Correlation over groups that hold the same algorithms, tested by permuting the algorithms' labels.

The same algorithms recur in every dataset, model and sparsity, and what is good in one group tends to be good in the
next. Groups are therefore no independent evidence, and tests that pool them as if they were find effects in noise. Here
the algorithm is the unit: all its networks of a group are one point, and a permutation changes the labels of all groups
alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import InputError, unknown_name
from .columns import group_columns, listed_columns, require_columns
from .label_permutations import SAME, LabelOrders, critical_size, p_and_interval
from .residuals import DETERMINED, basis_of, residuals_of, scores_of
from .significance import FEWEST_ALGORITHMS

__all__ = ["PermutedMeans", "permutation_correlation", "permuted_means"]


@dataclass(frozen=True)
class _Group:
    """The units of one group: their numbers, and one value a unit of the columns, the target and the covariates."""

    units: np.ndarray
    columns: np.ndarray
    target: np.ndarray
    given: np.ndarray


def permutation_correlation(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    unit: str | None = "pruner",
    given: Sequence[str] = (),
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] | None = None,
    min_units: int = FEWEST_ALGORITHMS,
    permutations: int = 5000,
    level: float | None = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean over groups of the correlation of every metric with `target` across units, and its p-value by permutation.

    Parameters
    ----------
    table
        One row a network.
    metrics
        Numeric columns.
    unit
        Column whose values are the units of evidence, the same ones in every group: each is one point of a group, the
        mean of its rows there, and one permutation of the labels holds for all groups. None: every row is a unit of
        its own, and each group is permuted by itself.
    given
        Covariates that metric and target are regressed on first, on ranks for ``"spearman"``.
    kind
        ``"spearman"`` or ``"pearson"``.
    target
        Column that metrics are correlated with.
    by
        Columns that form the groups: unless given dataset, model and sparsity, of which a table may lack the first two;
        an empty list means one group.
    min_units
        Fewest units of a group; covariates ask for three more than there are of them.
    permutations
        Random permutations where there are more than seven units; else all are taken, and the p-value is exact.
    level
        Coverage of the interval, None for none.
    seed
        Seeds the permutations.

    Returns
    -------
    DataFrame
        One row a metric: metric, k (groups), units, r (mean over groups), low, high, p (two-sided, of no relation
        between unit and accuracy), permutations (how many were compared with), reason (why r is missing).

    Raises
    ------
    InputError
        A column is missing, or a setting is not one of the above.

    Notes
    -----
    A unit that a group lacks is skipped in the cycles of the permutation: its successor takes its place. With
    covariates the residuals of the target are permuted and freed of the covariates again (Freedman & Lane, *A
    nonstochastic interpretation of reported significance levels*, J. Bus. Econ. Stat. 1, 1983). Ranks of covariates
    do not explain all that the covariates do: where these do everything, ``"spearman"`` errs somewhat more often than
    it says, ``"pearson"`` does not where all is linear. The interval holds the correlations that the test would not
    reject (`p_and_interval`).

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> permutation_correlation(table, ["edges"])[["k", "units"]].values.tolist()
    [[3, 8]]
    """
    if level is not None and not 0 < level < 1:
        raise InputError(f"level must be None or lie in (0, 1); got {level}.")
    listed_columns(metrics=metrics, given=given)
    metrics, given = list(metrics), list(given)
    permuted = permuted_means(
        table, metrics, unit=unit, given=given, kind=kind, target=target, by=by, min_units=min_units,
        permutations=permutations, seed=seed,
    )  # fmt: skip
    r, defined, fewest = permuted.means[0], permuted.groups_of, permuted.fewest
    known = defined > 0
    p, low, high = np.full((3, len(metrics)), np.nan)
    p[known], low[known], high[known] = p_and_interval(permuted.means[:, known], level or 0.95)
    few = f"no group has {fewest} units with all values that differ"
    why = ["the covariates determine the metric" if metric in given else few for metric in metrics]
    return pd.DataFrame(
        {
            "metric": metrics,
            "k": defined,
            "units": permuted.units,
            "r": r,
            "low": low if level else np.nan,
            "high": high if level else np.nan,
            "p": p,
            "permutations": len(permuted.means),
            "reason": np.where(known, "", why),
        }
    )


@dataclass(frozen=True)
class PermutedMeans:
    """Means over groups of the correlations of metrics, as they are and with the labels of units permuted.

    Attributes
    ----------
    means
        Shape (permutations, metrics), the identity first; NaN for metrics that no group can correlate.
    observed
        Shape (groups, metrics), without a permutation; NaN where undefined.
    groups_of
        Groups with a correlation, by metric.
    units
        Number of units.
    fewest
        Units that a group has to have.
    """

    means: np.ndarray
    observed: np.ndarray
    groups_of: np.ndarray
    units: int
    fewest: int

    def critical(self, p_below: float) -> np.ndarray:
        """The size that a mean has to exceed for a p-value below `p_below`; 1 where none can.

        Parameters
        ----------
        p_below
            Above 0 and below 1.

        Returns
        -------
        array of shape (metrics,)
        """
        return np.where(self.groups_of > 0, critical_size(self.means, p_below), np.nan)


def permuted_means(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    unit: str | None = "pruner",
    given: Sequence[str] = (),
    kind: str = "spearman",
    target: str = "accuracy",
    by: Sequence[str] | None = None,
    min_units: int = FEWEST_ALGORITHMS,
    permutations: int = 5000,
    seed: int = 0,
) -> PermutedMeans:
    """Mean over groups of the correlation of every metric with the target, for every permutation of the units.

    Parameters
    ----------
    table, metrics, unit, given, kind, target, by, min_units, permutations, seed
        As for `permutation_correlation`.

    Returns
    -------
    PermutedMeans
        The distribution that p-values and the power of the test are read from.

    Raises
    ------
    InputError
        As of `permutation_correlation`.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("family == 'initial'")
    >>> permuted_means(table, ["edges"]).means.shape
    (720, 1)
    """
    listed_columns(metrics=metrics, given=given)
    by, metrics, given = group_columns(table, by), list(metrics), list(given)
    require_columns(table, [target, *by, *metrics, *given, *([unit] if unit else [])])
    if kind not in ("spearman", "pearson"):
        raise unknown_name("permutation correlation", kind, ("spearman", "pearson"))
    if min_units < 3 or permutations < 1:
        raise InputError("min_units must be at least 3 and permutations at least 1.")
    fewest = max(min_units, len(given) + 3 if given else 0)
    groups, count = _groups(table, metrics, unit, given, target, by)
    orders = LabelOrders(count, permutations, seed, shared=unit is not None)
    total, defined = np.zeros((orders.count, len(metrics))), np.zeros(len(metrics), dtype=int)
    observed = np.full((len(groups), len(metrics)), np.nan)
    # Without covariates a permutation's sum over groups needs the sums of products of any two units alone.
    products: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for place, group in enumerate(groups):
        for chosen, units, x, y, basis in _standardised(group, kind, fewest):
            observed[place, chosen] = y @ x
            defined[chosen] += 1
            if given or unit is None:
                total[:, chosen] += _correlations(x, y[orders.of(units)], basis)
                continue
            if units.tobytes() not in products:
                products[units.tobytes()] = units, np.zeros((len(metrics), len(units), len(units)))
            products[units.tobytes()][1][chosen] += x.T[:, :, None] * y
    for units, sums in products.values():
        own, taken = np.arange(len(units)), orders.of(units)
        for i, of_metric in enumerate(sums):
            if of_metric.any():
                total[:, i] += of_metric[own, taken].sum(axis=1)
    means = np.divide(total, defined, out=np.full(total.shape, np.nan), where=defined > 0)
    return PermutedMeans(means, observed, defined, count, fewest)


def _groups(
    table: pd.DataFrame, metrics: list[str], unit: str | None, given: list[str], target: str, by: list[str]
) -> tuple[list[_Group], int]:
    """One value a unit and group, and the number of units."""
    columns = list(dict.fromkeys([target, *metrics, *given]))
    values = table[columns].astype(float).replace([np.inf, -np.inf], np.nan)
    keys = [table[name] for name in by]
    if unit is None:
        codes, count = np.arange(len(table)), len(table)
    else:
        codes, names = pd.factorize(table[unit], sort=True)
        count = len(names)
    values = values.groupby([*keys, pd.Series(codes, table.index, name="unit")], observed=True, sort=True).mean()
    places = values.index.get_level_values("unit").to_numpy()
    rows = values.groupby(level=list(range(len(by))), observed=True, sort=True).indices if by else {(): slice(None)}
    groups = []
    for at in rows.values():
        part = values.iloc[at]
        groups.append(
            _Group(places[at], part[metrics].to_numpy(), part[target].to_numpy(), part[given].to_numpy()),
        )
    return groups, count


def _standardised(
    group: _Group, kind: str, fewest: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Columns that the same units have: which, the units, residuals of columns and target, basis of the covariates."""
    rest = np.isfinite(group.target) & np.isfinite(group.given).all(axis=1)
    complete = np.isfinite(group.columns) & rest[:, None]
    patterns, pattern_of_column = np.unique(complete, axis=1, return_inverse=True)
    for i, rows in enumerate(patterns.T):
        if rows.sum() < fewest:
            continue
        chosen = np.flatnonzero(pattern_of_column.ravel() == i)
        basis = basis_of(scores_of(group.given[rows], kind))
        x = residuals_of(scores_of(group.columns[np.ix_(rows, chosen)], kind), basis)
        y = residuals_of(scores_of(group.target[rows, None], kind), basis)[:, 0]
        varies = (x**2).sum(axis=0) > DETERMINED
        if y @ y > DETERMINED and varies.any():
            x = x[:, varies]
            yield chosen[varies], group.units[rows], x / np.linalg.norm(x, axis=0), y / np.linalg.norm(y), basis


def _correlations(x: np.ndarray, permuted: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Partial correlation of columns with every permutation of the target, shape (permutations, columns)."""
    # Permuted residuals are no longer free of the covariates: what these explain anew must not count as spread.
    size = np.sqrt(np.maximum(1 - ((permuted @ basis) ** 2).sum(axis=1), 0))[:, None]
    return np.divide(permuted @ x, size, out=np.zeros((len(permuted), x.shape[1])), where=size > SAME)
