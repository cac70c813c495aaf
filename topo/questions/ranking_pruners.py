"""Question 4: can topology rank pruning algorithms where it was not learned?"""

from __future__ import annotations

import pandas as pd

from ..errors import InputError
from ..plots.interval_dots import interval_dots
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import feature_sets, set_label
from ..results.labels import counted, decimal
from ..stats.ranking import ranking_table
from ..stats.regression import same_rows
from .answer import Answer, Verdict
from .grouping import HELD_OUT, limit_networks, networks_with_drop, normalised_layer_sets
from .registry import QUESTIONS

__all__ = ["ranking_pruners"]

TITLE = "Ranking of pruning algorithms"
QUESTION = "Can topology rank pruning algorithms on a dataset, architecture or algorithm that it was not learned on?"
HELD_OUT_GROUPS = HELD_OUT | {"pruner": "unseen algorithms"}
BASELINES = ("random", "past", "density", "edges_density", "another seed")
LABELS = {"past": "past results, no topology", "another seed": "another seed (ceiling)", "random": "random order"}


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
    wanted = ["density", "edges_density", "ramanujan", "multipartite", "multipartite_untrained"]
    wanted += normalised_layer_sets(sets)
    sets = {n: sets[n] for n in wanted if n in sets}
    topology = [n for n in sets if n not in BASELINES]
    if not topology:
        return Answer.without(TITLE, QUESTION, "the table has no metric that varies.")
    table = same_rows(table, sets)
    table, left_out = limit_networks(table, seed=seed)
    scopes = {"all families": table}
    initial = table[table["family"] == "initial"]
    if 3 <= initial["pruner"].nunique() < table["pruner"].nunique():
        scopes["at initialisation"] = initial
    summaries, groups = [], []
    for scope, part in scopes.items():
        summary, each = ranking_table(part, sets, seed=seed)
        summaries.append(summary.assign(scope=scope))
        groups.append(each.assign(scope=scope))
    summary = pd.concat(summaries, ignore_index=True)
    learned = summary[summary["features"].isin(topology) & summary["tau"].notna()]
    if learned.empty:
        reason = summary.loc[summary["reason"].fillna("") != "", "reason"].iloc[0].rstrip(".")
        return Answer.without(TITLE, QUESTION, f"no group can be ranked: {reason}.", tables={"ranking": summary})
    return Answer(
        TITLE,
        QUESTION,
        _sentences(summary, learned),
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
        {"ranking": summary, "groups": pd.concat(groups, ignore_index=True)},
        caption=(
            "Dots: mean over groups (one dataset, model and sparsity) of Kendall's τ-b between the order of algorithms "
            "by predicted drop and by true drop; 1 is the true order, 0 none of it. Lines: 95% intervals over pairs of "
            "dataset and model, where there are three. 'Another seed' is how well one seed orders the others."
        ),
        method=(
            f"Target: {meaning}. A random forest learns the drop from each set of metrics without the group left out; "
            "drops are averaged over seeds and ranked inside each group. For unseen algorithms half of them are left "
            "out together, six times, and ranked among themselves. 'Past results' ranks by the algorithms' mean drop "
            f"in the groups seen. Rank-biased overlap is extrapolated, p = .8.{left_out}"
        ),
        caveats=(
            *(("The dense accuracy is not known; inside a group that changes no order.",) * (meaning == TO_BEST)),
            "Overlaps for unseen algorithms are of shorter lists, so larger: compare them with each other only.",
            "The best of several sets is chosen on the groups that score it, so the best numbers are a little high.",
            "Over all families the training recipes differ, which metrics of trained weights can see.",
        ),
        verdict=_verdict(learned),
        titles={"ranking": _title(learned)},
        summary=_page_table(summary),
        columns={
            "score": "What the algorithms are ranked by.",
            **{text: f"Mean Kendall's τ-b with the true order, {text}." for text in HELD_OUT_GROUPS.values()},
        },
    )


def _headline(learned: pd.DataFrame) -> pd.Series:
    """The best score for unseen algorithms of the narrowest scope, or of whatever else there is."""
    part = learned[learned["scope"] == learned["scope"].iloc[-1]]
    part = part[part["held_out"] == ("pruner" if (part["held_out"] == "pruner").any() else part["held_out"].iloc[0])]
    return part.loc[part["tau"].idxmax()]


def _verdict(learned: pd.DataFrame) -> Verdict:
    best = _headline(learned)
    return Verdict(
        "open",
        f"Can not tell: the best score for {HELD_OUT_GROUPS[best['held_out']]}, {best['scope']}, has τ "
        f"{best['tau']:.2f}.",
    )


def _title(learned: pd.DataFrame) -> str:
    best = _headline(learned)
    return f"Topology ranks {HELD_OUT_GROUPS[best['held_out']]} ({best['scope']}) with τ up to {best['tau']:.2f}"


def _page_table(summary: pd.DataFrame) -> pd.DataFrame:
    part = summary[summary["scope"] == summary["scope"].iloc[-1]]
    wide = part.pivot_table("tau", "features", "held_out").reindex(part["features"].unique()).round(2)
    wide = wide.rename(columns=HELD_OUT_GROUPS)[[t for h, t in HELD_OUT_GROUPS.items() if h in wide.columns]]
    return wide.set_axis([_label(n) for n in wide.index]).rename_axis("score").rename_axis(None, axis=1).reset_index()


def _label(name: str) -> str:
    return LABELS.get(name) or set_label(name)


def _sentences(summary: pd.DataFrame, learned: pd.DataFrame) -> tuple[str, str, str]:
    def listed(scope: str) -> str:
        parts = []
        for hold, text in HELD_OUT_GROUPS.items():
            of = learned[(learned["scope"] == scope) & (learned["held_out"] == hold)]
            if len(of):
                best = of.loc[of["tau"].idxmax()]
                parts.append(f"{text} {best['tau']:.2f} ({_label(best['features'])}, overlap {decimal(best['rbo'])})")
        return ", ".join(parts)

    scopes = list(dict.fromkeys(summary["scope"]))
    first = f"The best τ of a score learned from topology is, over all families: {listed(scopes[0])}"
    first += f"; among algorithms that prune at initialisation: {listed(scopes[1])}." if len(scopes) > 1 else "."
    base = summary[(summary["scope"] == scopes[0]) & summary["features"].isin(BASELINES) & summary["tau"].notna()]
    parts = []
    for name, part in base.groupby("features", sort=False):
        if name in ("random", "another seed"):  # the same whatever is left out
            parts.append(f"{_label(name)} {part['tau'].iloc[0]:.2f}")
        else:
            each = (f"{r.tau:.2f} ({HELD_OUT_GROUPS[r.held_out]})" for r in part.itertuples())
            parts.append(f"{_label(name)} {', '.join(each)}")
    second = f"For comparison, over all families: {'; '.join(parts)}."
    best = learned.loc[learned["tau"].idxmax()]
    guess = f"{best['best']:.0%}" if pd.notna(best["best"]) else "no"
    third = (
        f"Where ranking works best ({_label(best['features'])}, {HELD_OUT_GROUPS[best['held_out']]}, "
        f"{best['scope']}), the algorithm put first is the best one in {guess} of "
        f"{counted(int(best['groups']), 'group')} and costs {100 * best['regret']:.1f} points of accuracy on average."
    )
    return first, second, third
