"""Question 4: can topology rank pruning algorithms where it was not learned?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
import pandas as pd

from ..errors import InputError
from ..plots.interval_dots import interval_dots
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set, set_label
from ..results.labels import counted, decimal, listed
from ..results.schema import ALL_FAMILIES
from ..stats.baselines import CELL_LABELS
from ..stats.held_out_orders import label_permutation_p
from ..stats.ranking import RANDOM, perfect_tau, ranking_differences, ranking_table
from ..stats.regression import same_rows
from ..stats.significance import FALSE_DISCOVERY_RATE, interval_sign
from .answer import Answer, Said, Verdict
from .grouping import HELD_OUT, limit_networks, networks_with_drop
from .registry import QUESTIONS

__all__ = ["ranking_pruners"]

TITLE = "Ranking of pruning algorithms"
QUESTION = "Can topology rank pruning algorithms on a dataset, architecture or algorithm that it was not learned on?"
INITIAL = "at initialisation"
# The order in which what is left out is asked for: only unseen algorithms have no results of their own to go by.
HOLDS = ("pruner", "dataset", "model")
HELD_OUT_GROUPS = {hold: HELD_OUT[hold] for hold in HOLDS} | {"pruner": "unseen algorithms"}
SIZES = ("density", "edges_density")
BASELINES = (*CELL_LABELS, *SIZES)
PERFECT = "perfect"
LABELS = {RANDOM: "random order", PERFECT: "a perfect score, as seeds vary"}
LABELS |= {name: f"past results by {label}" for name, label in CELL_LABELS.items()}


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
        return Answer.without(TITLE, QUESTION, "the table has no metric that varies.")
    sets = {name: sets[name] for name in (*SIZES, *topology) if name in sets}
    complete = same_rows(table, sets)
    incomplete = _left_out(table, complete)
    table, sampled = limit_networks(complete, seed=seed)
    asked: list[_Scope] = []
    reason = ""
    for scope, part in _scopes(table).items():
        try:
            asked.append(_ask(scope, part, sets, topology[0], seed))
        except InputError as error:
            reason = str(error)
    if not asked:
        return Answer.without(TITLE, QUESTION, reason)
    summary = pd.concat([a.summary for a in asked], ignore_index=True)
    summary = summary.iloc[np.argsort(summary["features"].map(_place), kind="stable")].reset_index(drop=True)
    tables = {"ranking": summary}
    head = _headline(asked)
    if head is None:
        reasons = [r for r in summary.loc[summary["features"] == topology[0], "reason"] if r]
        return Answer.without(TITLE, QUESTION, f"nothing can be held out: {reasons[0].rstrip('.')}.", tables=tables)
    tables["differences"] = pd.concat([a.differences for a in asked], ignore_index=True)
    tables["groups"] = pd.concat([a.groups for a in asked], ignore_index=True)
    return Answer(
        TITLE,
        QUESTION,
        _sentences(asked, head),
        {
            "ranking": interval_dots(
                summary,
                row="features",
                value="tau",
                low="tau_low",
                high="tau_high",
                panel="held_out",
                variant="scope",
                heads=HELD_OUT_GROUPS,
                label=_label,
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
            "ridge regression from logarithms of metrics relative to the group, their ranks in it, sparsity and model. "
            "What is left out is left out whole; unseen algorithms are left out in pairs, and a pair is ordered by "
            "a score that has seen neither. Past results are the mean rank of what was seen, as far as "
            "algorithm, family, model, dataset and sparsity are known there. Intervals: jackknife over algorithms and "
            f"over pairs of dataset and model. The p-value exchanges the names of algorithms, alike in all groups, and "
            f"learns anew each time.{incomplete}{sampled}"
        ),
        caveats=(
            *(("The dense accuracy is not known; inside a group that changes no order.",) * (meaning == TO_BEST)),
            f"'Topology' in the sentences is the set '{_label(topology[0])}', chosen beforehand; the best of the other "
            "sets is a little too good.",
            "The best baseline is chosen by its result, which is in its favour.",
            *(
                ("Over all families the training recipes differ, which metrics of trained weights can see.",)
                * (len(table["family"].unique()) > 1)
            ),
        ),
        verdict=_verdict(head),
        titles={"ranking": _title(head)},
        summary=_page_table(summary),
        columns=_columns(asked),
    )


@dataclass(frozen=True)
class _Scope:
    """What was found among the algorithms of one scope; `name` is empty where it is all there are."""

    name: str
    topology: str
    summary: pd.DataFrame
    differences: pd.DataFrame
    groups: pd.DataFrame
    algorithms: int

    def row(self, hold: str, features: str) -> pd.Series | None:
        rows = self.summary[(self.summary["held_out"] == hold) & (self.summary["features"] == features)]
        rows = rows[rows["tau"].notna()]
        return rows.iloc[0] if len(rows) else None

    def comparison(self, hold: str) -> _Comparison | None:
        """Topology and the best baseline, where `hold` is left out."""
        score = self.row(hold, self.topology)
        if score is None:
            return None
        rows = self.differences
        gain = rows[(rows["held_out"] == hold) & (rows["features"] == self.topology)].iloc[0]
        baseline = self.row(hold, gain["baseline"])
        return _Comparison(self.name, hold, score, baseline, gain)


@dataclass(frozen=True)
class _Comparison:
    scope: str
    hold: str
    score: pd.Series
    baseline: pd.Series
    gain: pd.Series

    @property
    def sign(self) -> int:
        """1 where topology clearly ranks better than the best baseline, -1 where it clearly does worse."""
        sign = int(interval_sign(self.gain["low"], self.gain["high"]))
        by_chance = self.hold == "pruner" and not self.score["p_labels"] < FALSE_DISCOVERY_RATE
        return 0 if sign > 0 and by_chance else sign

    @property
    def where(self) -> str:
        text = HELD_OUT_GROUPS[self.hold]
        among = self.scope if self.scope != ALL_FAMILIES else "of all families"
        return f"{text} {among}" if self.hold == "pruner" else f"{_article(text)}, algorithms {among}"


def _article(text: str) -> str:
    return f"an {text}"


def _scopes(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The algorithms at initialisation, where a ranking is no matter of training recipes, and all of them."""
    initial = table[table["family"] == "initial"]
    scopes = {INITIAL: initial} if initial["pruner"].nunique() >= 3 else {}
    return scopes if scopes and len(initial) == len(table) else scopes | {ALL_FAMILIES: table}


def _ask(scope: str, table: pd.DataFrame, sets: dict[str, list[str]], topology: str, seed: int) -> _Scope:
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
    return _Scope(
        scope,
        topology,
        summary.assign(scope=scope),
        differences.assign(scope=scope),
        groups.assign(scope=scope),
        table["pruner"].nunique(),
    )


def _place(features: str) -> int:
    """Place of a score in tables and figures: what knows no mask first, size next, topology last."""
    known = (RANDOM, *CELL_LABELS, *SIZES)
    return known.index(features) if features in known else len(known) + (features == PERFECT)


def _left_out(table: pd.DataFrame, complete: pd.DataFrame) -> str:
    lost = len(table) - len(complete)
    if not lost:
        return ""
    models = [str(m) for m in pd.unique(table["model"]) if m not in set(complete["model"])]
    which = f", among them all of {listed(models)}," if models else ""
    return f" {counted(lost, 'network')}{which} lack the metrics of some set and were left out."


def _headline(asked: list[_Scope]) -> _Comparison | None:
    """Unseen algorithms at initialisation, or the first there is of the other comparisons."""
    found = (scope.comparison(hold) for hold in HOLDS for scope in asked)
    return next((comparison for comparison in found if comparison is not None), None)


def _label(name: str) -> str:
    return LABELS.get(name) or set_label(name)


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {decimal(value, 3)}"


def _verdict(head: _Comparison) -> Verdict:
    said: Said
    said, start = {1: ("yes", "Yes"), -1: ("no", "No"), 0: ("open", "Can not tell")}[head.sign]  # type: ignore[assignment]
    score, baseline = head.score, head.baseline
    chance = f"; {_p(score['p_labels'])} against chance" if head.hold == "pruner" else ""
    sentence = (
        f"{start}: of two {head.where}, topology puts the better one first in {score['right']:.0%} of cases "
        if head.hold == "pruner"
        else f"{start}: on {head.where}, topology puts the better of two first in {score['right']:.0%} of cases "
    )
    sentence += f"(τ {decimal(score['tau'])}{chance}), {_label(baseline['features'])} in {baseline['right']:.0%} "
    sentence += f"(τ {decimal(baseline['tau'])})."
    least = head.gain["detectable"]
    if said == "open" and least + baseline["tau"] > 1:
        sentence += " Not even a perfect score would have been told from it here."
    elif said == "open" and isfinite(least):
        sentence += f" A difference in τ of {decimal(least)} would have been found."
    return Verdict(said, sentence)


def _title(head: _Comparison) -> str:
    how = {1: "clearly better than", -1: "clearly worse than", 0: "not clearly better than"}[head.sign]
    if head.sign == 0 and head.gain["difference"] <= 0:
        how = "no better than"
    return (
        f"Topology ranks {head.where} {how} {_label(head.baseline['features'])} "
        f"(τ {decimal(head.score['tau'])} and {decimal(head.baseline['tau'])})"
    )


def _compared(one: _Comparison) -> str:
    gain = one.gain
    interval = f", {decimal(gain['low'])} to {decimal(gain['high'])}" if isfinite(gain["low"]) else ""
    return (
        f"{one.where}: τ {decimal(one.score['tau'])} for topology and {decimal(one.baseline['tau'])} for "
        f"{_label(one.baseline['features'])} (difference {decimal(gain['difference'])}{interval})"
    )


def _elsewhere(comparisons: list[_Comparison]) -> str:
    """Topology and the best baseline in several scopes where the same thing is left out."""
    parts = [
        f"{decimal(c.score['tau'])} and {decimal(c.baseline['tau'])} ({_label(c.baseline['features'])}) "
        + (c.scope if c.scope == INITIAL else f"over {c.scope}")
        for c in comparisons
    ]
    where = _article(HELD_OUT_GROUPS[comparisons[0].hold])
    return f"on {where} the τ of topology and of the best baseline are {listed(parts)}"


def _sentences(asked: list[_Scope], head: _Comparison) -> tuple[str, str, str]:
    found = {hold: [c for scope in asked if (c := scope.comparison(hold)) is not None] for hold in HOLDS}
    first = "; ".join(_compared(c) for c in found["pruner"])
    if not first:
        rows = asked[-1].summary
        reason = rows.loc[(rows["held_out"] == "pruner") & (rows["features"] == head.score["features"]), "reason"]
        first = f"Unseen algorithms can not be ranked: {reason.iloc[0].rstrip('.')}"
    groups = [found[hold] for hold in HOLDS[1:] if found[hold]]
    second = "; ".join(map(_elsewhere, groups)) or "There is one dataset and one model, so no unseen one"
    if groups:
        best = max((c for part in groups for c in part), key=lambda c: c.score["tau"])
        score, scope = best.score, next(scope for scope in asked if scope.name == best.scope)
        chance = scope.row(best.hold, RANDOM)
        guess = f"in {score['best']:.0%}" if isfinite(score["best"]) else "in none"
        by_chance = f" (by chance {chance['best']:.0%})" if chance is not None else ""
        third = (
            f"On {best.where}, the one that topology puts first is the best {guess} of "
            f"{counted(int(score['groups']), 'group')}{by_chance} and costs {100 * score['regret']:.1f} points of "
            "accuracy"
        )
        perfect = scope.row(best.hold, PERFECT)
    else:
        third = f"{counted(int(head.score['groups']), 'group')} were ranked"
        perfect = next(scope for scope in asked if scope.name == head.scope).row(head.hold, PERFECT)
    noise = (
        f"; a perfect score would have a τ of about {decimal(perfect['tau'])}, as seeds vary"
        if perfect is not None
        else ""
    )
    return _sentence(first), _sentence(second), _sentence(third + noise)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _page_table(summary: pd.DataFrame) -> pd.DataFrame:
    ranked = summary[summary["tau"].notna()]
    wide = ranked.pivot_table("tau", "features", ["scope", "held_out"])
    order = [f for f in sorted(summary["features"].unique(), key=_place) if f in wide.index]
    heads = [(s, h) for s in summary["scope"].unique() for h in HOLDS if (s, h) in wide.columns]
    # Where a way of leaving out gave nothing but the random order there is nothing to compare.
    heads = [head for head in heads if wide[head].notna().sum() > 1]
    wide = wide.loc[order, heads].round(2)
    wide.columns = [_head(*head) for head in heads]
    return wide.set_axis([_label(f) for f in order]).rename_axis("score").reset_index()


def _head(scope: str, hold: str) -> str:
    return f"{HELD_OUT_GROUPS[hold]}, {scope}"


def _columns(asked: list[_Scope]) -> dict[str, str]:
    meanings = {
        "score": "What ranks: orders that know no mask, size alone, sets of metrics. Past results are those of the "
        "same model, where the model is unseen of the same dataset; of an unseen algorithm there are its family's only."
    }
    for scope in asked:
        for hold in HOLDS:
            if scope.comparison(hold) is not None:
                which = (
                    f"the {scope.algorithms} algorithms {scope.name if scope.name == INITIAL else 'of all families'}"
                )
                meanings[_head(scope.name, hold)] = f"Mean τ-b with the true order of {which}, {_unseen(hold)}."
    return meanings


def _unseen(hold: str) -> str:
    return "two of them unseen at a time" if hold == "pruner" else f"each {hold} unseen in turn"
