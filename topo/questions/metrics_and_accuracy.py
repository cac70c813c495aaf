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
from ..stats.across_groups import mean_over_groups
from ..stats.correlation import grouped_correlation
from ..stats.pooling import pool_correlations
from ..stats.significance import cluster_column, interval_sign, significant, with_q_values
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
    pooled = _pooled(table, each, metrics, min_rows, resample_count(table, min(n_boot, 400)), seed)
    levels = [_levels(each, name, column) for name, column in GROUPINGS.items()]
    by_grouping = with_q_values(pd.concat(levels, ignore_index=True))
    flips = _flips(by_grouping)
    shown = [s for s in scopes(table) if pooled.loc[pooled["scope"] == s, "r"].notna().any()]
    if not shown:
        reason = "no group has enough algorithms (or networks of one) for a pooled correlation."
        return Answer.without(TITLE, QUESTION, reason, tables={"correlations": each})
    main = shown[0]
    count = resample_count(table, n_boot)
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
            "Each dot is Spearman's rank correlation inside groups (one dataset, architecture and sparsity) of "
            "a metric with test accuracy, pooled by a random-effects meta-analysis; the line is its 95% interval. Dots "
            "right of 0: more of it goes with more accuracy. In the second figure the same numbers stand "
            f"for every architecture, sparsity and dataset, of {main} pruners."
        ),
        method=(
            "Spearman, Pearson and Kendall correlations inside every dataset, architecture and sparsity; percentile "
            f"intervals from {count} bootstrap resamples "
            + ("of algorithms with all their seeds" if cluster_column(table) else "of networks")
            + "; p-values take algorithms, not seeds, for the sample where there are several. Fisher's z pooled with "
            "Paule-Mandel's variance between groups and Hartung-Knapp's interval, as wide as groups differ; "
            "Benjamini-Hochberg over all tests of a table. The columns algorithms_low and algorithms_high "
            "are of the mean over groups with the algorithms resampled once for all groups, since these are the same "
            "everywhere."
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


def _pooled(
    table: pd.DataFrame, each: pd.DataFrame, metrics: list[str], min_rows: int, n_boot: int, seed: int
) -> pd.DataFrame:
    """Every scope and metric over all groups: the meta-analysis, and the mean with algorithms resampled."""
    pooled = with_q_values(pool_correlations(each, by=["scope"]))
    clear = each.assign(clear=significant(each)).groupby(["scope", "metric"], sort=False)["clear"].sum()
    pooled["clear_groups"] = clear.reindex(pd.MultiIndex.from_frame(pooled[["scope", "metric"]])).to_numpy()
    pieces = []
    for scope, part in scopes(table).items():
        over = mean_over_groups(part, metrics, by=GROUPS, n_boot=n_boot, min_rows=min_rows, seed=seed)
        pieces.append(over.assign(scope=scope)[["scope", "metric", "clusters", "low", "high"]])
    names = {"clusters": "algorithms", "low": "algorithms_low", "high": "algorithms_high"}
    return pooled.merge(pd.concat(pieces).rename(columns=names), on=["scope", "metric"])


def _levels(each: pd.DataFrame, grouping: str, column: str) -> pd.DataFrame:
    """Pooled inside every level of one column."""
    pooled = pool_correlations(each, by=["scope", column]).rename(columns={column: "level"})
    pooled["level"] = [percent(v) if column == "sparsity" else str(v) for v in pooled["level"]]
    columns = ["scope", "grouping", "level", "metric", "k", "r", "low", "high", "p", "i2"]
    return pooled.assign(grouping=grouping)[columns]


def _flips(by_grouping: pd.DataFrame) -> pd.DataFrame:
    """Metrics whose pooled correlation has an interval above zero at one level and one below zero at another."""
    rows = []
    for (scope, grouping, metric), part in by_grouping.groupby(["scope", "grouping", "metric"], sort=False):
        sign = interval_sign(part["low"], part["high"])
        positive, negative = part[sign > 0], part[sign < 0]
        if len(positive) and len(negative):
            highest, lowest = positive.loc[positive["r"].idxmax()], negative.loc[negative["r"].idxmin()]
            rows.append([scope, grouping, metric, highest["level"], highest["r"], lowest["level"], lowest["r"]])
    columns = ["scope", "grouping", "metric", "positive_in", "positive_r", "negative_in", "negative_r"]
    return pd.DataFrame(rows, columns=columns)


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
    what = f"pooled ρ {best['r']:+.2f}, 95% interval {best['low']:+.2f} to {best['high']:+.2f}, "
    what += f"{groups} group{'s' * (groups != 1)}"
    if len(clear):
        first = (
            f"Among {main} pruners {metric_label(best['metric'])} moves most with accuracy ({what}); {len(clear)} of "
            f"{len(of_main)} metrics have a pooled correlation at a false-discovery rate of 5%."
        )
    else:
        first = (
            f"Among {main} pruners no metric of {len(of_main)} clearly moves with accuracy at a false-discovery rate "
            f"of 5%; the largest pooled correlation is that of {metric_label(best['metric'])} ({what})."
        )
    if len(shown) > 1:
        other = pooled[(pooled["scope"] == shown[-1])].set_index("metric")["r"]
        both = of_main.set_index("metric")["r"].to_frame("one").join(other.rename("other")).dropna()
        gap = (both["one"] - both["other"]).abs().idxmax() if len(both) else best["metric"]
        row = both.loc[gap]
        turned = int((both["one"] * both["other"] < 0).sum())
        second = (
            f"Families disagree: {metric_label(gap)} has ρ {row['one']:+.2f} within {main} pruners but "
            f"{row['other']:+.2f} over {shown[-1]}; of {len(both)} metrics {turned} change sign."
        )
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
        f"Within {main} pruners the sign flips {' and '.join(parts)}, both intervals leaving out 0."
        if parts
        else f"Within {main} pruners no metric has clearly opposite signs in two architectures or at two sparsities."
    )
    return _plain(first), _plain(second), _plain(third)


def _plain(text: str) -> str:
    """A sentence without a sign before zero."""
    return text.replace("+-", "-").replace("-0.00", "0.00")
