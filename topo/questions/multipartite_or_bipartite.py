"""Question 3: do multipartite encodings predict better than bipartite and Ramanujan ones?"""

from __future__ import annotations

from math import isfinite, nan

import numpy as np
import pandas as pd

from ..errors import InputError
from ..plots.interval_dots import interval_dots
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import BASELINES, encodings_of, feature_sets, set_label
from ..results.labels import counted, decimal, listed
from ..results.schema import GROUPS, PAIR, metric_label, reads_weights
from ..stats.collinearity import collinear_groups
from ..stats.comparison import comparison_table
from ..stats.explained import explained_table
from ..stats.importance import fold_agreement, permutation_importance, standardised_coefficients
from ..stats.regression import regression_table, same_rows
from ..stats.significance import significant
from .answer import Answer
from .grouping import HELD_OUT, held_out_columns, limit_networks, networks_with_drop, normalised_layer_sets
from .registry import QUESTIONS

__all__ = ["multipartite_or_bipartite"]

TITLE = "Multipartite or bipartite"
QUESTION = "Do multipartite encodings predict the accuracy drop better than bipartite and Ramanujan ones?"
FOLDS = 6
# What is predicted with groups held out: the baselines, and each encoding normalised where it can be.
PREDICTED = (*BASELINES, "multipartite", "multipartite_untrained")


@QUESTIONS.register("multipartite_or_bipartite", number=3)
def multipartite_or_bipartite(evidence: Evidence, *, seed: int = 0) -> Answer:
    """Do multipartite encodings predict better than bipartite and Ramanujan ones, pooled and within groups?

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
    if "multipartite" not in sets or not encodings_of(sets):
        lacking = "the whole network" if "multipartite" not in sets else "single layers"
        return Answer.without(TITLE, QUESTION, f"the table has no metric of {lacking} that varies.")
    table = same_rows(table, sets)
    explained = explained_table(table, sets)
    if explained["adjusted_r2"].isna().all():
        return Answer.without(TITLE, QUESTION, f"no set of metrics can be fitted: {explained['reason'].iloc[0]}.")
    chosen = {n: sets[n] for n in (*PREDICTED, *normalised_layer_sets(sets)) if n in sets}
    every_network = table
    table, left_out = limit_networks(every_network, seed=seed)
    note = left_out and f" Predictions and importance:{left_out}"
    scores, differences = _held_out(table, chosen, seed)
    if scores["r2"].notna().sum() == 0:
        tables = {"explained": explained, "held_out": scores}
        return Answer.without(TITLE, QUESTION, "no column leaves a whole group out: all hold one value.", tables=tables)
    importance, alone, coefficients, agreement = _importance(table, sets["multipartite"], scores, seed)
    return Answer(
        TITLE,
        QUESTION,
        _sentences(explained, scores, differences, sets),
        {
            "adjusted_r2": _draw_explained(explained),
            "held_out_r2": _draw_held_out(scores),
            "paired_differences": _draw_differences(differences),
            "importance": interval_dots(
                importance,
                row="name",
                value="importance",
                low="low",
                high="high",
                panel="panel",
                axis="held-out R² lost when permuted",
            ),
        },
        {
            "explained": explained,
            "held_out": scores,
            "differences": differences,
            "importance_of_groups": importance,
            "importance_alone": alone,
            "coefficients": coefficients,
        },
        caption=(
            "Adjusted R²: share of the drop's variance that least squares explains inside the sample, pooled and "
            "within groups of equal dataset, model and sparsity. Held out: R² on groups the model never saw; left of 0 "
            "the prediction is worse than one number for all. Differences right of 0 favour the multipartite metrics. "
            "Grey or upper rows are baselines without topology."
        ),
        method=(
            f"Target: {meaning}. All sets on the same {counted(len(every_network), 'network')}. "
            "Least squares with 95% jackknife intervals over groups of equal dataset, model and sparsity (pooled) or "
            "algorithms (within groups). "
            f"Ridge regression and a random forest with whole groups left out (in at most {FOLDS} folds), "
            "preprocessing fitted inside the folds; for unseen models, pooled, also least squares, lasso and "
            "gradient boosting. Differences: Nadeau and Bengio's corrected t-interval over held-out groups, "
            "Benjamini-Hochberg over the table. '/ size': each layer's metrics divided by its nodes or edges before "
            "the mean over layers, as the multipartite ones are by the network's. 'Mask only': without the metrics "
            "that contain weights after training. Importance: ridge regression, metrics that correlate over .9 "
            f"permuted together; {_agreement(agreement)}.{note}"
        ),
        caveats=(
            *(
                ("The dense accuracy is not known; drops are relative to the best sparse network.",)
                * (meaning == TO_BEST)
            ),
            f"Held out are groups of {_held_out_counts(every_network)}: an interval over few of them is wide.",
            "Metrics of trained weights carry the training recipe, not only the topology.",
            "Pooled, whatever tells datasets and models apart predicts the drop.",
        ),
    )


def _agreement(agreement: float) -> str:
    if isfinite(agreement):
        return f"Kendall's W of the folds {agreement:.2f}"
    return "the folds' orders are not compared, for there is one fold or nothing to order"


def _held_out_counts(table: pd.DataFrame) -> str:
    nouns = {"pruner": "algorithm"}
    held = held_out_columns(table, (*PAIR, "pruner")) or ["seed"]
    return listed([counted(table[column].nunique(), nouns.get(column, column)) for column in held])


def _held_out(table: pd.DataFrame, sets: dict, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and differences from the multipartite set, pooled and within groups."""
    holds = held_out_columns(table, (*PAIR, "pruner")) or ["seed"]
    scores, differences = [], []
    for scope, within in (("pooled", ()), ("within groups", GROUPS)):
        part, predictions = regression_table(
            table, sets, by=holds, models=("ridge", "forest"), within=within, max_folds=FOLDS, seed=seed
        )  # fmt: skip
        if "model" in holds and not within:
            further = ("ols", "lasso", "boosting")
            more = regression_table(table, sets, by=["model"], models=further, within=within, seed=seed)[0]
            part = pd.concat([part, more[more["model"] != "mean"]])
        pairs = [("multipartite", n) for n in sets if n != "multipartite"]
        scores.append(part.assign(scope=scope))
        differences.append(comparison_table(predictions, pairs).assign(scope=scope))
    return pd.concat(scores, ignore_index=True), pd.concat(differences, ignore_index=True)


def _importance(table: pd.DataFrame, features: list[str], scores: pd.DataFrame, seed: int):
    """Groups of collinear metrics, single metrics, coefficients; all algorithms are in every fold where that can be.

    Values change places inside a fold, so a fold of one algorithm would hide what differs between algorithms.
    """
    tried = set(scores.loc[scores["r2"].notna(), "held_out"])
    by = next(h for h in ("model", "dataset", "seed", "pruner") if h in tried)
    kin = collinear_groups(table, features, threshold=0.9, by=GROUPS)
    groups = {_name(kept, len(part)): part["metric"].tolist() for kept, part in kin.groupby("kept", sort=False)}
    weights = [c for c in features if reads_weights(c)]
    if weights:
        groups["all with trained weights"] = weights
    together, folds = permutation_importance(table, features, by=by, groups=groups, seed=seed)
    half = 2 * together["sd"] / np.sqrt(len(folds))
    together = together.assign(low=together["importance"] - half, high=together["importance"] + half)
    alone = permutation_importance(table, features, by=by, seed=seed)[0]
    coefficients = standardised_coefficients(table, features, by=by, seed=seed)
    return together.assign(panel=HELD_OUT[by]), alone, coefficients, fold_agreement(folds)


def _name(kept: str, size: int) -> str:
    return metric_label(kept) + (f" and {size - 1} like it" if size > 1 else "")


def _draw_explained(explained: pd.DataFrame):
    shown = explained[explained["target"] == "drop"]
    heads = {"pooled": "pooled", "within groups": "within groups"}
    return interval_dots(
        shown, row="features", value="adjusted_r2", low="low", high="high", panel="scope", heads=heads,
        label=set_label, axis="adjusted R²", muted=BASELINES,
    )  # fmt: skip


def _draw_held_out(scores: pd.DataFrame):
    shown = scores[scores["model"].isin(["forest", "mean"])]
    return interval_dots(
        shown, row="features", value="r2", panel="held_out", variant="scope", heads=HELD_OUT, label=set_label,
        axis="held-out R², random forest", limits=(-0.6, 1.0),
    )  # fmt: skip


def _draw_differences(differences: pd.DataFrame):
    shown = differences[differences["model"] == "forest"]
    return interval_dots(
        shown, row="second", value="difference", low="low", high="high", panel="held_out", variant="scope",
        heads=HELD_OUT, label=set_label, axis="R² of multipartite less R² of the row", limits=(-1.0, 1.0),
    )  # fmt: skip


def _sentences(
    explained: pd.DataFrame, scores: pd.DataFrame, differences: pd.DataFrame, sets: dict
) -> tuple[str, str, str]:
    of = explained.set_index(["target", "scope", "features"])["adjusted_r2"]

    def both(name: str, scope: str) -> str:
        return " and ".join(decimal(of.get((t, scope, name), nan)) for t in ("drop", "accuracy"))

    encodings = encodings_of(sets)
    raw, normalised = ([e for e in names if e in sets] for names in (encodings, [f"{e}_norm" for e in encodings]))
    listed = "; ".join(f"{set_label(n)} {both(n, 'pooled')}" for n in (*raw, *normalised))
    untrained = "multipartite_untrained"
    first = (
        "Pooled, the multipartite metrics explain an adjusted R² of "
        f"{both('multipartite', 'pooled')} (drop and accuracy)"
        + (f", without those of trained weights {both(untrained, 'pooled')}" if untrained in sets else "")
        + f"; layer by layer it is: {listed}."
    )
    inside = explained[(explained["target"] == "drop") & (explained["scope"] == "within groups")]
    rows = inside[inside["features"].isin([*raw, *normalised])]
    best = rows.loc[rows["adjusted_r2"].idxmax()] if rows["adjusted_r2"].notna().any() else None
    own = of.get(("drop", "within groups", "multipartite"), nan)
    second = "Within groups of equal dataset, model and sparsity the multipartite metrics "
    second += f"explain {own:.2f} of the drop" if isfinite(own) else "cannot be fitted to the drop"
    if best is not None:
        second += f", the best layer-wise set ({set_label(best['features'])}) {best['adjusted_r2']:.2f}"
    base = inside[inside["features"].isin(BASELINES)].set_index("features")["adjusted_r2"].dropna()
    if len(base):
        second += f", and the best baseline ({set_label(base.idxmax())}) {base.max():.2f}"
    forest = scores[(scores["model"] == "forest") & (scores["scope"] == "pooled")]
    parts = []
    for hold, part in forest.groupby("held_out", sort=False):
        if part["r2"].notna().any():
            top, own = part.loc[part["r2"].idxmax()], part[part["features"] == "multipartite"]["r2"].iloc[0]
            parts.append(
                f"{HELD_OUT[hold]}: multipartite {decimal(own)}, best {set_label(top['features'])} {top['r2']:.2f}"
            )
    clear = differences[significant(differences)]
    held = f"Held out, a forest's R² is, for an {'; '.join(parts)}" if parts else "Held out, no forest can be fitted"
    third = (
        f"{held}; {len(clear)} of {counted(len(differences), 'difference')} between the multipartite and another set "
        f"{'clears' if len(clear) == 1 else 'clear'} a 5% false-discovery rate."
    )
    return first, second + ".", third
