"""Question 1: which metrics move with accuracy, by family, sparsity and architecture?"""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from ..plots.forest import forest_plot
from ..plots.pooled_heatmap import pooled_heatmap
from ..results.evidence import Evidence
from ..results.labels import percent
from ..results.schema import ALL_FAMILIES, GROUPS, metric_label
from ..stats.correlation import grouped_correlation
from ..stats.permutation import permutation_correlation
from ..stats.significance import FEWEST_ALGORITHMS, cluster_column, significant, with_q_values
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
    metrics = varying_metrics(table, evidence.whole_network_metrics)
    if not metrics:
        return Answer.without(TITLE, QUESTION, "no metric of the whole network varies at any one sparsity.")
    each = _correlations(table, metrics, min_rows, resample_count(table, n_boot), seed)
    if each["r"].notna().sum() == 0:
        reason = f"no dataset, architecture and sparsity has {min_rows} networks whose accuracy and metrics differ."
        return Answer.without(TITLE, QUESTION, reason, tables={"correlations": each})
    pooled = _pooled(table, each, metrics, min_rows, seed)
    levels = [_levels(table, metrics, name, column, min_rows, seed) for name, column in GROUPINGS.items()]
    by_grouping = with_q_values(pd.concat(levels, ignore_index=True))
    flips = _flips(by_grouping)
    shown = [s for s in scopes(table) if pooled.loc[pooled["scope"] == s, "r"].notna().any()]
    if not shown:
        reason = "no group has enough algorithms (or networks of one) to compare."
        return Answer.without(TITLE, QUESTION, reason, tables={"correlations": each})
    main = shown[0]
    count = resample_count(table, n_boot)
    by_algorithm = cluster_column(table) is not None
    points = "the algorithms" if by_algorithm else "the networks"
    return Answer(
        TITLE,
        QUESTION,
        _sentences(each, pooled, flips, main, shown),
        {
            "metrics_and_accuracy": forest_plot(pooled[pooled["scope"].isin(shown)], shown),
            "metrics_by_grouping": _heatmap(by_grouping, main, metrics),
        },
        {"pooled": pooled, "by_grouping": by_grouping, "sign_flips": flips, "correlations": each},
        caption=(
            f"Each dot is Spearman's rank correlation of a metric with test accuracy across {points} of a group (one "
            "dataset, architecture and sparsity), the mean over groups; the line is its 95% interval. Dots right of 0: "
            "more of it goes with more accuracy. In the second figure the same numbers stand for every architecture, "
            f"sparsity and dataset, of {main} pruners."
        ),
        method=(
            _method(by_algorithm, pooled)
            + " Benjamini-Hochberg over all tests of a table. The table of single groups has Spearman, Pearson and "
            f"Kendall correlations of networks, with percentile intervals from {count} bootstrap resamples "
            + ("of algorithms with all their seeds." if by_algorithm else "of networks.")
        ),
        caveats=(
            "Correlations within a group say nothing of what happens when sparsity, architecture or dataset change.",
            "A metric that moves with accuracy need not cause it: see the next question for size, density and weights.",
            "Over all families the recipes of training differ along with the topology.",
        ),
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


def _over_groups(table: pd.DataFrame, part: pd.DataFrame, metrics: list[str], min_rows: int, seed: int) -> pd.DataFrame:
    """Means over the groups of a part of the table, tested with the algorithms or, without them, networks as units."""
    unit = cluster_column(table)
    fewest = FEWEST_ALGORITHMS if unit else min_rows
    return permutation_correlation(part, metrics, unit=unit, min_units=fewest, seed=seed)


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
            over = _over_groups(table, rows, metrics, min_rows, seed)
            pieces.append(over.assign(scope=scope, grouping=grouping, level=name))
    columns = ["scope", "grouping", "level", "metric", "k", "units", "r", "low", "high", "p"]
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


def _method(by_algorithm: bool, pooled: pd.DataFrame) -> str:
    if not by_algorithm:
        return (
            "Mean over groups of Spearman's correlation of networks; p-values from random permutations of the networks "
            "within groups; jackknife interval over groups."
        )
    compared = ", ".join(f"{count:,}" for count in sorted(set(pooled.loc[pooled["r"].notna(), "permutations"])))
    return (
        "Mean over groups of Spearman's correlation, each algorithm one point, the mean of its networks in the group. "
        "The same algorithms are in every group, so their labels are permuted once for all groups "
        f"({compared} permutations; all there are of up to seven algorithms), and the interval is a jackknife over "
        "algorithms with Student's t."
    )


def _heatmap(by_grouping: pd.DataFrame, scope: str, metrics: list[str]) -> Figure:
    of_scope = by_grouping[by_grouping["scope"] == scope]
    blocks = dict(list(of_scope.groupby("grouping", sort=False)))
    # A block with a single level repeats the pooled numbers.
    blocks = {name: part for name, part in blocks.items() if len(part["level"].unique()) > 1} or blocks
    title = f"ρ with accuracy, {scope} pruners" if scope != ALL_FAMILIES else "ρ with accuracy, all families"
    return pooled_heatmap(blocks, metrics, title=title)


def _sentences(
    each: pd.DataFrame, pooled: pd.DataFrame, flips: pd.DataFrame, main: str, shown: list[str]
) -> tuple[str, str, str]:
    of_main = pooled[(pooled["scope"] == main) & pooled["r"].notna()]
    clear = of_main[significant(of_main)]
    among = clear if len(clear) else of_main
    best = among.loc[among["r"].abs().idxmax()]
    groups = int(best["k"])
    what = f"mean ρ {best['r']:+.2f}"
    if best["low"] == best["low"]:
        what += f", 95% interval {best['low']:+.2f} to {best['high']:+.2f}"
    what += f", p {_p(best['p'])}, {groups} group{'s' * (groups != 1)}"
    if len(clear):
        first = (
            f"Among {main} pruners {metric_label(best['metric'])} moves most with accuracy ({what}); {len(clear)} of "
            f"{len(of_main)} metrics {'does' if len(clear) == 1 else 'do'} so clearly, at a false-discovery rate of 5%."
        )
    else:
        first = (
            f"Among {main} pruners no metric of {len(of_main)} clearly moves with accuracy at a false-discovery rate "
            f"of 5%; the largest correlation is that of {metric_label(best['metric'])} ({what})."
        )
    if len(shown) > 1:
        other = pooled[(pooled["scope"] == shown[-1])].set_index("metric")["r"]
        both = of_main.set_index("metric")["r"].to_frame("one").join(other.rename("other")).dropna()
        gap = (both["one"] - both["other"]).abs().idxmax() if len(both) else best["metric"]
        row = both.loc[gap]
        turned = int((both["one"] * both["other"] < 0).sum())
        numbers = (
            f"{metric_label(gap)}, ρ {row['one']:+.2f} within {main} pruners and {row['other']:+.2f} over {shown[-1]}"
        )
        changed = (
            f"of {len(both)} metrics {turned} change{'s' * (turned == 1)} sign" if turned else "no metric changes sign"
        )
        second = f"The mean correlation differs most for {numbers}; {changed}."
    else:
        known = each[each["r"].notna()]
        second = (
            f"Only {main} pruners can be compared here; single groups clear the 5% false-discovery rate in "
            f"{int(significant(known).sum())} of {len(known)} tests."
        )
    flips_of_main = flips[flips["scope"] == main]
    parts = []
    for grouping in ("architecture", "sparsity"):
        flipped = flips_of_main[flips_of_main["grouping"] == grouping]
        if len(flipped):
            row = flipped.iloc[(flipped["positive_r"] - flipped["negative_r"]).to_numpy().argmax()]
            most = f"{metric_label(row['metric'])}: {row['positive_r']:+.2f} at {row['positive_in']}"
            most += f", {row['negative_r']:+.2f} at {row['negative_in']}"
            parts.append(f"with {grouping} for {len(flipped)} metric{'s' * (len(flipped) != 1)} (most for {most})")
    third = (
        f"Within {main} pruners the sign flips {' and '.join(parts)}, both clearly."
        if parts
        else f"Within {main} pruners no metric has clearly opposite signs in two architectures or at two sparsities."
    )
    return _plain(first), _plain(second), _plain(third)


def _p(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value >= 0.001 else "below .001"


def _plain(text: str) -> str:
    """A sentence without a sign before zero."""
    return text.replace("+-", "-").replace("-0.00", "0.00")
