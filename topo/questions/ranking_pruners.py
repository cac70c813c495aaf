"""Question 4: can topology rank pruning algorithms where it was not learned?"""

from __future__ import annotations

from math import isfinite, nan

import numpy as np
import pandas as pd

from ..errors import InputError, counted
from ..plots.interval_dots import interval_dots
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set
from ..results.labels import listed
from ..results.schema import ALL_FAMILIES
from ..stats.held_out_orders import label_permutation_p
from ..stats.ranking import RANDOM, perfect_tau, ranking_differences, ranking_table
from ..stats.regression import same_rows
from .answer import Answer
from .grouping import WIRING, limit_networks, networks_with_drop, wiring_columns
from .ranking_comparison import (
    BASELINES,
    HELD_OUT_GROUPS,
    HOLDS,
    INITIAL,
    PERFECT,
    SIZES,
    RankedScope,
    compared,
    headline,
    page_columns,
    page_table,
    place_of,
    ranking_sentences,
    ranking_title,
    ranking_verdict,
    score_label,
)
from .registry import QUESTIONS

__all__ = ["ranking_pruners"]

TITLE = "Ranking of pruning algorithms"
QUESTION = "Can topology rank pruning algorithms on a dataset, architecture or algorithm that it was not learned on?"


@QUESTIONS.register("ranking_pruners", number=4)
def ranking_pruners(evidence: Evidence, *, seed: int = 0) -> Answer:
    """Can topology rank pruning algorithms on an unseen dataset, architecture or algorithm?

    Parameters
    ----------
    evidence
        Tables to ask.
    seed
        Seeds every random choice.

    Returns
    -------
    Answer
        With its reason where there is none.
    """
    try:
        table, meaning = networks_with_drop(evidence)
    except InputError as error:
        return Answer.without(TITLE, QUESTION, str(error))
    sets = feature_sets(table)
    mask_only = (mask_only_set(sets, name) for name in (WHOLE_NETWORK, *encodings_of(sets)))
    others = (name for name in (WHOLE_NETWORK, "ramanujan") if name in sets)
    topology = list(dict.fromkeys([name for name in mask_only if name] + list(others)))
    if not topology:
        return Answer.without(TITLE, QUESTION, evidence.no_metric())
    wiring = wiring_columns(table, sets)
    sets = {name: sets[name] for name in (*SIZES, *topology) if name in sets} | ({WIRING: wiring} if wiring else {})
    complete = same_rows(table, sets)
    incomplete = _left_out(table, complete)
    table, sampled = limit_networks(complete, seed=seed)
    asked: list[RankedScope] = []
    reason = ""
    for scope, part in _scopes(table).items():
        try:
            asked.append(_ask(scope, part, sets, topology[0], seed))
        except InputError as error:
            reason = str(error)
    if not asked:
        return Answer.without(TITLE, QUESTION, reason)
    summary = pd.concat([a.summary for a in asked], ignore_index=True)
    summary = summary.iloc[np.argsort(summary["features"].map(place_of), kind="stable")].reset_index(drop=True)
    tables = {"ranking": summary}
    head = headline(asked)
    if head is None:
        reasons = [r for r in summary.loc[summary["features"] == topology[0], "reason"] if r]
        return Answer.without(TITLE, QUESTION, f"nothing can be held out: {reasons[0].rstrip('.')}.", tables=tables)
    tables["differences"] = pd.concat([a.differences for a in asked], ignore_index=True)
    tables["groups"] = pd.concat([a.groups for a in asked], ignore_index=True)
    return Answer(
        TITLE,
        QUESTION,
        ranking_sentences(asked, head),
        {
            "ranking": interval_dots(
                compared(summary),
                row="features",
                value="tau",
                low="tau_low",
                high="tau_high",
                panel="held_out",
                variant="scope",
                heads=HELD_OUT_GROUPS,
                label=score_label,
                axis="Kendall's τ-b with the true order",
            )
        },
        tables,
        caption=(
            "Dots: mean over groups (one dataset, model and sparsity) of Kendall's τ-b between the order of algorithms "
            "by a score and by their drop in accuracy; 1 is the true order, 0 none of it. Lines: 95% intervals. A "
            "perfect score does not reach 1, for a mean over few seeds is not yet the truth."
        ),
        method=(
            f"Result: {meaning}, averaged over seeds. A score learns the rank of an algorithm in its group by kernel "
            "ridge regression. It reads logarithms of metrics relative to the group, their ranks in it, sparsity and "
            "model; two masks are alike that stay together in totally random trees, which are grown on all masks and "
            "no result. What is left out is left out whole; unseen algorithms are left out in pairs, and a pair is "
            "ordered by a score that has seen neither. Past results are the mean rank of what was seen, as far as "
            "algorithm, family, model, dataset and sparsity are known there. Intervals: jackknife over algorithms and "
            f"over pairs of dataset and model. The p-value exchanges the names of algorithms, alike in all groups, and "
            f"learns anew each time.{incomplete}{sampled}"
        ),
        caveats=(
            *(("The dense accuracy is not known; inside a group that changes no order.",) * (meaning == TO_BEST)),
            f"'Topology' in the sentences is the set '{score_label(topology[0])}', chosen beforehand; the best of the "
            "other sets is a little too good.",
            "The best baseline is chosen by its result, which is in its favour.",
            *(
                ("Over all families the training recipes differ, which metrics of trained weights can see.",)
                * (len(table["family"].unique()) > 1)
            ),
        ),
        verdict=ranking_verdict(head),
        titles={"ranking": ranking_title(head)},
        summary=page_table(summary, topology[0]),
        columns=page_columns(asked),
    )


def _scopes(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The algorithms at initialisation, where a ranking is no matter of training recipes, and all of them."""
    initial = table[table["family"] == "initial"]
    scopes = {INITIAL: initial} if initial["pruner"].nunique() >= 3 else {}
    return scopes if scopes and len(initial) == len(table) else scopes | {ALL_FAMILIES: table}


def _ask(scope: str, table: pd.DataFrame, sets: dict[str, list[str]], topology: str, seed: int) -> RankedScope:
    summary, groups, orders = ranking_table(table, sets, by=HOLDS, seed=seed)
    differences = ranking_differences(summary, orders, BASELINES)
    summary["p_labels"] = nan
    tested = (summary["held_out"] == "pruner") & (summary["features"] == topology) & summary["tau"].notna()
    if tested.any():
        summary.loc[tested, "p_labels"] = label_permutation_p(table, sets[topology], seed=seed)
    perfect = {"features": PERFECT, "groups": summary["groups"].max(), "tau": perfect_tau(table), "reason": ""}
    if isfinite(perfect["tau"]):
        ranked = summary.loc[summary["tau"].notna() & (summary["features"] != RANDOM), "held_out"].unique()
        rows = pd.DataFrame([{"held_out": hold, **perfect} for hold in HOLDS if hold in ranked])
        summary = pd.concat([summary, rows], ignore_index=True) if len(rows) else summary
    return RankedScope(
        scope,
        topology,
        summary.assign(scope=scope),
        differences.assign(scope=scope),
        groups.assign(scope=scope),
        table["pruner"].nunique(),
    )


def _left_out(table: pd.DataFrame, complete: pd.DataFrame) -> str:
    lost = len(table) - len(complete)
    if not lost:
        return ""
    models = [str(m) for m in pd.unique(table["model"]) if m not in set(complete["model"])]
    which = f", among them all of {listed(models)}," if models else ""
    return f" {counted(lost, 'network')}{which} lack the metrics of some set and were left out."
