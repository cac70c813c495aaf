"""Sentences about a results table, every number computed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..errors import counted
from ..results.collapsed import collapsed_networks, unknown_chance
from ..results.labels import listed, percent, signed
from ..results.regressions import regressions
from ..results.schema import ALL_FAMILIES, GROUPS, PAIR, metric_label
from ..stats.collinearity import collinear_groups
from ..stats.significance import FALSE_DISCOVERY_RATE, significant

__all__ = [
    "accuracy_findings",
    "collapsed_sentence",
    "correlation_findings",
    "failures",
    "lost_sentence",
    "no_failures",
    "run_sentence",
    "size_finding",
    "undefined_correlations",
    "undefined_values",
    "without_twins",
]

NOT_FAILED = {"finished", "ok", "done"}
# Rank correlation from which one metric stands for another.
TWINS = 0.98
# Most edges over fewest from which graphs of equal sparsity are said to differ in size.
LEAST_SPREAD = 1.05


def run_sentence(table: pd.DataFrame, copies: int = 0) -> str:
    """What was run: the grid and its size, without the networks that are the same as another, as questions count.

    Parameters
    ----------
    table
        Results table.
    copies
        How many of its networks are the same as another under another name.

    Returns
    -------
    str
        A sentence.
    """
    sparse = table[table["pruner"] != "dense"]
    dense = table[table["pruner"] == "dense"]
    if sparse.empty:
        return f"The table holds {counted(len(dense), 'dense network')} and no sparse one."
    parts = [
        counted(len(set(sparse["dataset"])), "dataset"),
        counted(len(set(sparse["model"])), "model"),
        counted(len(set(sparse["pruner"])), "pruner"),
        f"{counted(len(set(sparse['sparsity'])), 'sparsity')} "
        f"({listed([percent(s) for s in sorted(sparse['sparsity'].unique())])})",
        counted(len(set(sparse["seed"])), "seed"),
    ]
    baselines = (
        f"beside {counted(len(dense), 'dense network')}" if len(dense) else "without any dense network to compare with"
    )
    verb = "is the same as one of these" if copies == 1 else "are the same as some of these"
    again = f" ({copies:,} more {verb} under another name)" if copies else ""
    return f"{counted(len(sparse) - copies, 'sparse network')}{again} from {listed(parts)}, {baselines}."


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """Networks that did not finish, have no accuracy or collapsed: status, reason, number and which.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    DataFrame
        status, reason, networks, which.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results(sparsities=(0.9,))
    >>> table.loc[3, "accuracy"] = 0.1
    >>> failures(table)[["status", "networks"]].values.tolist()
    [['near chance', 1]]
    """
    bad = table[~table["status"].isin(NOT_FAILED) | (table["accuracy"].isna() & ~regressions(table))]
    status = bad["status"].where(~bad["status"].isin(NOT_FAILED), "no accuracy")
    bad = bad.assign(status=status, reason=bad["reason"].where(bad["reason"] != "", "no reason recorded"))
    collapsed = collapsed_networks(table.reset_index(drop=True))
    near = table.reset_index(drop=True).loc[collapsed.index].assign(reason=collapsed["reason"], status="near chance")
    bad = pd.concat([bad, near[near["accuracy"].notna() & table["status"].isin(NOT_FAILED).to_numpy()[near.index]]])
    if bad.empty:
        return pd.DataFrame(columns=["status", "reason", "networks", "which"])
    which = [
        f"{row.dataset}/{row.model}/{row.pruner} at {percent(row.sparsity)}, seed {row.seed}"
        + (f" ({100 * row.accuracy:.1f}%)" if row.status == "near chance" else "")
        for row in bad.itertuples()
    ]
    groups = bad.assign(which=which).groupby(["status", "reason"], sort=True)["which"]
    return groups.agg(networks="size", which=lambda w: "; ".join(w)).reset_index()


def no_failures(table: pd.DataFrame) -> str:
    """What is known of a table in which no network failed or collapsed.

    Parameters
    ----------
    table
        Results table.

    Examples
    --------
    >>> from topo.results import example_results
    >>> no_failures(example_results())
    'None: every network in the table has an accuracy, a path from input to output, and is better than chance.'
    """
    if regressions(table).any():
        return "None: every network that predicts classes has an accuracy, and every other one an error."
    unknown = unknown_chance(table)
    if unknown:
        return f"None is known: every network in the table has an accuracy. {unknown}"
    return "None: every network in the table has an accuracy, a path from input to output, and is better than chance."


def lost_sentence(table: pd.DataFrame) -> str:
    """How many networks have no accuracy, and why in one word each; empty where all have.

    Parameters
    ----------
    table
        Results table.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results(sparsities=(0.9,))
    >>> table.loc[3:4, ["status", "accuracy"]] = "failed", None
    >>> lost_sentence(table)
    '2 of 18 networks have no accuracy (2 failed).'
    """
    lost = table.loc[table["accuracy"].isna(), "status"]
    if lost.empty:
        return ""
    numbers = regressions(table)[lost.index]
    counts = lost.where(~lost.isin(NOT_FAILED), "without a reason").mask(numbers, "predict numbers").value_counts()
    reasons = listed([f"{number:,} {status}" for status, number in counts.items()])
    have = "has" if len(lost) == 1 else "have"
    instead = " Numbers are not right or wrong: accuracy=table['r2'] asks the same questions of R^2."
    return (
        f"{len(lost):,} of {counted(len(table), 'network')} {have} no accuracy ({reasons})."
        f"{instead if numbers.any() else ''}"
    )


def collapsed_sentence(table: pd.DataFrame) -> str:
    """How many networks collapsed though they have an accuracy; empty where none did.

    Parameters
    ----------
    table
        Results table.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results(sparsities=(0.9,))
    >>> table.loc[3, "accuracy"] = 0.1
    >>> collapsed_sentence(table)
    '1 of 18 networks collapsed: it has no path from input to output or is near chance.'
    """
    collapsed = collapsed_networks(table)["accuracy"].notna().sum()
    if not collapsed:
        return ""
    rest = "it has no path from input to output or is" if collapsed == 1 else "no path from input to output, or"
    return f"{collapsed:,} of {counted(len(table), 'network')} collapsed: {rest} near chance."


def accuracy_findings(summary: pd.DataFrame) -> list[str]:
    """For each dataset and model, the best and the worst pruner at the highest sparsity they share.

    Parameters
    ----------
    summary
        What `topo.stats.accuracy_summary` returned.

    Returns
    -------
    list
        Of sentences.
    """
    sentences = []
    for (dataset, model), group in summary.groupby(list(PAIR), sort=True):
        sparse, dense = group[group["pruner"] != "dense"], group[group["pruner"] == "dense"]
        if sparse.empty:
            continue
        unit = 100 if group["high"].max() <= 1.5 else 1
        pruners = sparse.groupby("sparsity")["pruner"].nunique()
        top = pruners[pruners == pruners.max()].index.max()
        ranked = sparse[sparse["sparsity"] == top].sort_values("mean", ascending=False, kind="stable")
        best, worst = ranked.iloc[0], ranked.iloc[-1]
        first = list(ranked.loc[np.isclose(ranked["mean"], best["mean"]), "pruner"])
        last = list(ranked.loc[np.isclose(ranked["mean"], worst["mean"]), "pruner"])
        seeds = f"mean of {best['n']} seeds" if best["n"] > 1 else "one seed"
        text = f"{dataset} · {model} at {percent(top)} sparsity: {listed(first)} {'is' if len(first) == 1 else 'are'} "
        text += f"the most accurate ({best['mean'] * unit:.1f}%, {seeds}"
        if len(dense):
            text += f", {_beside_dense((best['mean'] - dense['mean'].iloc[0]) * unit)}"
        text += ")"
        if len(ranked) > len(first):
            text += f", {listed(last)} the least ({worst['mean'] * unit:.1f}%)"
            second = ranked.iloc[len(first)]
            if best["low"] <= second["high"] and best["n"] > 1:
                text += f"; the seeds of {best['pruner']} and of {second['pruner']} overlap"
        sentences.append(text + ".")
    return sentences


def _beside_dense(points: float) -> str:
    size = f"{abs(points):.1f}"
    if size == "0.0":
        return "as accurate as dense"
    return f"{size} points {'above' if points > 0 else 'below'} dense"


def correlation_findings(correlations: pd.DataFrame) -> list[str]:
    """The metric most tied to accuracy within groups, and how many change sign when families are pooled.

    Parameters
    ----------
    correlations
        What `topo.stats.correlations_by_family` returned.

    Returns
    -------
    list
        Of sentences; empty where there is nothing to say.
    """
    defined = correlations[correlations["r"].notna()]
    within = defined[defined["family"] != ALL_FAMILIES]
    if within.empty:
        return []
    groups = within[[*GROUPS, "family"]].drop_duplicates()
    by_metric = within.groupby("metric", sort=False)["r"]
    # A metric that is defined in few groups has an extreme median by chance.
    median = by_metric.median()[by_metric.size() >= len(groups) / 2]
    sentences = []
    if len(median):
        best = median.abs().idxmax()
        rows = within[within["metric"] == best]
        clear = int(significant(rows).sum())
        sentences.append(
            f"Within {counted(len(groups), 'group')} of one dataset, model, pruner family and sparsity, the metric "
            f"most tied to accuracy is {metric_label(best)}: median ρ = {signed(median[best])}, from "
            f"{signed(rows['r'].min())} to {signed(rows['r'].max())}; it is clear in {clear} of "
            f"{counted(len(rows), 'group')} at a {percent(FALSE_DISCOVERY_RATE)} false-discovery rate. "
            f"It is the largest of {counted(len(median), 'metric')}, so chance has had that many tries."
        )
    pooled = defined[defined["family"] == ALL_FAMILIES].groupby("metric")["r"].median()
    both = median.index.intersection(pooled.index)
    flipped = [m for m in both if median[m] * pooled[m] < 0]
    if len(both):
        names = listed([*(metric_label(m) for m in flipped[:6]), *(["others"] if len(flipped) > 6 else [])])
        some = f"{len(flipped)} of {counted(len(both), 'metric')} ({names}) change{'s' if len(flipped) == 1 else ''}"
        none = f"None of {counted(len(both), 'metric')} changes"
        sentences.append(f"{some if flipped else none} the sign of the median ρ when pruner families are pooled.")
    return sentences


def size_finding(table: pd.DataFrame) -> str | None:
    """How much the number of edges differs between pruners at one sparsity.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    str or None
        A sentence; None where edges are not known, or no two pruners can be compared.
    """
    if "edges" not in table.columns:
        return None
    sparse = table[(table["pruner"] != "dense") & (table["edges"] > 0)]
    means = sparse.groupby([*GROUPS, "pruner"])["edges"].mean()
    spread = means.groupby(list(GROUPS)).agg(lambda e: e.max() / e.min() if len(e) > 1 else np.nan)
    spread = spread.dropna()
    if spread.empty:
        return None
    if spread.max() < LEAST_SPREAD:
        most = f"{100 * (spread.max() - 1):.1f}%"
        if most == "0.0%":
            return (
                "At equal sparsity the networks of all pruners have the same number of edges, to a tenth of a percent."
            )
        return f"At equal sparsity the numbers of edges of different pruners differ by at most {most}."
    return (
        f"At equal sparsity the number of edges differs between pruners by a median factor of {spread.median():.1f} "
        f"(at most {spread.max():.1f}): equal sparsity is not equal graph size."
    )


def without_twins(table: pd.DataFrame, metrics: Sequence[str]) -> tuple[list[str], str]:
    """Metrics without those that order networks as another does, and a sentence that names them.

    Parameters
    ----------
    table
        Results table of sparse networks.
    metrics
        Metric columns.

    Returns
    -------
    tuple
        The metrics that are left, and the sentence; empty where all are.

    Examples
    --------
    >>> from topo.results import example_results
    >>> without_twins(example_results(), ["nodes", "edges"])
    (['nodes', 'edges'], '')
    """
    metrics = list(metrics)
    if not metrics or table.empty:
        return metrics, ""
    groups = collinear_groups(table, metrics, threshold=TWINS, by=GROUPS)
    twins = groups[groups["metric"] != groups["kept"]]
    if twins.empty:
        return metrics, ""
    stands = [
        f"{metric_label(kept)} for {listed([metric_label(m) for m in group])}"
        for kept, group in twins.groupby("kept", sort=False)["metric"]
    ]
    sentence = (
        f"Metrics that order the networks of a group nearly the same way (median |ρ| of at least {TWINS:g} over groups "
        f"of one dataset, model and sparsity) are shown once: {'; '.join(stands)}."
    )
    return [m for m in metrics if m not in set(twins["metric"])], sentence


def undefined_values(table: pd.DataFrame, metrics: Sequence[str], reasons: Mapping[str, str]) -> pd.DataFrame:
    """Metrics without a value in some networks: how many, of which pruners, and the recorded reason.

    Parameters
    ----------
    table
        Results table.
    metrics
        Metric columns.
    reasons
        Reasons that were recorded, by metric.

    Returns
    -------
    DataFrame
        reason, pruners, networks, metrics.
    """
    rows = []
    for metric in metrics:
        missing = table["pruner"][~np.isfinite(table[metric].to_numpy(float))]
        if len(missing):
            pruners = listed(sorted(missing.unique()))
            rows.append((metric_label(metric), len(missing), pruners, reasons.get(metric, "no reason recorded")))
    undefined = pd.DataFrame(rows, columns=["metrics", "networks", "pruners", "reason"])
    groups = undefined.groupby(["reason", "pruners", "networks"], sort=False, as_index=False)
    return groups.agg({"metrics": ", ".join}) if len(undefined) else undefined


def undefined_correlations(correlations: pd.DataFrame) -> pd.DataFrame:
    """Groups and metrics without a correlation, by reason.

    Parameters
    ----------
    correlations
        What `topo.stats.correlations_by_family` returned.

    Returns
    -------
    DataFrame
        reason, groups, metrics.
    """
    missing = correlations[correlations["r"].isna()]
    if missing.empty:
        return pd.DataFrame(columns=["reason", "groups", "metrics"])
    place = missing.apply(lambda r: f"{r['dataset']} · {r['model']}, {r['family']} at {percent(r['sparsity'])}", axis=1)
    missing = missing.assign(place=place)
    metric_count = correlations["metric"].nunique()

    def few(items: pd.Series, most: int = 8) -> str:
        names = list(dict.fromkeys(items))
        return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

    def named(metrics: pd.Series) -> str:
        names = metrics.drop_duplicates()
        return "all metrics" if len(names) == metric_count else few(names.map(metric_label), 12)

    groups = missing.groupby("reason", sort=True)
    return groups.agg(groups=("place", few), metrics=("metric", named)).reset_index()
