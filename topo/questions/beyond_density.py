"""Question 2: is it topology, or just density, edges and trained weights?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ..plots.confounders import relative_strips
from ..plots.forest import forest_plot
from ..plots.theme import HUES, INK
from ..results.evidence import Evidence
from ..results.schema import GROUPS
from ..stats.collinearity import REPEATS, repeated_metrics
from ..stats.confounders import edge_spread, mean_absolute_weight, reached_gap, relative_to_group
from ..stats.significance import cluster_column
from . import confounding_in_words as words
from .answer import Answer
from .confounding import (
    RAMANUJAN,
    WEIGHT,
    Z_STEP,
    Steps,
    density_column,
    family_medians,
    ramanujan_and_accuracy,
    ramanujan_and_density,
    redundant_metrics,
    weights,
)
from .correlations_in_words import among, too_few_algorithms
from .grouping import varying_metrics
from .registry import QUESTIONS

__all__ = ["beyond_density"]

TITLE = "Beyond density"
QUESTION = "Is it topology that moves with accuracy, or just density, the number of edges and the trained weights?"


@QUESTIONS.register("beyond_density", number=2)
def beyond_density(evidence: Evidence, *, seed: int = 0, min_rows: int = 5, threshold: float = REPEATS) -> Answer:
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
        Rank correlation from which a metric repeats another.

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
    every = varying_metrics(table, evidence.whole_network_metrics)
    if not every:
        reason = evidence.no_metric("no metric of the whole network varies at any one sparsity")
        return Answer.without(TITLE, QUESTION, reason)
    weight = mean_absolute_weight(table)
    if weight is not None:
        table = table.assign(**{WEIGHT: weight})
    repeats = repeated_metrics(table, every, threshold=threshold, by=GROUPS)
    steps = Steps(table, [m for m in every if m not in set(repeats["metric"])], min_rows, seed)
    controlled = steps.correlations()
    known = controlled[controlled["r"].notna()]
    if known.empty:
        reason = "no group has enough algorithms (or networks of one) for a correlation with covariates."
        return Answer.without(TITLE, QUESTION, reason, tables={"controlled": controlled})
    main = known["scope"].iloc[0]
    shown = [s for s in steps.covariates if s in set(known.loc[known["scope"] == main, "control"])]
    tables = {
        "controlled": controlled,
        "families": family_medians(table, every, min_rows),
        "edge_spread": edge_spread(table),
        "redundant": redundant_metrics(table, every, threshold),
    }
    for name, optional in (
        ("weights", weights(table)),
        ("reached_sparsity", reached_gap(table)),
        ("ramanujan_and_density", ramanujan_and_density(evidence)),
        ("ramanujan_and_accuracy", ramanujan_and_accuracy(table, evidence.layer_metrics("ramanujan"), steps)),
    ):
        if optional is not None and len(optional):
            tables[name] = optional
    of_main = controlled[controlled["scope"] == main]
    found = steps.detectable(controlled, main, shown[-1])
    summary, columns = words.page_table(of_main, repeats, main, shown)
    return Answer(
        TITLE,
        QUESTION,
        words.sentences(tables, main, shown),
        {
            "controlled": forest_plot(
                of_main,
                shown,
                group="control",
                colors=dict(zip(shown, (INK, *HUES), strict=False)),
                axis="(partial) Spearman's ρ with accuracy",
            ),
            "confounders": _confounders(table, tables.get("ramanujan_and_density")),
        },
        tables,
        caption=_caption(main, Z_STEP in shown),
        method=_method(density_column(table), threshold, Z_STEP in shown),
        caveats=(
            "Edges follow from where the pruner put its weights: holding them still takes some topology away too.",
            "With few algorithms in a group, few covariates can be held still; empty rows say so.",
            "Trained weights carry the recipe of training, which differs between families.",
        ),
        verdict=words.verdict(of_main, main, shown, found) if cluster_column(table) else too_few_algorithms(),
        titles={
            "controlled": words.steps_title(of_main, main, shown),
            "confounders": words.confounders_title(tables),
        },
        summary=summary,
        columns=columns,
    )


def _caption(main: str, z_scores: bool) -> str:
    z = (
        " The last step is the plain correlation of a metric's z-score against random masks that keep as many weights "
        "of every layer."
    )
    return (
        f"First figure, {among(main)}: the rank correlation of every metric with accuracy inside groups (one dataset, "
        "architecture and sparsity), alone and with covariates held fixed. Where a dot moves to 0, size, density or "
        f"weights may have been all there was.{z * z_scores} Second figure: the number of edges and the mean absolute "
        "weight of every network relative to its group; bars are medians. Where layers are known, the last panel shows "
        "how closely Ramanujan metrics of a layer follow its density."
    )


def _method(density: str | None, threshold: float, z_scores: bool) -> str:
    z = (
        " Metrics as z-scores against random masks of equal layer densities (`topo.z_scores`) take these out one by "
        "one, without a covariate."
    )
    return (
        "Partial Spearman correlations: ranks of metric and accuracy regressed on the ranks of the covariates in "
        "every group, then correlated across algorithms; means over groups, intervals and p-values as in question 1, "
        "the residuals of accuracy permuted (Freedman and Lane), and the largest p of ranks, values "
        "and logarithms taken. "
        "Benjamini-Hochberg over all tests of a step, the first step as in question 1, on networks whose covariates "
        "are known. "
        f"Density: {density or 'not known'}. Mean absolute weight: strength times nodes over 2 (per edge)."
        f"{z * z_scores} Redundant: complete linkage of the median rank correlation inside groups, from "
        f"{threshold:g}; formulas are checked exactly."
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
