"""What correlations with accuracy come to, in words: verdict, titles, sentences and the table of a page."""

from __future__ import annotations

import pandas as pd

from ..errors import counted
from ..results.labels import listed, p_value_text, signed
from ..results.schema import ALL_FAMILIES, UNKNOWN_FAMILY, metric_label
from ..stats.power import Detectable
from ..stats.significance import FEWEST_ALGORITHMS, significant
from .answer import Verdict

__all__ = [
    "among",
    "figure_title",
    "grouping_title",
    "least_found",
    "page_table",
    "sentences",
    "too_few_algorithms",
    "unclear_verdict",
    "verdict",
]

# A test that would find this and does not says that there is nothing worth speaking of.
SMALL = 0.3
MOST_ROWS = 15


def among(scope: str) -> str:
    """The pruners of a scope in words.

    Parameters
    ----------
    scope
        A family, or all of them.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> among("initial"), among("all families"), among("other")
    ('initial pruners', 'pruners of all families', 'pruners of unknown family')
    """
    if scope == UNKNOWN_FAMILY:
        return "pruners of unknown family"
    return f"pruners of {scope}" if scope == ALL_FAMILIES else f"{scope} pruners"


def least_found(found: Detectable, *, unit: str = "algorithm") -> str:
    """What a test would have found, as a clause.

    Parameters
    ----------
    found
        As of `topo.stats.detectable_correlation`.
    unit
        What its units are.

    Returns
    -------
    str
        The clause.

    Examples
    --------
    >>> least_found(Detectable(0.56, 7, 7))
    'only a mean |ρ| above 0.56 would have been found with 80% probability'
    >>> least_found(Detectable(float("nan"), 6, 8))
    'with 6 algorithms not even a perfect correlation would have been found, it takes 8'
    """
    if found:
        return f"only a mean |ρ| above {found.r:.2f} would have been found with 80% probability"
    return (
        f"with {counted(found.units, unit)} not even a perfect correlation would have been found, it takes "
        f"{found.units_needed}"
    )


def verdict(pooled: pd.DataFrame, main: str, found: Detectable) -> Verdict:
    """Whether any metric moves with accuracy.

    Parameters
    ----------
    pooled
        One row a scope and metric: scope, metric, k, units, r, q.
    main
        The scope that is spoken of.
    found
        What would have been found there.

    Returns
    -------
    Verdict
        Open where no metric is clear and only a large correlation would be.
    """
    of_main = pooled[(pooled["scope"] == main) & pooled["r"].notna()]
    clear = of_main[significant(of_main)]
    best = _largest(clear if len(clear) else of_main)
    label, r = metric_label(best["metric"]), signed(best["r"])
    if len(clear):
        edges = of_main.loc[of_main["metric"] == "edges", "r"]
        beside = (
            f"; the number of edges has {signed(edges.iloc[0])}" if len(edges) and best["metric"] != "edges" else ""
        )
        return Verdict(
            "yes",
            f"Yes: among {among(main)} {len(clear)} of {counted(len(of_main), 'metric')} clearly "
            f"{'moves' if len(clear) == 1 else 'move'} with accuracy, most of all {label} (mean rank correlation ρ {r} "
            f"over {counted(int(best['k']), 'group')}{beside}).",
        )
    none = f"none of {counted(len(of_main), 'metric')} clearly moves with accuracy among {among(main)}"
    largest = f"(the largest mean rank correlation ρ is {r}, of {label})"
    return unclear_verdict(f"{none} {largest}", found)


def unclear_verdict(what: str, found: Detectable) -> Verdict:
    """The verdict where no metric clearly moves: no, where even a small correlation would have been found.

    Parameters
    ----------
    what
        That none does, and which comes nearest.
    found
        The smallest correlation that the table would have shown.

    Returns
    -------
    Verdict
        No or open.
    """
    if found and found.r <= SMALL:
        return Verdict("no", f"No: {what}, and a mean |ρ| of {found.r:.2f} would have been found.")
    return Verdict("open", f"Can not tell: {what}; {least_found(found)}.")


def too_few_algorithms() -> Verdict:
    """The verdict where groups hold too few algorithms, and networks of the same ones are all there is to compare."""
    return Verdict(
        "open",
        f"Can not tell: groups hold fewer than {FEWEST_ALGORITHMS} algorithms, and more seeds of the same ones are no "
        f"further evidence; it takes {FEWEST_ALGORITHMS} to compare and 7 to be sure of a single metric.",
    )


def figure_title(pooled: pd.DataFrame, main: str) -> str:
    """What the figure of all metrics shows.

    Parameters
    ----------
    pooled, main
        As for `verdict`.

    Returns
    -------
    str
        The title.
    """
    of_main = pooled[(pooled["scope"] == main) & pooled["r"].notna()]
    clear = of_main[significant(of_main)]
    best = _largest(clear if len(clear) else of_main)
    if not len(clear):
        return (
            f"No metric clearly moves with accuracy among {among(main)}; the nearest is {metric_label(best['metric'])}"
        )
    verb = "moves" if len(clear) == 1 else "move"
    return (
        f"{len(clear)} of {counted(len(of_main), 'metric')} clearly {verb} with accuracy among {among(main)}, most of "
        f"all {metric_label(best['metric'])}"
    )


def grouping_title(several: pd.DataFrame, flips: pd.DataFrame, main: str) -> str:
    """What the figure of architectures, sparsities and datasets shows.

    Parameters
    ----------
    several
        Its table: grouping, level, metric, r, q.
    flips
        Metrics with clearly opposite signs.
    main
        The scope that is shown.

    Returns
    -------
    str
        The title.
    """
    turned = flips.loc[flips["scope"] == main, "metric"].nunique()
    if turned:
        verb = "changes" if turned == 1 else "change"
        return f"{counted(turned, 'metric')} clearly {verb} sign between architectures, sparsities or datasets"
    clear = int(significant(several).sum())
    grouping, metric, low, high = _widest(several)
    # Two ends that are not clear are no difference, so the title says how many are.
    return (
        f"{clear} of {counted(int(several['r'].notna().sum()), 'cell')} {'is' if clear == 1 else 'are'} clear; the "
        f"widest range is that of {metric_label(metric)} over {_plural(grouping)} ({signed(low['r'])} to "
        f"{signed(high['r'])})"
    )


def page_table(pooled: pd.DataFrame, repeats: pd.DataFrame, shown: list[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The metrics with the smallest p-values, and what the columns mean.

    Parameters
    ----------
    pooled
        As for `verdict`.
    repeats
        As of `topo.stats.repeated_metrics`.
    shown
        Scopes with correlations; the first one orders the rows.

    Returns
    -------
    table, columns
        At most 15 rows, and the meaning of every column.
    """
    of_main = pooled[(pooled["scope"] == shown[0]) & pooled["r"].notna()]
    order = of_main.assign(size=-of_main["r"].abs()).sort_values(["p", "size"], kind="stable")[:MOST_ROWS]
    twins = repeats.groupby("same_as")["metric"].agg(lambda names: listed([metric_label(n) for n in names]))
    table = pd.DataFrame(
        {
            "metric": order["metric"].map(metric_label),
            "mean ρ": order["r"].round(2) + 0.0,
            "95% interval": [
                f"{signed(low)} to {signed(high)}" if low == low else "unknown"
                for low, high in zip(order["low"], order["high"], strict=True)
            ],
            "p": order["p"].map(p_value_text),
            "q": order["q"].map(p_value_text),
        }
    )
    for scope in shown[1:][-2:]:
        other = pooled[pooled["scope"] == scope].set_index("metric")["r"]
        table[f"mean ρ, {scope}"] = order["metric"].map(other).round(2) + 0.0
    if len(twins):
        table["repeated by"] = order["metric"].map(twins).fillna("")
    some = f" The {len(order)} of {len(of_main)} with the smallest p." if len(order) < len(of_main) else ""
    meaning = {
        "metric": f"A metric of the whole network's graph; those that repeat it are in the last column.{some}",
        "mean ρ": f"Spearman's correlation with accuracy among {among(shown[0])}, the mean over groups.",
        "95% interval": "The means that the test does not reject, of this metric alone: q decides what is clear.",
        "p": "How often permuted labels of algorithms give a mean as large.",
        "q": "p adjusted for all tests of the figure; clear below .05.",
        "repeated by": "Metrics that order the networks of a group as this one does, or the other way round.",
    }
    meaning |= {f"mean ρ, {scope}": f"The same among {among(scope)}." for scope in shown[1:]}
    return table.reset_index(drop=True), {name: meaning[name] for name in table.columns}


def sentences(
    each: pd.DataFrame, pooled: pd.DataFrame, several: pd.DataFrame, flips: pd.DataFrame, shown: list[str]
) -> tuple[str, str, str]:
    """The three sentences of question 1.

    Parameters
    ----------
    each
        Correlations of single groups.
    pooled
        As for `verdict`.
    several
        As for `grouping_title`.
    flips
        As for `grouping_title`.
    shown
        Scopes with correlations.

    Returns
    -------
    tuple of str
        Computed from the tables.
    """
    return _on_metrics(pooled, shown[0]), _on_families(each, pooled, shown), _on_groupings(several, flips, shown[0])


def _on_metrics(pooled: pd.DataFrame, main: str) -> str:
    of_main = pooled[(pooled["scope"] == main) & pooled["r"].notna()]
    clear = of_main[significant(of_main)]
    best = _largest(clear if len(clear) else of_main)
    what = f"mean ρ {signed(best['r'])}"
    if best["low"] == best["low"]:
        what += f", 95% interval {signed(best['low'])} to {signed(best['high'])}"
    what += f", p {p_value_text(best['p'])}, q {p_value_text(best['q'])}, {counted(int(best['k']), 'group')}"
    if not len(clear):
        return (
            f"Among {among(main)} the largest of {counted(len(of_main), 'mean correlation')} with accuracy is that of "
            f"{metric_label(best['metric'])} ({what}), which chance alone may give."
        )
    others = clear.drop(best.name).sort_values("r", key=lambda r: -r.abs())
    named = [f"{metric_label(m)} ({signed(r)})" for m, r in zip(others["metric"], others["r"], strict=True)]
    more = [*named[:4], *[f"{len(named) - 4} more"] * (len(named) > 4)]
    rest = f"; {'a further one is' if len(more) == 1 else 'further ones are'} {listed(more)}" if more else ""
    name = metric_label(best["metric"])
    return f"Among {among(main)} the metric that moves most with accuracy is {name} ({what}){rest}."


def _on_families(each: pd.DataFrame, pooled: pd.DataFrame, shown: list[str]) -> str:
    main, last = shown[0], shown[-1]
    if main == last:
        known = each[each["r"].notna()]
        return (
            f"Only {among(main)} can be compared here; of {counted(len(known), 'correlation')} in single groups "
            f"{int(significant(known).sum())} are clear."
        )
    over = pooled[(pooled["scope"] == last) & pooled["r"].notna()]
    clear, of = int(significant(over).sum()), counted(len(over), "metric")
    some = f"{clear} of {of} clearly {'moves' if clear == 1 else 'move'}" if clear else f"none of {of} clearly moves"
    text = f"Among {among(last)} {some} with accuracy"
    own = pooled[pooled["scope"] == main].set_index("metric")["r"]
    both = own.to_frame("one").join(over.set_index("metric")["r"].rename("other")).dropna()
    if not len(both):
        return f"{text}."
    gap = (both["one"] - both["other"]).abs().idxmax()
    return (
        f"{text}; the mean correlation is most unlike for {metric_label(gap)}, {signed(both.loc[gap, 'one'])} among "
        f"{among(main)} and {signed(both.loc[gap, 'other'])} there."
    )


def _on_groupings(several: pd.DataFrame, flips: pd.DataFrame, main: str) -> str:
    parts = []
    of_main = flips[flips["scope"] == main]
    for grouping, flipped in of_main.groupby("grouping", sort=False):
        row = flipped.iloc[(flipped["positive_r"] - flipped["negative_r"]).to_numpy().argmax()]
        most = f"{metric_label(row['metric'])}: {signed(row['positive_r'])} at {row['positive_in']}"
        most += f", {signed(row['negative_r'])} at {row['negative_in']}"
        parts.append(f"with {grouping} for {counted(len(flipped), 'metric')} (most for {most})")
    if parts:
        return f"Among {among(main)} the sign flips {listed(parts)}, clearly on both sides."
    if not len(several):
        return "There is one architecture, sparsity and dataset only, so nothing is known of others."
    grouping, metric, low, high = _widest(several)
    return (
        f"Among {among(main)} no metric has clearly opposite signs in two {_either(several)}; the widest range is that "
        f"of {metric_label(metric)}, from {signed(low['r'])} at {low['level']} to {signed(high['r'])} at "
        f"{high['level']}, {_clearness(low, high)}."
    )


def _widest(several: pd.DataFrame) -> tuple[str, str, pd.Series, pd.Series]:
    """Grouping and metric whose correlation differs most between levels, and the two levels."""
    known = several[several["r"].notna()]
    spread = known.groupby(["grouping", "metric"], sort=False)["r"].agg(lambda r: r.max() - r.min())
    grouping, metric = spread.idxmax()
    part = known[(known["grouping"] == grouping) & (known["metric"] == metric)]
    return str(grouping), str(metric), part.loc[part["r"].idxmin()], part.loc[part["r"].idxmax()]


def _clearness(low: pd.Series, high: pd.Series) -> str:
    clear = significant(pd.DataFrame([low, high])).tolist()
    if all(clear):
        return "both clearly different from 0"
    if any(clear):
        return f"of which only the one at {(low if clear[0] else high)['level']} is clear"
    return "neither of them clear"


def _either(several: pd.DataFrame) -> str:
    names = [_plural(name) for name in dict.fromkeys(several["grouping"])]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _plural(noun: str) -> str:
    return counted(2, noun).removeprefix("2 ")


def _largest(rows: pd.DataFrame) -> pd.Series:
    return rows.loc[rows["r"].abs().idxmax()]
