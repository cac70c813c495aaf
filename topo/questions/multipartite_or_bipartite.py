"""Question 3: do multipartite encodings predict better than bipartite and Ramanujan ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import pandas as pd
from matplotlib.figure import Figure

from ..errors import InputError, counted
from ..plots.interval_dots import interval_dots
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import BASELINES, WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set, set_label
from ..results.labels import listed
from ..results.schema import GROUPS, PAIR, metric_label, reads_weights
from ..stats.baselines import cell_sets, strongest
from ..stats.collinearity import collinear_groups
from ..stats.comparison import comparison_table
from ..stats.explained import explained_table
from ..stats.importance import fold_agreement, permutation_importance, standardised_coefficients
from ..stats.regression import regression_table, same_rows
from ..stats.significance import with_q_values
from .answer import Answer
from .grouping import HELD_OUT, held_out_columns, limit_networks, networks_with_drop, normalised_layer_sets
from .multipartite_wording import (
    columns,
    differences_title,
    explained_title,
    held_out_title,
    label,
    sentences,
    summary_table,
    verdict,
)
from .registry import QUESTIONS

__all__ = ["compared", "multipartite_or_bipartite"]

TITLE = "Multipartite or bipartite"
QUESTION = "Do multipartite encodings predict the accuracy drop better than bipartite and Ramanujan ones?"
FOLDS = 6
# Parts of baselines, which the figure does without.
SMALLER = tuple(f"{name}_untrained" for name in BASELINES)
# Importance below this share of the drop's variance is nothing to draw.
LEAST_IMPORTANCE = 0.01


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
    if WHOLE_NETWORK not in sets or not encodings_of(sets):
        lacking = "the whole network" if WHOLE_NETWORK not in sets else "single layers"
        reason = f"the table has no metric of {lacking} that varies"
        if WHOLE_NETWORK in sets and evidence.studies:
            reason += "; a study with encodings: [multipartite, rolled] measures both"
        return Answer.without(TITLE, QUESTION, evidence.no_metric(reason))
    every_network = same_rows(table, sets)
    explained = explained_table(every_network, sets, seed=seed)
    if explained["adjusted_r2"].isna().all():
        return Answer.without(TITLE, QUESTION, f"no set of metrics can be fitted: {explained['reason'].iloc[0]}.")
    table, left_out = limit_networks(every_network, seed=seed)
    scores, differences = compared(table, sets, seed=seed)
    if scores.loc[scores["model"] == "forest", "r2"].notna().sum() == 0:
        reason = scores["reason"].iloc[0].rstrip(".")
        tables = {"explained": explained, "held_out": scores}
        return Answer.without(TITLE, QUESTION, f"nothing can be predicted: {reason}.", tables=tables)
    importance, alone, coefficients, agreement = _importance(table, sets[WHOLE_NETWORK], scores, seed)
    figures = {"adjusted_r2": _draw_explained(explained), "held_out_r2": _draw_held_out(scores)}
    titles = {"adjusted_r2": explained_title(explained), "held_out_r2": held_out_title(scores)}
    tested = differences["difference"].notna()
    if tested.any():
        figures["paired_differences"] = _draw_differences(differences)
        titles["paired_differences"] = differences_title(differences)
    nothing = importance["importance"].max() < LEAST_IMPORTANCE
    if not nothing:
        figures["importance"] = _draw_importance(importance)
        top = importance.iloc[0]
        titles["importance"] = (
            f"The prediction rests most on {top['name']}: permuting costs {top['importance']:.2f} of the variance."
        )
    summary = summary_table(explained, scores)
    return Answer(
        TITLE,
        QUESTION,
        sentences(explained, scores, differences),
        figures,
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
            "within groups of equal dataset, model and sparsity; beside it what the same columns explain when the "
            "names of the algorithms are permuted. Held out: R² on groups the model never saw; left of 0 "
            "the prediction is worse than one number for all. Differences of mean errors right of 0 favour the "
            "multipartite metrics; those between metrics of masks only are in the table of differences."
        ),
        method=(
            f"Target: {meaning}. All sets on the same {counted(len(every_network), 'network')}. "
            "Least squares with 95% jackknife intervals, the wider one over algorithms and over pairs of dataset and "
            "model; by chance: the labels of the algorithms permuted alike in all groups. "
            "Ridge regression and a forest of extremely randomised trees with whole groups left out (in at most "
            f"{FOLDS} folds), preprocessing and penalties fitted inside the folds. Baselines without topology: means "
            "of the training networks that agree in "
            "algorithm, family, model, dataset or sparsity, as far as these are known. Differences: of the forest's "
            "mean error, clear where they are beyond chance over algorithms and, pooled, over pairs of dataset and "
            "model, Benjamini-Hochberg over the comparisons of a kind. '/ size': each layer's metrics divided by its "
            "nodes or edges before the mean over layers, as the multipartite ones are by the network's. 'Mask only': "
            "without the metrics that contain weights after training. Importance: ridge regression, metrics that "
            f"correlate over .9 permuted together; {_agreement(agreement)}."
            f"{left_out and ' Predictions and importance:' + left_out}"
        ),
        caveats=(
            *(
                ("The dense accuracy is not known; drops are relative to the best sparse network.",)
                * (meaning == TO_BEST)
            ),
            f"Held out are groups of {_held_out_counts(every_network)}: an interval over few of them is wide.",
            "Metrics of trained weights carry the training recipe, not only the topology.",
            "Pooled, whatever tells datasets and models apart predicts the drop.",
            "Forests are random: where few groups are held out, R² depends on the seed too, and so does a q near .05.",
            *(
                ("The figure of importance is left out: no metric costs a hundredth of the drop's variance.",)
                * bool(nothing)
            ),
        ),
        verdict=verdict(scores, differences, with_chance=explained),
        titles=titles,
        summary=summary,
        columns=columns(summary),
    )


def _agreement(agreement: float) -> str:
    if isfinite(agreement):
        return f"Kendall's W of the folds {agreement:.2f}"
    return "the folds' orders are not compared, for there is one fold or nothing to order"


def _held_out_counts(table: pd.DataFrame) -> str:
    nouns = {"pruner": "algorithm"}
    held = held_out_columns(table, (*PAIR, "pruner")) or ["seed"]
    return listed([counted(table[column].nunique(), nouns.get(column, column)) for column in held])


def compared(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
    models: Sequence[str] = ("ridge", "forest"),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of all sets with groups held out, and differences from the multipartite ones, pooled and within groups.

    Parameters
    ----------
    table
        One row a network, with its drop.
    sets
        Its feature sets.
    seed
        Seeds every random choice.
    models
        Names of regression models; the forest is the one that is compared.

    Returns
    -------
    tuple
        What `verdict` reads: scores, and tested differences.
    """
    layers = normalised_layer_sets(sets)
    masks = [name for encoding in encodings_of(sets) if (name := mask_only_set(sets, encoding))]
    own_mask = mask_only_set(sets, WHOLE_NETWORK)
    names = dict.fromkeys([*BASELINES, WHOLE_NETWORK, *filter(None, [own_mask]), *layers, *masks])
    chosen = {name: sets[name] for name in names if name in sets}
    cells = cell_sets(table)
    pairs = {
        "layers": [(WHOLE_NETWORK, name) for name in (*layers, "ramanujan")],
        "layers, mask only": [(own_mask, name) for name in masks] if own_mask else [],
        "no topology": [(WHOLE_NETWORK, name) for name in strongest(cells)],
    }
    holds = held_out_columns(table, (*PAIR, "pruner")) or ["seed"]
    scores, differences = [], []
    for scope, within in (("pooled", ()), ("within groups", GROUPS)):
        part, predictions = regression_table(
            table, chosen, by=holds, models=models, cells=cells, within=within, max_folds=FOLDS, seed=seed
        )  # fmt: skip
        scores.append(part.assign(scope=scope))
        for kind, wanted in pairs.items():
            compared = comparison_table(predictions, dict.fromkeys(wanted), models=["forest"])
            differences.append(compared.assign(scope=scope, against=kind))
    tested = pd.concat([part for part in differences if len(part)] or differences[:1], ignore_index=True)
    adjusted = [with_q_values(part) for _, part in tested.groupby("against", sort=False)]
    return pd.concat(scores, ignore_index=True), pd.concat(adjusted or [tested], ignore_index=True)


def _importance(
    table: pd.DataFrame, features: list[str], scores: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, float]:
    """Groups of collinear metrics, single metrics, coefficients; all algorithms are in every fold where that can be.

    Values change places inside a fold, so a fold of one algorithm would hide what differs between algorithms.
    """
    tried = set(scores.loc[scores["r2"].notna(), "held_out"])
    by = next(h for h in ("model", "dataset", "seed", "pruner") if h in tried)
    kin = collinear_groups(table, features, threshold=0.9, by=GROUPS)
    groups = {_name(kept, len(part)): part["metric"].tolist() for kept, part in kin.groupby("kept", sort=False)}
    weights = [c for c in features if reads_weights(c)]
    if weights:
        groups["all metrics of trained weights"] = weights
    together, folds = permutation_importance(table, features, by=by, groups=groups, seed=seed)
    alone = permutation_importance(table, features, by=by, seed=seed)[0]
    coefficients = standardised_coefficients(table, features, by="pruner" if "pruner" in tried else by, seed=seed)
    return together.assign(panel=HELD_OUT[by]), alone, coefficients, fold_agreement(folds)


def _name(kept: str, size: int) -> str:
    return metric_label(kept) + (f" and {size - 1} like it" if size > 1 else "")


def _draw_explained(explained: pd.DataFrame) -> Figure:
    shown = explained[(explained["target"] == "drop") & ~explained["features"].isin(SMALLER)]
    parts = [
        shown.assign(value=shown["adjusted_r2"], shown="true names of the algorithms"),
        shown.assign(value=shown["chance"], low=float("nan"), high=float("nan"), shown="permuted: chance"),
    ]
    return interval_dots(
        pd.concat(parts), row="features", value="value", low="low", high="high", panel="scope", variant="shown",
        heads={"pooled": "pooled", "within groups": "within groups"}, label=set_label, axis="adjusted R²",
    )  # fmt: skip


def _draw_held_out(scores: pd.DataFrame) -> Figure:
    shown = scores[scores["model"].isin(["forest", "mean", "cells"])]
    return interval_dots(
        shown, row="features", value="r2", panel="held_out", variant="scope", heads=HELD_OUT, label=label,
        axis="held-out R², forest or mean of cells", limits=(-0.6, 1.0),
    )  # fmt: skip


def _draw_differences(differences: pd.DataFrame) -> Figure:
    return interval_dots(
        differences[differences["against"] != "layers, mask only"].assign(
            **{c: 100 * differences[c] for c in ("difference", "low", "high")}
        ),
        row="second", value="difference", low="low", high="high", panel="held_out", variant="scope", heads=HELD_OUT,
        label=label, axis="error of the row less that of multipartite, points of accuracy",
    )  # fmt: skip


def _draw_importance(importance: pd.DataFrame) -> Figure:
    return interval_dots(
        importance, row="name", value="importance", low="low", high="high", panel="panel",
        axis="held-out R² lost when permuted",
    )  # fmt: skip
