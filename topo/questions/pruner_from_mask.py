"""Question 5: can one tell the pruning algorithm from the mask?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..errors import InputError
from ..plots.confusion import confusion_matrix
from ..plots.interval_dots import interval_dots
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, feature_sets, mask_only_set, set_label
from ..results.labels import counted, decimal, listed
from ..results.schema import PAIR
from ..stats.classification import classification_table, confusion_shares, relative_to_group
from ..stats.regression import same_rows
from .answer import Answer
from .grouping import HELD_OUT, held_out_columns, limit_networks, networks_with_drop
from .registry import QUESTIONS

__all__ = ["pruner_from_mask"]

TITLE = "The algorithm behind a mask"
QUESTION = "Which family or algorithm made a mask: can its topology alone tell?"
NAMES = {"family": "family", "pruner": "algorithm"}
CLASSIFIER_NAMES = {"forest": "random forest", "logistic": "logistic regression"}
POOLED, RELATIVE = "as measured", "relative to its group"


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
    sets = feature_sets(table)
    mask_only = [mask_only_set(sets, encoding) for encoding in (WHOLE_NETWORK, "rolled")]
    wanted = ["mean", "sparsity", "density", "edges_density", WHOLE_NETWORK, *mask_only]
    sets = {n: sets[n] for n in wanted if n in sets}
    if not {n for n in sets if n not in ("mean", "sparsity")}:
        return Answer.without(TITLE, QUESTION, "the table has no metric that varies.")
    table, left_out = limit_networks(same_rows(table, sets), seed=seed)
    holds = held_out_columns(table, PAIR) or ["seed"]
    columns = [c for s in sets.values() for c in s]
    pieces = []
    predictions: dict[tuple[str, ...], pd.DataFrame] = {}
    for view, data in ((POOLED, table), (RELATIVE, relative_to_group(table, columns))):
        models = ("logistic", "forest") if view == POOLED else ("forest",)
        part, predicted = classification_table(data, sets, by=holds, models=models, seed=seed)
        pieces.append(part.assign(view=view))
        predictions |= {(view, *key): value for key, value in predicted.items()}
    scores = pd.concat(pieces, ignore_index=True)
    if scores["balanced_accuracy"].notna().sum() == 0:
        reason = scores["reason"].iloc[0].rstrip(".")
        return Answer.without(TITLE, QUESTION, f"nothing can be told apart: {reason}.", tables={"scores": scores})
    best = _best(scores, mask_only)
    figures, tables = {"telling": _draw(scores, holds)}, {"scores": scores}
    for label, row in best.items():
        shares = confusion_shares(predictions[row["view"], label, row["held_out"], row["features"], row["model"]])
        name = f"confusion_of_{label}"
        tables[name] = shares.rename_axis("made by").reset_index()
        figures[name] = confusion_matrix(
            shares, title=f"{label.capitalize()}: {set_label(row['features'])}, {HELD_OUT[row['held_out']]}"
        ).figure
    return Answer(
        TITLE,
        QUESTION,
        _sentences(scores, best, tables),
        figures,
        tables,
        caption=(
            "Balanced accuracy: the mean over kinds of the share told rightly, so that guessing scores one over the "
            "number of kinds. 'Relative to its group' measures each metric against the other networks of the same "
            "dataset, model and sparsity. Confusion matrices: rows add up to 1."
        ),
        method=(
            "Random forest, and logistic regression on the metrics as measured, classes weighted equally; whole "
            f"{' or '.join(holds)}s left out; percentile intervals over resampled groups of dataset, model and "
            "sparsity. 'Mask only' sets hold no "
            "metric of trained weights; the others see the training recipe too. Baselines: the most frequent kind, "
            f"sparsity, layer density, edges and density.{left_out}"
        ),
        caveats=(
            "The same algorithms are in every fold: this recognises known ones, not new ones.",
            "Metrics of trained weights tell recipes apart; read the mask-only rows for topology.",
            "Measuring a network against its group takes the other networks of the group, though not their labels.",
        ),
    )


def _best(scores: pd.DataFrame, mask_only: Sequence[str | None]) -> dict[str, pd.Series]:
    """For each label the mask-only set that tells it best."""
    best = {}
    for label, part in scores.groupby("label", sort=False):
        part = part[part["balanced_accuracy"].notna() & (part["columns"] > 0)]
        mask = part[part["features"].isin(mask_only)]
        part = mask if len(mask) else part
        if len(part):
            best[label] = part.loc[part["balanced_accuracy"].idxmax()]
    return best


def _draw(scores: pd.DataFrame, holds: list[str]):
    shown = scores[scores["model"].isin(["forest", "most frequent"])].copy()
    shown["panel"] = shown["label"] + ", " + shown["held_out"].map(HELD_OUT)
    heads = {f"{k}, {HELD_OUT[h]}": f"{k}, {HELD_OUT[h]}" for k in ("family", "pruner") for h in holds}
    return interval_dots(
        shown, row="features", value="balanced_accuracy", low="low", high="high", panel="panel", variant="view",
        heads=heads, label=lambda n: "most frequent kind" if n == "mean" else set_label(n), axis="balanced accuracy",
        limits=(0, 1.02),
    )  # fmt: skip


def _sentences(scores: pd.DataFrame, best: dict, tables: dict) -> tuple[str, str, str]:
    others = []
    for label, row in best.items():
        same = scores[
            (scores["label"] == label) & (scores["held_out"] == row["held_out"]) & (scores["view"] == row["view"])
        ]
        same = same[same["model"].isin([row["model"], "most frequent"])].set_index("features")["balanced_accuracy"]
        shown = [n for n in ("density", "edges_density", "multipartite") if n in same.index]
        if shown:
            others.append(f"{NAMES[label]}: " + ", ".join(f"{set_label(n)} {decimal(same[n])}" for n in shown))
    second = f"On the same split the others reach: {'; '.join(others)}."
    if "multipartite" in set(scores["features"]):
        second = second.removesuffix(".") + " (multipartite alone sees trained weights)."
    if not others:
        second = "No other set of columns can be compared with it."
    label = "pruner" if "pruner" in best else next(iter(best))
    if _is_told(best[label]):
        third = _recognised(tables[f"confusion_of_{label}"].set_index("made by"), NAMES[label])
    else:
        third = f"So which {NAMES[label]} is taken for which is not to be read from its confusion matrix."
    return " ".join(_headline(label, row) for label, row in best.items()), second, third


def _is_told(score: pd.Series) -> bool:
    """Whether the interval of the balanced accuracy lies above chance; not where there is no interval."""
    return bool(score["low"] > score["chance"])


def _headline(label: str, score: pd.Series) -> str:
    """Whether the label can be told, with what was reached, by which classifier, and in how many networks."""
    reached = f"balanced accuracy {score['balanced_accuracy']:.2f}"
    known = pd.notna(score["low"])
    if known:
        reached += f", 95% interval {score['low']:.2f} to {score['high']:.2f}"
    where = f"{set_label(score['features'])}, {HELD_OUT[score['held_out']]}, {score['view']}"
    how = (
        f"{counted(int(score['n']), 'network')} of {int(score['kinds'])} kinds: {reached}, chance "
        f"{score['chance']:.2f} ({CLASSIFIER_NAMES[score['model']]}, {where})"
    )
    if _is_told(score):
        return f"Metrics of the mask tell the {NAMES[label]} of {how}."
    if known:
        return f"Metrics of the mask do not tell the {NAMES[label]} of {how}."
    return (
        f"Whether metrics of the mask tell the {NAMES[label]} is open, for there are too few groups of dataset, model "
        f"and sparsity for an interval; of {how}."
    )


def _recognised(shares: pd.DataFrame, name: str) -> str:
    """Which kinds are recognised best and worst, and which two are confused most."""
    own = pd.Series({n: shares.loc[n, n] for n in shares.index}).dropna()
    away = shares.rename_axis(columns="taken for").reset_index().melt("made by", value_name="share").dropna()
    away = away[away["made by"] != away["taken for"]]
    if own.min() == 1:
        return f"Every {name} is recognised in all of its networks."
    most = away.loc[away["share"].idxmax()]
    confused = f"most often {most['made by']} is taken for {most['taken for']} ({most['share']:.0%})."
    if own.min() == own.max():
        return f"Every {name} is recognised equally often ({own.max():.0%}); {confused}"
    best, worst = (listed(own.index[own == value]) for value in (own.max(), own.min()))
    return f"Recognised best: {best} ({own.max():.0%}); worst: {worst} ({own.min():.0%}); {confused}"
