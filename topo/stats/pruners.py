"""Accuracy of pruners: means with intervals over seeds, ranks, and tests of claimed orderings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..errors import InputError
from ..results.schema import GROUPS, PAIR, REPEATS, tidy_results
from .columns import require_columns
from .means import mean_interval
from .significance import interval_sign

__all__ = ["accuracy_summary", "check_orderings", "pruner_means", "pruner_ranking"]

LEVEL = 0.95
VERDICTS = {1: "confirmed", -1: "contradicted", 0: "undecided"}


def accuracy_summary(table: pd.DataFrame, outcome: str = "accuracy") -> pd.DataFrame:
    """Mean accuracy over seeds with the lowest and the highest seed.

    Parameters
    ----------
    table
        A results table.
    outcome
        The column, such as ``"perplexity"`` in its place.

    Returns
    -------
    DataFrame
        One row per dataset, model, pruner and sparsity: mean, low, high, n (networks that have it).

    Raises
    ------
    InputError
        A column is missing.
    """
    require_columns(table, [*REPEATS, outcome])
    measured = table[table[outcome].notna()]
    groups = measured.groupby(list(REPEATS), sort=True, observed=True)[outcome]
    return groups.agg(mean="mean", low="min", high="max", n="size").reset_index()


def pruner_means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy of every pruner at every sparsity, with its 95% t-interval over seeds.

    Networks without an accuracy (failed, diverged) are left out and counted.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    DataFrame
        dataset, model, pruner, family, sparsity, n (networks), missing, mean, low, high (NaN with one seed), rank (1
        is best; ties share the mean of their ranks).

    Examples
    --------
    >>> from topo.results import example_results
    >>> pruner_means(example_results())[["pruner", "sparsity", "n"]].head(1).values.tolist()
    [['er', 0.8, 2]]
    """
    table = tidy_results(table)
    table = table[table["pruner"] != "dense"]
    keys = [*PAIR, "pruner", "family", "sparsity"]
    rows = []
    for key, group in table.groupby(keys, sort=True):
        accuracies = group["accuracy"].dropna()
        mean, low, high = mean_interval(accuracies, LEVEL)
        rows.append((*key, len(accuracies), len(group) - len(accuracies), mean, low, high))
    means = pd.DataFrame(rows, columns=[*keys, "n", "missing", "mean", "low", "high"])
    means["rank"] = means.groupby(list(GROUPS))["mean"].rank(ascending=False)
    return means


def pruner_ranking(table: pd.DataFrame) -> pd.DataFrame:
    """One row per pruner, best first by its mean rank over datasets, models and sparsities.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    DataFrame
        pruner, family, mean_rank, best_rank, worst_rank, mean_accuracy, groups (of one dataset, model and
        sparsity, in which it has an accuracy).
    """
    means = pruner_means(table)
    grouped = means.groupby(["pruner", "family"])
    ranking = grouped.agg(
        mean_rank=("rank", "mean"),
        best_rank=("rank", "min"),
        worst_rank=("rank", "max"),
        mean_accuracy=("mean", "mean"),
        groups=("mean", "count"),
    )
    return ranking.reset_index().sort_values("mean_rank", ignore_index=True)


def check_orderings(
    table: pd.DataFrame, claims: Iterable[tuple[str, str, Sequence[float] | None, str]]
) -> pd.DataFrame:
    """Whether one pruner is more accurate than another, for a list of claims.

    Networks of the same dataset, model, sparsity and seed are paired; the differences of a seed are averaged, and the
    95% t-interval of their mean is over seeds, which are what was drawn at random.

    Parameters
    ----------
    table
        Results table.
    claims
        (better, worse, sparsities or None for all, where it is claimed).

    Returns
    -------
    DataFrame
        better, worse, sparsities, source, seeds, difference (mean accuracy of the first less that of the second), low,
        high, verdict: ``"confirmed"`` or ``"contradicted"`` when the interval leaves out zero, else ``"undecided"``;
        ``"not measured"`` with fewer than two seeds that have both.

    Raises
    ------
    InputError
        Several rows are the same network.
    """
    table = tidy_results(table)
    table = table[table["accuracy"].notna()]
    known = set(table["pruner"])
    rows = []
    for better, worse, sparsities, source in claims:
        chosen = table if sparsities is None else table[table["sparsity"].isin(list(sparsities))]
        keys = [*GROUPS, "seed"]
        pair = [chosen[chosen["pruner"] == name].set_index(keys)["accuracy"] for name in (better, worse)]
        if any(series.index.has_duplicates for series in pair):
            raise InputError(f"the table has several rows of {better!r} or {worse!r} for one network; leave one.")
        difference = (pair[0] - pair[1]).dropna().groupby("seed").mean()
        mean, low, high = mean_interval(difference, LEVEL)
        if not {better, worse} <= known or len(difference) < 2:
            verdict = "not measured"
        else:
            verdict = VERDICTS[int(interval_sign(low, high))]
        where = "all" if sparsities is None else ", ".join(f"{s:g}" for s in sparsities)
        rows.append((better, worse, where, source, len(difference), mean, low, high, verdict))
    columns = ["better", "worse", "sparsities", "source", "seeds", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)
