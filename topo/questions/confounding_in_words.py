"""What is left of correlations with confounders held still, in words: verdict, titles, sentences, a page's table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..errors import counted
from ..results.labels import listed, p_value_text, signed
from ..results.schema import ALL_FAMILIES, metric_label
from ..stats.power import Detectable
from ..stats.significance import significant
from .answer import Verdict
from .confounding import ALONE, RAMANUJAN, Z_STEP
from .correlations_in_words import MOST_ROWS, among, unclear_verdict

__all__ = ["confounders_title", "page_table", "sentences", "steps_title", "verdict"]

# Steps as part of a sentence, and as the heading of a column.
PHRASES = {
    ALONE: "alone",
    "given edges": "given equal edges",
    "given edges, density": "given equal edges and density",
    "given edges, density, |w|": "given equal edges, density and weights",
    "given edges, |w|": "given equal edges and weights",
    Z_STEP: "as z-scores against random masks with the same layer densities",
}


def verdict(of_main: pd.DataFrame, main: str, shown: list[str], found: Detectable) -> Verdict:
    """Whether anything of topology moves with accuracy once size, density and weights are held still.

    Parameters
    ----------
    of_main
        Correlations of one scope: control, metric, k, r, q.
    main
        The scope.
    shown
        Its steps with correlations; the last one decides.
    found
        What would have been found there.

    Returns
    -------
    Verdict
        Open where no metric is clear and only a large correlation would be.
    """
    last, how = _step(of_main, shown[-1]), PHRASES[shown[-1]]
    clear = last[significant(last)]
    best = (clear if len(clear) else last)["r"].abs().idxmax()
    r = signed(last.loc[best, "r"])
    before = int(significant(_step(of_main, ALONE)).sum()) if ALONE in shown else 0
    if len(clear):
        verb = "moves" if len(clear) == 1 else "move"
        return Verdict(
            "yes",
            f"Yes: {how}, {len(clear)} of {counted(len(last), 'metric')} clearly {verb} with accuracy among "
            f"{among(main)}, most of all {metric_label(best)} (mean ρ {r}); with nothing held equal {before or 'none'} "
            f"{'do' if before > 1 else 'does'}.",
        )
    none = f"{how}, none of {counted(len(last), 'metric')} clearly moves with accuracy among {among(main)}"
    alone = f"{before or 'none'} with nothing held equal"
    return unclear_verdict(f"{none} ({alone}); the largest mean ρ is {r}, of {metric_label(best)}", found)


def steps_title(of_main: pd.DataFrame, main: str, shown: list[str]) -> str:
    """What the figure of all steps shows.

    Parameters
    ----------
    of_main, main, shown
        As for `verdict`.

    Returns
    -------
    str
        The title.
    """
    counts = [(step, int(significant(_step(of_main, step)).sum())) for step in shown]
    if not any(count for _, count in counts):
        return f"No metric clearly moves with accuracy among {among(main)}, whatever is held still"
    parts = [f"{count or 'none'} {PHRASES[step]}" for step, count in counts]
    return f"Metrics that clearly move with accuracy: {', '.join(parts)}"


def confounders_title(tables: Mapping[str, pd.DataFrame]) -> str:
    """What the figure of edges and weights shows.

    Parameters
    ----------
    tables
        The answer's.

    Returns
    -------
    str
        The title.
    """
    spread = tables["edge_spread"]["ratio"]
    if not len(spread):
        return "Edges of single algorithms, relative to their group"
    return (
        f"At equal sparsity the network with the most edges has a median {spread.median():.1f} times those of the one "
        "with the fewest"
    )


def page_table(
    of_main: pd.DataFrame, repeats: pd.DataFrame, main: str, shown: list[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The metrics with the smallest p-values at the last step, and what the columns mean.

    Parameters
    ----------
    of_main, main, shown
        As for `verdict`.
    repeats
        As of `topo.stats.repeated_metrics`.

    Returns
    -------
    table, columns
        At most 15 rows, and the meaning of every column.
    """
    last = _step(of_main, shown[-1])
    alone = _step(of_main, shown[0])
    order = alone.assign(then=last["p"]).sort_values(["then", "p"], kind="stable")[:MOST_ROWS]
    table = pd.DataFrame({"metric": [metric_label(m) for m in order.index]}, index=order.index)
    meaning = {"metric": "A metric of the whole network's graph."}
    if len(order) < len(alone):
        meaning["metric"] += f" The {len(order)} of {len(alone)} with the smallest p in the last step."
    for step in shown:
        table[f"ρ {step}"] = _or_dash(_step(of_main, step)["r"].reindex(order.index).round(2) + 0.0)
        meaning[f"ρ {step}"] = f"Mean rank correlation with accuracy among {among(main)}, {PHRASES[step]}."
    name = f"q {shown[-1]}"
    table[name] = [p_value_text(q) if q == q else "–" for q in last["q"].reindex(order.index)]
    meaning[name] = (
        "p in the last step, adjusted for all its tests; clear below .05. A dash: what is held equal leaves nothing."
    )
    twins = repeats.groupby("same_as")["metric"].agg(lambda names: listed([metric_label(n) for n in names]))
    if len(twins) and len(table.columns) < 8:
        table["repeated by"] = twins.reindex(order.index).fillna("")
        meaning["repeated by"] = "Metrics that order the networks of a group as this one does, or the other way round."
    return table.reset_index(drop=True), meaning


def _or_dash(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), "–")


def sentences(tables: Mapping[str, pd.DataFrame], main: str, shown: list[str]) -> tuple[str, str, str]:
    """The three sentences of question 2.

    Parameters
    ----------
    tables
        The answer's.
    main, shown
        As for `verdict`.

    Returns
    -------
    tuple of str
        Computed from the tables.
    """
    return _on_steps(tables, main, shown), _on_confounders(tables, main), _on_redundancy(tables)


def _on_steps(tables: Mapping[str, pd.DataFrame], main: str, shown: list[str]) -> str:
    of_main = tables["controlled"].query("scope == @main")
    alone = _step(of_main, shown[0])
    clear = alone.index[significant(alone)]
    counts = [f"{int(significant(_step(of_main, s)).sum()) or 'none'} {PHRASES[s]}" for s in shown]
    text = f"Of {counted(len(alone), 'metric')} among {among(main)} these clearly move with accuracy: {listed(counts)}"
    # Edges cannot be followed where they are held equal themselves.
    last = _step(of_main, shown[-1])
    followed = clear.intersection(last.index)
    followed = followed.intersection(last.index[significant(last)]) if significant(last).any() else followed
    if not len(followed) or len(shown) < 2:
        return f"{text}."
    best = alone.loc[followed, "r"].abs().idxmax()
    numbers = [
        f"{signed(rows.loc[best, 'r'])} {PHRASES[step]}"
        for step in shown
        if best in (rows := _step(of_main, step)).index
    ]
    return f"{text}; the mean ρ of {metric_label(best)} is {listed(numbers)}."


def _on_confounders(tables: Mapping[str, pd.DataFrame], main: str) -> str:
    parts = []
    spread = tables["edge_spread"]["ratio"]
    if len(spread):
        parts.append(
            f"at equal sparsity the network with the most edges has a median {spread.median():.1f} times those of "
            f"the one with the fewest (at most {spread.max():.1f})"
        )
    if "weights" in tables:
        weights = tables["weights"]
        other = weights[(weights["model"] == "all") & (weights["family"] != weights["compared_with"])].dropna()
        if len(other):
            row = other.iloc[(other["ratio"] - 1).abs().to_numpy().argmax()]
            parts.append(
                f"{row['family']} networks have {row['ratio']:.2f} times the mean absolute weight of "
                f"{row['compared_with']} ones"
            )
    families = tables["families"].set_index("metric")
    if f"median {ALL_FAMILIES}" in families and main != ALL_FAMILIES:
        one, every = families[f"median {main}"], families[f"median {ALL_FAMILIES}"]
        moved = (every - one).abs().sort_values(ascending=False).dropna().index[:2]
        if len(moved):
            numbers = listed([f"{signed(one[m])} to {signed(every[m])} for {metric_label(m)}" for m in moved])
            parts.append(f"from {among(main)} to those of all families the median ρ goes from {numbers}")
    if not parts:
        return "Of edges, weights and families nothing can be compared here."
    return f"{parts[0][0].upper()}{parts[0][1:]}{''.join(f'; {part}' for part in parts[1:])}."


def _on_redundancy(tables: Mapping[str, pd.DataFrame]) -> str:
    redundant = tables["redundant"]
    groups = [part["metric"].tolist() for _, part in redundant[redundant["size"] > 1].groupby("group")]
    repeats = sum(len(g) - 1 for g in groups)
    named = "; ".join(listed([*map(metric_label, g[:4]), *[f"{len(g) - 4} more"] * (len(g) > 4)]) for g in groups[:3])
    of = counted(len(redundant), "metric")
    text = (
        f"{repeats} of {of} {'repeats' if repeats == 1 else 'repeat'} another: {named}"
        if repeats
        else f"None of {of} repeats another"
    )
    if "ramanujan_and_density" not in tables:
        return f"{text}."
    rho = tables["ramanujan_and_density"].set_index(["dataset", "metric"]).loc["all"].dropna(subset=["r"])
    best = rho["r"].abs().idxmax()
    low, high = signed(rho.loc[best, "lowest"]), signed(rho.loc[best, "highest"])
    return (
        f"{text}; over layers the Ramanujan metric {RAMANUJAN[best]} has ρ {signed(rho.loc[best, 'r'])} with their "
        f"density ({low} to {high} in the networks of single algorithms)."
    )


def _step(of_main: pd.DataFrame, step: str) -> pd.DataFrame:
    """The rows of a step that have a correlation, by metric."""
    return of_main[(of_main["control"] == step) & of_main["r"].notna()].set_index("metric")
