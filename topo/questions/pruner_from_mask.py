"""Question 5: can one tell the pruning algorithm from the mask?"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

import pandas as pd
from matplotlib.figure import Figure

from ..errors import InputError, counted
from ..plots.confusion import confusion_matrix
from ..plots.interval_dots import interval_dots
from ..plots.theme import figure_of
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set, set_label
from ..results.labels import listed, p_value_text
from ..results.schema import PAIR
from ..stats.classification import confusion_shares, relative_to_group
from ..stats.recognition_table import recognition_table
from ..stats.regression import same_rows
from ..stats.significance import interval_sign, significant, with_q_values
from .answer import Answer, Said, Verdict
from .grouping import (
    HELD_OUT,
    WIRING,
    WIRING_LABEL,
    held_out_columns,
    limit_networks,
    networks_with_drop,
    wiring_columns,
)
from .registry import QUESTIONS

__all__ = ["pruner_from_mask"]

TITLE = "The algorithm behind a mask"
QUESTION = "Which algorithm made a mask, and of which family is it: can topology alone tell?"
NOUNS = {"pruner": "algorithm", "family": "family"}
ALONE, RELATIVE = "as measured", "relative to its group"
# Sparsity is the same in all networks of a group, so it names nothing.
BASELINES = ("density", "edges_density")
TOPOLOGY, WITH_DENSITY = "topology", "density_topology"
LABELS = {
    TOPOLOGY: "all topology, mask only",
    WITH_DENSITY: "layer density + all topology",
    WIRING: WIRING_LABEL,
}
# An accuracy so near to chance, as a share of the way to certainty, is as good as none.
AS_GOOD_AS_NONE = 0.1
# Shares that differ by no more are named together: which one is largest hangs on the seed of the forests.
AS_OFTEN = 0.1
MOST_NAMES = 3
COLUMNS = {
    "read from": "columns that the forest sees; z-scores are against random masks with equal layer densities",
    "algorithm named": "share of masks whose algorithm is named rightly, every algorithm weighing the same",
    "95% interval": "of the share to its left, over algorithms",
    "q": "false-discovery rate of the permutation test against chance, to the left",
    "one mask alone": "the share named rightly when metrics are not compared with those of the group",
    "family named": "share of masks of an unseen algorithm whose family is named rightly, every algorithm of a family "
    "and every family weighing the same",
    "95% interval ": "of the share to its left, over algorithms",
    "q ": "false-discovery rate of the permutation test against chance, to the left",
}


@QUESTIONS.register("pruner_from_mask", number=5)
def pruner_from_mask(evidence: Evidence, *, seed: int = 0) -> Answer:
    """Can one tell the pruning algorithm, or its family, from the mask?

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
        table = networks_with_drop(evidence)[0]
    except InputError as error:
        return Answer.without(TITLE, QUESTION, str(error))
    sets = _sets(table)
    if not sets:
        return Answer.without(TITLE, QUESTION, evidence.no_metric())
    table, left_out = limit_networks(same_rows(table, sets), seed=seed)
    if table.empty:
        return Answer.without(TITLE, QUESTION, "no network has values of every kind of metric.")
    holds = held_out_columns(table, reversed(PAIR)) or ["seed"]
    columns = [column for columns in sets.values() for column in columns]
    relative, predictions = recognition_table(relative_to_group(table, columns), sets, by=holds, seed=seed)
    short = {name: sets[name] for name in ("density", *_topology(sets)[-1:], WITH_DENSITY) if name in sets}
    alone, _ = recognition_table(table, short, by=holds, labels=["pruner"], seed=seed)
    scores = pd.concat([relative.assign(view=RELATIVE), alone.assign(view=ALONE)], ignore_index=True)
    splits = scores.groupby(["label", "held_out", "view"], sort=False)
    scores = pd.concat([with_q_values(part) for _, part in splits], ignore_index=True)
    named = scores[(scores["label"] == "pruner") & (scores["view"] == RELATIVE)]
    if named["balanced_accuracy"].isna().all():
        reason = named["reason"].iloc[0].rstrip(".")
        return Answer.without(TITLE, QUESTION, f"nothing can be told apart: {reason}.", tables={"scores": scores})
    best, best_family = (_headline(scores, label, _topology(sets)) for label in NOUNS)
    figures, tables = {"telling": _draw(scores, holds)}, {"scores": scores}
    titles = {"telling": _title(best)}
    caveats = [
        "The same algorithms are in every fold when the algorithm is named: this recognises known ones.",
        "Measuring a network against its group takes the other networks of the group, though not their names; one mask "
        "alone can only be read as it was measured.",
        "Forests are random: with another seed shares differ by some points, and so do the ends of intervals over few "
        "algorithms.",
    ]
    for label, row in zip(NOUNS, (best, best_family), strict=True):
        if row is None:
            continue
        if not _told(row):
            caveats.append(
                f"The {NOUNS[label]} is not told, so no figure shows which {NOUNS[label]} is taken for which."
            )
            continue
        shares = confusion_shares(predictions[label, row["held_out"], row["features"]])
        name = f"confusion_of_{label}"
        tables[name] = shares.rename_axis("made by").reset_index()
        figures[name] = figure_of(confusion_matrix(shares))
        titles[name] = _recognised(shares, NOUNS[label])
    return Answer(
        TITLE,
        QUESTION,
        (_first(best), _second(scores, best), _third(scores, best_family)),
        figures,
        tables,
        caption=(
            "Share of masks named rightly, every name weighing the same, with 95% intervals over algorithms; the line "
            "is guessing. 'Relative to its group' measures each metric against the other networks of the same dataset, "
            "model and sparsity. Confusion matrices: rows add up to 1."
        ),
        method=(
            "Forests of extremely randomised trees, names weighted equally; "
            f"{listed([f'whole {hold}s' for hold in holds])} held out when the "
            "algorithm is named, and whole algorithms when the family is: a forest that knows the other algorithms "
            "says which of them a network resembles, and the family of those, on average, is the answer. No set holds "
            "a metric that reads weights. Intervals: Student's t over algorithms. Tests: names permuted among the "
            "algorithms of each held-out group, the p-values of most groups combined; for families algorithms permuted "
            "among them; Benjamini-Hochberg over all sets of a split. Power: algorithms told in all of their networks "
            "of a group or in none, half of the sets being clear. Baselines: layer density, edges and "
            f"density.{left_out}"
        ),
        caveats=tuple(caveats),
        verdict=_verdict(scores, best, best_family),
        titles=titles,
        summary=_summary(scores, holds[0]),
        columns=COLUMNS,
    )


def _sets(table: pd.DataFrame) -> dict[str, list[str]]:
    """Baselines, the mask-only metrics of every encoding, all of these together, and with the layer densities."""
    offered = feature_sets(table)
    sets = {name: offered[name] for name in BASELINES if name in offered}
    mask_only = [mask_only_set(offered, encoding) for encoding in (WHOLE_NETWORK, *encodings_of(offered))]
    sets |= {name: offered[name] for name in mask_only if name in offered}
    every = list(dict.fromkeys(column for name in mask_only if name for column in offered[name]))
    if len(list(filter(None, mask_only))) > 1:
        sets[TOPOLOGY] = every
    if every and "density" in sets:
        sets[WITH_DENSITY] = list(dict.fromkeys([*sets["density"], *every]))
    if controls := wiring_columns(table, offered):
        sets[WIRING] = controls
    return sets


def _topology(sets: Iterable[str]) -> list[str]:
    """Sets of metrics of the mask, the largest last."""
    return [name for name in sets if name not in (*BASELINES, WITH_DENSITY, WIRING)]


def _headline(scores: pd.DataFrame, label: str, topology: list[str]) -> pd.Series | None:
    """The row of all topology together, relative to the group, or the clearest one where only others are clear."""
    part = scores[(scores["label"] == label) & (scores["view"] == RELATIVE) & scores["balanced_accuracy"].notna()]
    part = part[part["held_out"] == part["held_out"].iloc[0]] if len(part) else part
    wanted = part[part["features"].isin(topology or BASELINES)]
    if wanted.empty:
        return None
    if significant(wanted).any() and not significant(wanted.iloc[-1:]).any():
        return wanted.loc[wanted["q"].idxmin()]
    return wanted.iloc[-1]


def _told(row: pd.Series) -> bool:
    return bool(significant(row.to_frame().T).iloc[0])


def _label(name: str) -> str:
    return LABELS.get(name) or set_label(name)


def _what(row: pd.Series) -> str:
    return _label(row["features"]) if row["features"] in BASELINES else "topology"


def _beside(scores: pd.DataFrame, row: pd.Series) -> pd.Series:
    """Balanced accuracy of every set on the split and in the view of a row."""
    same = (scores[["label", "held_out", "view"]] == row[["label", "held_out", "view"]]).all(axis=1)
    return scores[same].set_index("features")["balanced_accuracy"].dropna()


def _draw(scores: pd.DataFrame, holds: list[str]) -> Figure:
    shown = scores[scores["balanced_accuracy"].notna()].copy()
    shown["panel"] = shown["label"].map(NOUNS) + ", " + shown["held_out"].map(HELD_OUT)
    heads = [f"algorithm, {HELD_OUT[hold]}" for hold in holds] + [f"family, {HELD_OUT['pruner']}"]
    return interval_dots(
        shown, row="features", value="balanced_accuracy", low="low", high="high", panel="panel", variant="view",
        heads={head: head for head in heads}, label=_label, axis="share named rightly", limits=(0, 1.02),
        line=shown.groupby("panel")["chance"].first().to_dict(),
    )  # fmt: skip


def _title(row: pd.Series) -> str:
    """What is named, how often, and what guessing would give."""
    return (
        f"{_what(row)[0].upper()}{_what(row)[1:]} names the right one of "
        f"{counted(int(row['kinds']), 'algorithm')} for {row['balanced_accuracy']:.0%} of masks of an "
        f"{HELD_OUT[row['held_out']]} (guessing {row['chance']:.0%})"
    )


def _verdict(scores: pd.DataFrame, row: pd.Series, family: pd.Series | None) -> Verdict:
    """Whether the algorithm is told, against layer density and chance, and whether the family is."""
    said: Said = "yes" if _told(row) else "no" if _as_good_as_none(row) else "open"
    score, chance, kinds = row["balanced_accuracy"], row["chance"], int(row["kinds"])
    where = f"of an {HELD_OUT[row['held_out']]}"
    if said == "yes":
        text = (
            f"Yes: {_what(row)} names the right one of {kinds} algorithms for {score:.0%} of masks {where} (guessing "
        )
        text += f"{chance:.0%}{_against_density(scores, row)})."
    elif said == "no":
        text = (
            f"No: {_what(row)} names the right one of {kinds} algorithms for {score:.0%} of masks {where}, which is no "
        )
        text += f"better than guessing ({chance:.0%}; at most {row['high']:.0%} with 95% confidence)."
    else:
        text = f"Can not tell: {_what(row)} names the right one of {kinds} algorithms for {score:.0%} of masks {where} "
        text += f"(guessing {chance:.0%}; {_found(row)})."
    if family is not None:
        numbers = f"({family['balanced_accuracy']:.0%}, guessing {family['chance']:.0%}"
        if _told(family):
            text += f" It tells the family of an unseen algorithm too {numbers})."
        else:
            text += f" Whether it tells the family of an unseen algorithm is open {numbers}; {_found(family)})."
    return Verdict(said, text)


def _as_good_as_none(row: pd.Series) -> bool:
    return bool(row["high"] < row["chance"] + AS_GOOD_AS_NONE * (1 - row["chance"]))


def _found(row: pd.Series) -> str:
    """What would have been found with the power that is asked for."""
    if not isfinite(row["found"]):
        return "so few algorithms show nothing, however often they are named"
    return f"{row['found']:.0%} would have been found in 80% of cases"


def _against_density(scores: pd.DataFrame, row: pd.Series) -> str:
    density = _beside(scores, row).get("density")
    if density is None:
        return ""
    how = {1: "", 0: ", not clearly less", -1: ", clearly more"}[int(interval_sign(row["gain_low"], row["gain_high"]))]
    wiring = _beside(scores, row).get(WIRING)
    also = "" if wiring is None else f"; wiring alone {wiring:.0%}"
    return f", layer densities alone {density:.0%}{how}{also}"


def _with_interval(row: pd.Series) -> str:
    text = f"{row['balanced_accuracy']:.0%}"
    if isfinite(row["low"]):
        text += f" (95% interval {row['low']:.0%} to {row['high']:.0%})"
    return text


def _first(row: pd.Series) -> str:
    verb = "name" if _told(row) else "do not clearly name"
    return (
        f"Metrics of the mask {verb} the algorithm of masks of an {HELD_OUT[row['held_out']]}: the right one of "
        f"{counted(int(row['kinds']), 'algorithm')} for {_with_interval(row)} of {counted(int(row['n']), 'network')}, "
        f"where guessing gives {row['chance']:.0%} (q {p_value_text(row['q'])}; {_label(row['features'])}, "
        f"{row['view']})."
    )


def _second(scores: pd.DataFrame, row: pd.Series) -> str:
    """What columns without topology reach on the same split, and what topology has beyond layer densities."""
    same = _beside(scores, row)
    others = [f"{_label(name)} {same[name]:.0%}" for name in BASELINES if name in same]
    text = f"On the same masks {listed(others)}" if others else "There is no column without topology to compare with"
    if "density" in same and isfinite(row["gain"]):
        text += f"; topology names {_points(row)} {'than' if round(100 * row['gain']) else 'as'} layer density"
        combined = scores[(scores["features"] == WITH_DENSITY) & (scores["view"] == row["view"])]
        combined = combined[(combined["label"] == row["label"]) & (combined["held_out"] == row["held_out"])]
        if len(combined) and isfinite(combined["gain"].iloc[0]):
            text += f", both together {_points(combined.iloc[0])}"
    if WIRING in same:
        text += f"; wiring alone, z-scores against random masks with the same layer densities, {same[WIRING]:.0%}"
    return text + "."


def _points(row: pd.Series) -> str:
    points = round(100 * row["gain"])
    text = f"{abs(points)} points {'less' if points < 0 else 'more'}" if points else "as many"
    if isfinite(row["gain_low"]):
        ends = round(100 * row["gain_low"]), round(100 * row["gain_high"])
        text += f" (95% interval {ends[0]} to {ends[1]} points)".replace("-", "−")
    return text


def _third(scores: pd.DataFrame, row: pd.Series | None) -> str:
    if row is None:
        part = scores[scores["label"] == "family"]
        return f"The family of an unseen algorithm cannot be asked for: {part['reason'].iloc[0]}"
    same = _beside(scores, row)
    others = [f"{_label(name)} {same[name]:.0%}" for name in BASELINES if name in same]
    return (
        f"With an algorithm held out, its family is {'told' if _told(row) else 'not clearly told'}: the right one of "
        f"{counted(int(row['kinds']), 'family')} for {_with_interval(row)} of networks of "
        f"{counted(int(row['algorithms']), 'algorithm')}, where guessing gives {row['chance']:.0%} (q "
        f"{p_value_text(row['q'])}; {_label(row['features'])})" + (f"; {listed(others)}." if others else ".")
    )


def _summary(scores: pd.DataFrame, hold: str) -> pd.DataFrame:
    """One row a set of columns: what it names, and how sure that is."""
    relative, alone = (scores[scores["view"] == view] for view in (RELATIVE, ALONE))
    named = relative[(relative["label"] == "pruner") & (relative["held_out"] == hold)].set_index("features")
    family = relative[relative["label"] == "family"].set_index("features")
    one = alone[alone["held_out"] == hold].set_index("features")["balanced_accuracy"]
    rows = []
    for name in named.index:
        values = [_label(name), *_cells(named.loc[name]), _share(one.get(name)), *_cells(family.loc[name])]
        rows.append(values)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.loc[:, (table != "").any()]


def _cells(row: pd.Series) -> tuple[str, str, str]:
    interval = f"{row['low']:.0%} to {row['high']:.0%}" if isfinite(row["low"]) else ""
    return _share(row["balanced_accuracy"]), interval, p_value_text(row["q"]) if isfinite(row["q"]) else ""


def _share(value: float | None) -> str:
    return f"{value:.0%}" if value is not None and isfinite(value) else ""


def _recognised(shares: pd.DataFrame, name: str) -> str:
    """Which kinds are recognised best and worst, and which two are confused most."""
    own = pd.Series({n: shares.loc[n, n] for n in shares.index}).dropna().sort_values(ascending=False, kind="stable")
    away = shares.rename_axis("made by").rename_axis(columns="taken for").reset_index()
    away = away.melt("made by", value_name="share").dropna()
    away = away[away["made by"] != away["taken for"]]
    if own.min() == 1:
        return f"Every {name} is recognised in all of its networks."
    away = away[away["share"] >= away["share"].max() - AS_OFTEN].sort_values("share", ascending=False, kind="stable")
    pairs = [f"for {row['taken for']} ({row['share']:.0%})" for _, row in away.head(MOST_NAMES).iterrows()]
    verbs = ["is taken ", *[""] * (len(pairs) - 1)]
    confused = listed([f"{n} {v}{p}" for n, v, p in zip(away["made by"].head(MOST_NAMES), verbs, pairs, strict=True)])
    more = len(away) - len(pairs)
    confused = f"most often {confused}{f' and {more} more nearly as often' if more else ''}."
    if own.max() - own.min() <= AS_OFTEN:
        about = "" if own.max() == own.min() else "about "
        return f"Every {name} is recognised {about}equally often ({_ends(own)}); {confused}"
    best, worst = own[own >= own.max() - AS_OFTEN], own[own <= own.min() + AS_OFTEN][::-1]
    return f"Recognised best: {_names(best)}; worst: {_names(worst)}; {confused}"


def _names(of: pd.Series) -> str:
    more = len(of) - MOST_NAMES
    names = [*of.index[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])]
    return f"{listed(names)} ({_ends(of)})"


def _ends(of: pd.Series) -> str:
    low, high = f"{of.min():.0%}", f"{of.max():.0%}"
    return high if low == high else f"{low} to {high}"
