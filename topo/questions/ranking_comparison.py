"""What question 4 says of topology beside the best score that knows none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import pandas as pd

from ..errors import counted
from ..results.feature_sets import set_label
from ..results.labels import decimal, listed, p_value_text
from ..results.schema import ALL_FAMILIES
from ..stats.baselines import CELL_LABELS, strongest
from ..stats.ranking import RANDOM
from ..stats.significance import FALSE_DISCOVERY_RATE, interval_sign
from .answer import Said, Verdict
from .grouping import HELD_OUT, WIRING, WIRING_LABEL

__all__ = [
    "BASELINES",
    "HELD_OUT_GROUPS",
    "HOLDS",
    "INITIAL",
    "PERFECT",
    "SIZES",
    "Comparison",
    "RankedScope",
    "compared",
    "headline",
    "page_columns",
    "page_table",
    "place_of",
    "ranking_sentences",
    "ranking_title",
    "ranking_verdict",
    "score_label",
]

INITIAL = "at initialisation"
# The order in which what is left out is asked for: only unseen algorithms have no results of their own to go by.
HOLDS = ("pruner", "dataset", "model")
HELD_OUT_GROUPS = {hold: HELD_OUT[hold] for hold in HOLDS} | {"pruner": "unseen algorithms"}
SIZES = ("density", "edges_density")
BASELINES = (*CELL_LABELS, *SIZES)
PERFECT = "perfect"
MEANING_OF_TAU = "Mean Kendall's τ-b (1 is the true order, 0 none of it, −1 the reverse) with the true order of"
LABELS = {RANDOM: "random order", PERFECT: "a perfect score, as seeds vary"}
LABELS[WIRING] = WIRING_LABEL
LABELS |= {name: f"past results by {label}" for name, label in CELL_LABELS.items()}


@dataclass(frozen=True)
class RankedScope:
    """What was found among the algorithms of one scope: the tables of `topo.stats.ranking`, and the set in question."""

    name: str
    topology: str
    summary: pd.DataFrame
    differences: pd.DataFrame
    groups: pd.DataFrame
    algorithms: int

    def row(self, hold: str, features: str) -> pd.Series | None:
        """The row of a score in the ranking, None where it has no tau."""
        rows = self.summary[(self.summary["held_out"] == hold) & (self.summary["features"] == features)]
        rows = rows[rows["tau"].notna()]
        return rows.iloc[0] if len(rows) else None

    def comparison(self, hold: str) -> Comparison | None:
        """Topology and the best baseline, where `hold` is left out."""
        score = self.row(hold, self.topology)
        if score is None:
            return None
        rows = self.differences
        gain = rows[(rows["held_out"] == hold) & (rows["features"] == self.topology)].iloc[0]
        baseline = self.row(hold, gain["baseline"])
        return Comparison(self.name, hold, score, baseline, gain)


@dataclass(frozen=True)
class Comparison:
    """Topology and the best baseline where something is left out: their rows of the ranking, and their difference."""

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


def place_of(features: str) -> int:
    """Place of a score in tables and figures: what knows no mask first, size next, topology last."""
    known = (RANDOM, *CELL_LABELS, *SIZES)
    return known.index(features) if features in known else len(known) + (features == PERFECT)


def headline(asked: Sequence[RankedScope]) -> Comparison | None:
    """Unseen algorithms at initialisation, or the first there is of the other comparisons."""
    found = (scope.comparison(hold) for hold in HOLDS for scope in asked)
    return next((comparison for comparison in found if comparison is not None), None)


def score_label(name: str) -> str:
    """A score's name as tables, figures and sentences write it."""
    return LABELS.get(name) or set_label(name)


def ranking_verdict(head: Comparison) -> Verdict:
    """Yes where topology clearly ranks better than the best baseline, no where it clearly does worse."""
    said: Said
    said, start = {1: ("yes", "Yes"), -1: ("no", "No"), 0: ("open", "Can not tell")}[head.sign]  # type: ignore[assignment]
    score, baseline = head.score, head.baseline
    chance = f"; p {p_value_text(score['p_labels'])} against chance" if head.hold == "pruner" else ""
    sentence = (
        f"{start}: of two {head.where}, topology puts the better one first in {score['right']:.0%} of cases "
        if head.hold == "pruner"
        else f"{start}: on {head.where}, topology puts the better of two first in {score['right']:.0%} of cases "
    )
    sentence += f"(Kendall's τ {decimal(score['tau'])}{chance}), {score_label(baseline['features'])} in "
    sentence += f"{baseline['right']:.0%} (τ {decimal(baseline['tau'])})."
    least = head.gain["detectable"]
    if said == "open" and least + baseline["tau"] > 1:
        sentence += " So much does this vary that only a nearly perfect score would have been told from it here."
    elif said == "open" and isfinite(least):
        sentence += f" A difference in τ of {decimal(least)} would have been found."
    return Verdict(said, sentence)


def ranking_title(head: Comparison) -> str:
    """What the figure shows, in one sentence."""
    how = {1: "clearly better than", -1: "clearly worse than", 0: "not clearly better than"}[head.sign]
    if head.sign == 0 and head.gain["difference"] <= 0:
        how = "no better than"
    return (
        f"Topology ranks {head.where} {how} {score_label(head.baseline['features'])} "
        f"(τ {decimal(head.score['tau'])} and {decimal(head.baseline['tau'])})"
    )


def _compared(one: Comparison) -> str:
    gain = one.gain
    interval = f", {decimal(gain['low'])} to {decimal(gain['high'])}" if isfinite(gain["low"]) else ""
    return (
        f"{one.where}: τ {decimal(one.score['tau'])} for topology and {decimal(one.baseline['tau'])} for "
        f"{score_label(one.baseline['features'])} (difference {decimal(gain['difference'])}{interval})"
    )


def _among(scope: str) -> str:
    return scope if scope == INITIAL else f"over {scope}"


def _elsewhere(comparisons: Sequence[Comparison]) -> str:
    """Topology and the best baseline in several scopes where the same thing is left out."""
    parts = [
        f"{decimal(c.score['tau'])} and {decimal(c.baseline['tau'])} ({score_label(c.baseline['features'])}) "
        + _among(c.scope)
        for c in comparisons
    ]
    where = _article(HELD_OUT_GROUPS[comparisons[0].hold])
    return f"on {where} the τ of topology and of the best baseline are {listed(parts)}"


def ranking_sentences(asked: Sequence[RankedScope], head: Comparison) -> tuple[str, str, str]:
    """Unseen algorithms, then unseen datasets and models, then what a choice by topology costs."""
    found = {hold: [c for scope in asked if (c := scope.comparison(hold)) is not None] for hold in HOLDS}
    first = "; ".join(_compared(c) for c in found["pruner"])
    wiring = next((row for scope in asked if (row := scope.row("pruner", WIRING)) is not None), None)
    if first and wiring is not None:
        first += f"; {WIRING_LABEL} has a τ of {decimal(wiring['tau'])} {_among(wiring['scope'])}"
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


def compared(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of what was left out where a score other than the random order was found."""
    scores = summary[summary["tau"].notna() & ~summary["features"].isin([RANDOM, PERFECT])]
    return summary[summary["held_out"].isin(scores["held_out"])]


def page_table(summary: pd.DataFrame, topology: str) -> pd.DataFrame:
    """Mean tau of every score, topology and what it has to beat first, a column for each scope and what is left out."""
    ranked = summary[summary["tau"].notna()]
    wide = ranked.pivot_table("tau", "features", ["scope", "held_out"])
    first = [topology, *SIZES, *strongest([f for f in wide.index if f in CELL_LABELS])]
    rest = sorted(wide.index, key=place_of)
    order = [f for f in dict.fromkeys([*first, *reversed(rest)]) if f in wide.index]
    heads = [(s, h) for s in summary["scope"].unique() for h in HOLDS if (s, h) in wide.columns]
    # Where a way of leaving out gave nothing but the random order there is nothing to compare.
    heads = [head for head in heads if wide[head].notna().sum() > 1]
    wide = wide.loc[order, heads].round(2)
    wide.columns = [_head(*head) for head in heads]
    return wide.set_axis([score_label(f) for f in order]).rename_axis("score").reset_index()


def _head(scope: str, hold: str) -> str:
    return f"{HELD_OUT_GROUPS[hold]}, {scope}"


def page_columns(asked: Sequence[RankedScope]) -> dict[str, str]:
    """What the columns of `page_table` mean."""
    meanings = {
        "score": "What ranks: sets of metrics, size alone, orders that know no mask. Past results are those of the "
        "same model, where the model is unseen of the same dataset; of an unseen algorithm there are its family's only."
    }
    for scope in asked:
        for hold in HOLDS:
            if scope.comparison(hold) is not None:
                which = (
                    f"the {scope.algorithms} algorithms {scope.name if scope.name == INITIAL else 'of all families'}"
                )
                same = len(meanings) > 1
                meanings[_head(scope.name, hold)] = (
                    f"{'The same for' if same else MEANING_OF_TAU} {which}, {_unseen(hold)}."
                )
    return meanings


def _unseen(hold: str) -> str:
    return "two of them unseen at a time" if hold == "pruner" else f"each {hold} unseen in turn"
