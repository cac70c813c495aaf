"""Question 1: which metrics move with accuracy, by family, sparsity and architecture?"""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from ..plots.forest import forest_plot
from ..plots.pooled_heatmap import pooled_heatmap
from ..results.evidence import Evidence
from ..results.labels import percent
from ..results.schema import ALL_FAMILIES, GROUPS
from ..stats.collinearity import REPEATS, repeated_metrics
from ..stats.correlation import grouped_correlation
from ..stats.permutation import permutation_correlation
from ..stats.power import Detectable, detectable_correlation, p_to_be_found
from ..stats.significance import FEWEST_ALGORITHMS, cluster_column, significant, with_q_values
from . import correlations_in_words as words
from .answer import Answer
from .grouping import resample_count, scopes, varying_metrics
from .registry import QUESTIONS

__all__ = ["metrics_and_accuracy"]

TITLE = "Metrics and accuracy"
QUESTION = "Which metrics of a sparse network's graph move with its accuracy, by family, sparsity and architecture?"
GROUPINGS = {"architecture": "model", "sparsity": "sparsity", "dataset": "dataset"}


@QUESTIONS.register("metrics_and_accuracy", number=1)
def metrics_and_accuracy(evidence: Evidence, *, seed: int = 0, n_boot: int = 1000, min_rows: int = 5) -> Answer:
    """Which metrics move with accuracy, by family, sparsity and architecture?

    Parameters
    ----------
    evidence
        Tables to ask.
    seed
        Seeds every random choice.
    n_boot
        Most bootstrap resamples of each interval; long tables take fewer.
    min_rows
        Fewest networks of a group (one dataset, architecture and sparsity) for a correlation.

    Returns
    -------
    Answer
        With its reason where there is none.
    """
    table = evidence.sparse
    if table.empty:
        return Answer.without(TITLE, QUESTION, "no sparse network has an accuracy.")
    every = varying_metrics(table, evidence.whole_network_metrics)
    if not every:
        reason = evidence.no_metric("no metric of the whole network varies at any one sparsity")
        return Answer.without(TITLE, QUESTION, reason)
    repeats = repeated_metrics(table, every, by=GROUPS)
    metrics = [metric for metric in every if metric not in set(repeats["metric"])]
    each = _correlations(table, metrics, min_rows, resample_count(table, n_boot), seed)
    if each["r"].notna().sum() == 0:
        reason = f"no dataset, architecture and sparsity has {min_rows} networks whose accuracy and metrics differ."
        return Answer.without(TITLE, QUESTION, reason, tables={"correlations": each})
    pooled = _pooled(table, each, metrics, min_rows, seed)
    levels = [_levels(table, metrics, name, column, min_rows, seed) for name, column in GROUPINGS.items()]
    # The figure shows one scope.
    by_grouping = with_q_values(pd.concat(levels, ignore_index=True), within=["scope"])
    flips = _flips(by_grouping)
    shown = [s for s in scopes(table) if pooled.loc[pooled["scope"] == s, "r"].notna().any()]
    if not shown:
        reason = "no group has enough algorithms (or networks of one) to compare."
        return Answer.without(TITLE, QUESTION, reason, tables={"correlations": each})
    main = shown[0]
    found = _detectable(table, pooled, main, metrics, min_rows, seed)
    by_algorithm = cluster_column(table) is not None
    figures = {"metrics_and_accuracy": forest_plot(pooled[pooled["scope"].isin(shown)], shown)}
    titles = {"metrics_and_accuracy": words.figure_title(pooled, main)}
    several = _several_levels(by_grouping, main)
    if len(several):
        figures["metrics_by_grouping"] = _heatmap(several, main, metrics)
        titles["metrics_by_grouping"] = words.grouping_title(several, flips, main)
    summary, columns = words.page_table(pooled, repeats, shown)
    return Answer(
        TITLE,
        QUESTION,
        words.sentences(each, pooled, several, flips, shown),
        figures,
        {"pooled": pooled, "by_grouping": by_grouping, "sign_flips": flips, "repeats": repeats, "correlations": each},
        caption=_caption(by_algorithm, main),
        method=_method(by_algorithm, pooled, resample_count(table, n_boot)),
        caveats=(
            "Correlations within a group say nothing of what happens when sparsity, architecture or dataset change.",
            "A metric that moves with accuracy need not cause it: see the next question for size, density and weights.",
            "Over all families the recipes of training differ along with the topology.",
        ),
        verdict=words.verdict(pooled, main, found) if by_algorithm else words.too_few_algorithms(),
        titles=titles,
        summary=summary,
        columns=columns,
    )


def _correlations(table: pd.DataFrame, metrics: list[str], min_rows: int, n_boot: int, seed: int) -> pd.DataFrame:
    """Every scope, group and metric: Spearman with interval, p and q; Pearson and Kendall beside it."""
    cluster = cluster_column(table)
    pieces = []
    for scope, part in scopes(table).items():
        correlate = partial(
            grouped_correlation, part, metrics, by=GROUPS, cluster=cluster, min_rows=min_rows, seed=seed
        )
        correlations = correlate(n_boot=n_boot)
        for kind in ("pearson", "kendall"):
            correlations[kind] = correlate(kind=kind, n_boot=0)["r"]
        pieces.append(correlations.assign(scope=scope))
    each = with_q_values(pd.concat(pieces, ignore_index=True))
    first = ["scope", *GROUPS, "metric", "n", "clusters", "r", "low", "high", "p", "q", "pearson", "kendall", "reason"]
    return each[first]


def _over_groups(
    table: pd.DataFrame, part: pd.DataFrame, metrics: list[str], min_rows: int, seed: int, level: float | None = 0.95
) -> pd.DataFrame:
    """Means over the groups of a part of the table, tested with the algorithms or, without them, networks as units."""
    unit = cluster_column(table)
    fewest = FEWEST_ALGORITHMS if unit else min_rows
    return permutation_correlation(part, metrics, unit=unit, min_units=fewest, level=level, seed=seed)


def _detectable(
    table: pd.DataFrame, pooled: pd.DataFrame, scope: str, metrics: list[str], min_rows: int, seed: int
) -> Detectable:
    """What one more metric of a scope would have had to be to be clear in the table of the figure."""
    unit = cluster_column(table)
    fewest = FEWEST_ALGORITHMS if unit else min_rows
    return detectable_correlation(
        scopes(table)[scope], metrics, p_below=p_to_be_found(pooled), unit=unit, min_units=fewest, seed=seed
    )


def _pooled(table: pd.DataFrame, each: pd.DataFrame, metrics: list[str], min_rows: int, seed: int) -> pd.DataFrame:
    """Every scope and metric over all groups."""
    pieces = [
        _over_groups(table, part, metrics, min_rows, seed).assign(scope=scope) for scope, part in scopes(table).items()
    ]
    pooled = with_q_values(pd.concat(pieces, ignore_index=True))
    clear = each.assign(clear=significant(each)).groupby(["scope", "metric"], sort=False)["clear"].sum()
    pooled["clear_groups"] = clear.reindex(pd.MultiIndex.from_frame(pooled[["scope", "metric"]])).to_numpy()
    first = ["scope", "metric", "k", "units", "r", "low", "high", "p", "q"]
    return pooled[[*first, *[c for c in pooled.columns if c not in first]]]


def _levels(
    table: pd.DataFrame, metrics: list[str], grouping: str, column: str, min_rows: int, seed: int
) -> pd.DataFrame:
    """Over the groups of every level of one column."""
    pieces = []
    for scope, part in scopes(table).items():
        for level, rows in part.groupby(column, sort=True, observed=True):
            name = percent(level) if column == "sparsity" else str(level)
            over = _over_groups(table, rows, metrics, min_rows, seed, level=None)
            pieces.append(over.assign(scope=scope, grouping=grouping, level=name))
    columns = ["scope", "grouping", "level", "metric", "k", "units", "r", "p"]
    return pd.concat(pieces, ignore_index=True)[columns]


def _flips(by_grouping: pd.DataFrame) -> pd.DataFrame:
    """Metrics whose mean correlation is clearly positive at one level and clearly negative at another."""
    rows = []
    for (scope, grouping, metric), part in by_grouping.groupby(["scope", "grouping", "metric"], sort=False):
        clear = part[significant(part)]
        positive, negative = clear[clear["r"] > 0], clear[clear["r"] < 0]
        if len(positive) and len(negative):
            highest, lowest = positive.loc[positive["r"].idxmax()], negative.loc[negative["r"].idxmin()]
            rows.append([scope, grouping, metric, highest["level"], highest["r"], lowest["level"], lowest["r"]])
    columns = ["scope", "grouping", "metric", "positive_in", "positive_r", "negative_in", "negative_r"]
    return pd.DataFrame(rows, columns=columns)


def _several_levels(by_grouping: pd.DataFrame, scope: str) -> pd.DataFrame:
    """The groupings of a scope that have several levels; one level repeats the numbers over all groups."""
    known = by_grouping[(by_grouping["scope"] == scope) & by_grouping["r"].notna()]
    levels = known[["grouping", "level"]].drop_duplicates()["grouping"].value_counts()
    of_scope = by_grouping[by_grouping["scope"] == scope]
    return of_scope[of_scope["grouping"].isin(levels.index[levels > 1])]


def _heatmap(several: pd.DataFrame, scope: str, metrics: list[str]) -> Figure:
    title = f"ρ with accuracy, {words.among(scope)}" if scope != ALL_FAMILIES else "ρ with accuracy, all families"
    return pooled_heatmap(dict(list(several.groupby("grouping", sort=False))), metrics, title=title)


def _caption(by_algorithm: bool, main: str) -> str:
    points = "the algorithms" if by_algorithm else "the networks"
    return (
        f"Each dot is Spearman's rank correlation of a metric with test accuracy across {points} of a group (one "
        "dataset, architecture and sparsity), the mean over groups; the line is its 95% interval. Dots right of 0: "
        "more of it goes with more accuracy. Metrics that repeat another are not drawn. Where there are several "
        "architectures, sparsities or datasets, a second figure has the same numbers for each of them, of "
        f"{words.among(main)}."
    )


def _method(by_algorithm: bool, pooled: pd.DataFrame, resamples: int) -> str:
    compared = ", ".join(f"{count:,}" for count in sorted(set(pooled.loc[pooled["r"].notna(), "permutations"])))
    over = (
        "Mean over groups of Spearman's correlation, each algorithm one point, the mean of its networks in the group. "
        "The same algorithms are in every group, so their labels are permuted once for all groups "
        f"({compared} permutations; all there are of up to seven algorithms), and the interval holds the means that "
        "this test would not reject."
        if by_algorithm
        else "Mean over groups of Spearman's correlation of networks; p-values from random permutations of the "
        "networks within groups; the interval holds the means that this test would not reject."
    )
    return (
        f"{over} Benjamini-Hochberg over all tests of a figure's table. A metric whose median rank correlation with an "
        f"earlier one within groups is at least {REPEATS:g} in size repeats it and is not tested again. The "
        "correlation that would have been found: the one needed for such a p-value among those of the permuted "
        "accuracy, and as much more as makes it likely by 80%. The table of single groups has Spearman, Pearson and "
        "Kendall correlations of "
        + (
            "algorithms, tested by permuting their labels in each group."
            if by_algorithm
            else f"networks, with percentile intervals from {resamples} bootstrap resamples of networks."
        )
    )
