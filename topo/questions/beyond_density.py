"""Question 2: is it topology, or just density, edges and trained weights?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ..plots.confounders import relative_strips
from ..plots.forest import forest_plot
from ..plots.theme import HUES, INK
from ..results.evidence import Evidence
from ..results.labels import counted
from ..results.schema import ALL_FAMILIES, metric_label
from ..stats.confounders import edge_spread, mean_absolute_weight, reached_gap, relative_to_group
from ..stats.significance import significant
from .answer import Answer
from .confounding import (
    RAMANUJAN,
    WEIGHT,
    controlled_correlations,
    density_column,
    family_medians,
    ramanujan_and_accuracy,
    ramanujan_and_density,
    redundant_metrics,
    weights,
)
from .grouping import varying_metrics
from .registry import QUESTIONS

__all__ = ["beyond_density"]

TITLE = "Beyond density"
QUESTION = "Is it topology that moves with accuracy, or just density, the number of edges and the trained weights?"
COLORS = dict(zip(("alone", "given edges", "given edges, density", "given edges, density, |w|"), (INK, *HUES)))


@QUESTIONS.register("beyond_density", number=2)
def beyond_density(evidence: Evidence, *, seed: int = 0, min_rows: int = 5, threshold: float = 0.95) -> Answer:
    """Is it topology, or just density, edges and trained weights?

    Parameters
    ----------
    evidence
        Tables to ask.
    seed
        Seeds the permutations.
    min_rows
        Fewest networks of a group (one dataset, architecture and sparsity) for a correlation.
    threshold
        Rank correlation from which two metrics count as one.

    Returns
    -------
    Answer
        With its reason where there is none.
    """
    table = evidence.sparse
    if table.empty:
        return Answer.without(TITLE, QUESTION, "no sparse network has an accuracy.")
    if "edges" not in table.columns or table["edges"].isna().all():
        return Answer.without(TITLE, QUESTION, "the networks have no number of edges (column 'edges') to hold still.")
    metrics = varying_metrics(table, evidence.whole_network_metrics)
    if not metrics:
        return Answer.without(TITLE, QUESTION, "no metric of the whole network varies at any one sparsity.")
    weight = mean_absolute_weight(table)
    if weight is not None:
        table = table.assign(**{WEIGHT: weight})
    controlled = controlled_correlations(table, metrics, min_rows, seed)
    if controlled["r"].notna().sum() == 0:
        reason = "no group has enough algorithms (or networks of one) for a correlation with covariates."
        return Answer.without(TITLE, QUESTION, reason, tables={"controlled": controlled})
    families = family_medians(table, metrics, min_rows)
    spread = edge_spread(table)
    redundant = redundant_metrics(table, metrics, threshold)
    tables = {"controlled": controlled, "families": families, "edge_spread": spread, "redundant": redundant}
    for name, optional in (
        ("weights", weights(table)),
        ("reached_sparsity", reached_gap(table)),
        ("ramanujan_and_density", ramanujan_and_density(evidence)),
        ("ramanujan_and_accuracy", ramanujan_and_accuracy(table, evidence.layer_metrics("ramanujan"), min_rows)),
    ):
        if optional is not None and len(optional):
            tables[name] = optional
    main = controlled.loc[controlled["r"].notna(), "scope"].iloc[0]
    shown = controlled[controlled["scope"] == main]
    steps = [s for s in COLORS if shown.loc[shown["control"] == s, "r"].notna().any()]
    return Answer(
        TITLE,
        QUESTION,
        _sentences(tables, main, steps),
        {
            "controlled": forest_plot(
                shown, steps, group="control", colors=COLORS, axis="(partial) Spearman's ρ with accuracy"
            ),
            "confounders": _confounders(table, tables.get("ramanujan_and_density")),
        },
        tables,
        caption=(
            f"First figure, {main} pruners: the rank correlation of every metric with "
            "accuracy inside groups (one dataset, architecture and sparsity), alone and with covariates held still. A "
            "dot that moves to 0 was size, density or weights. Second figure: the number of edges and the mean absolute"
            " weight of every network relative to its group; bars are medians. Where layers are known, the last panel "
            "shows how closely Ramanujan metrics of a layer follow its density."
        ),
        method=(
            "Partial Spearman correlations: ranks of metric and accuracy regressed on the ranks of the covariates in "
            "every group, then correlated across algorithms; means over groups and p-values as in question 1, "
            "the residuals of accuracy permuted, and the larger p of ranks and values taken. "
            f"Density: {density_column(table) or 'not known'}. Mean absolute weight: strength times nodes over 2 "
            "(per edge). Redundant: complete linkage of the median rank correlation inside groups, from "
            f"{threshold:g}; formulas are checked exactly."
        ),
        caveats=(
            "Edges follow from where the pruner put its weights: holding them still takes some topology away too.",
            "With few algorithms in a group, few covariates can be held still; empty rows say so.",
            "Trained weights carry the recipe of training, which differs between families.",
        ),
    )


def _confounders(table: pd.DataFrame, ramanujan: pd.DataFrame | None) -> Figure:
    panels = {"edges": "edges"}
    ratios = table[["pruner", "family"]].assign(edges=relative_to_group(table, table["edges"]))
    if WEIGHT in table.columns:
        ratios[WEIGHT] = relative_to_group(table, table[WEIGHT])
        panels[WEIGHT] = "mean |w|"
    density = None
    if ramanujan is not None:
        density = ramanujan[ramanujan["dataset"] != "all"].assign(metric=lambda t: t["metric"].map(RAMANUJAN))
    return relative_strips(ratios, panels, density=density)


def _sentences(tables: dict[str, pd.DataFrame], main: str, steps: list[str]) -> tuple[str, str, str]:
    return _on_families(tables, main), _on_size(tables, main, steps), _on_redundancy(tables)


def _on_families(tables: dict[str, pd.DataFrame], main: str) -> str:
    families = tables["families"].set_index("metric")
    if f"median {ALL_FAMILIES}" in families and main != ALL_FAMILIES:
        one, every = families[f"median {main}"], families[f"median {ALL_FAMILIES}"]
        moved = (every - one).abs().sort_values(ascending=False).dropna().index[:3]
        text = (
            f"Pooling families changes the picture: the median ρ within groups goes from {main} pruners to all by "
            + (", ".join(f"{one[m]:+.2f} to {every[m]:+.2f} for {metric_label(m)}" for m in moved))
        )
    else:
        text = "There is one family of pruners only, so families cannot be confounded with topology here"
    if "weights" in tables:
        weights = tables["weights"]
        other = weights[(weights["model"] == "all") & (weights["family"] != weights["compared_with"])].dropna()
        if len(other):
            row = other.iloc[(other["ratio"] - 1).abs().to_numpy().argmax()]
            text += (
                f", and {row['family']} networks have {row['ratio']:.2f} times the mean absolute weight of "
                f"{row['compared_with']} ones"
            )
    return text + "."


def _on_size(tables: dict[str, pd.DataFrame], main: str, steps: list[str]) -> str:
    spread, controlled = tables["edge_spread"], tables["controlled"]
    if len(spread):
        text = (
            f"At equal sparsity the number of edges differs by a median {spread['ratio'].median():.1f} times between "
            f"algorithms (at most {spread['ratio'].max():.1f})"
        )
    else:
        text = "No group has two algorithms whose edges could be compared"
    of_scope = controlled[controlled["scope"] == main].set_index(["control", "metric"])
    alone = of_scope.loc["alone"]
    clear = alone.index[significant(alone)]
    last = steps[-1]
    given_all = of_scope.loc[last].reindex(clear)
    same_sign = given_all["r"] * alone.loc[clear, "r"] > 0
    opposite_sign = given_all["r"] * alone.loc[clear, "r"] < 0
    still_clear = given_all[significant(given_all) & same_sign]
    turned = int((significant(given_all) & opposite_sign).sum())
    if not len(clear):
        return (
            f"{text}; no metric clearly moves with accuracy within {main} pruners, so nothing is to be explained away."
        )
    text += (
        f"; of {counted(len(clear), 'metric')} that clearly {'moves' if len(clear) == 1 else 'move'} with accuracy "
        f"within {main} pruners, {len(still_clear)} still {'does' if len(still_clear) == 1 else 'do'} {last}"
    )
    if len(still_clear):
        best = still_clear["r"].abs().idxmax()
        then = still_clear.loc[best, "r"]
        text += f" (most {metric_label(best)}: ρ {alone.loc[best, 'r']:+.2f} alone, {then:+.2f} then)"
    if turned:
        text += f" and {turned} turn{'s' * (turned == 1)} the other way"
    return text + "."


def _on_redundancy(tables: dict[str, pd.DataFrame]) -> str:
    redundant = tables["redundant"]
    groups = [part["metric"].tolist() for _, part in redundant[redundant["size"] > 1].groupby("group")]
    repeats = sum(len(g) - 1 for g in groups)
    names = "; ".join(" = ".join(map(metric_label, g[:4])) + (" ..." if len(g) > 4 else "") for g in groups[:3])
    text = f"{repeats} of {counted(len(redundant), 'metric')} {'repeats' if repeats == 1 else 'repeat'} another"
    text += f" ({names})" if names else ""
    if "ramanujan_and_density" in tables:
        rho = tables["ramanujan_and_density"].set_index(["dataset", "metric"])["r"]
        every = rho.loc["all"].dropna()
        best = every.abs().idxmax()
        text += (
            f", and the Ramanujan metric {RAMANUJAN[best]} follows layer density with ρ {every[best]:.2f} over layers"
        )
    return text + "."
