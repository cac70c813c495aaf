"""Question 7: can the accuracy of a new sparse network be predicted before it is trained?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from ..errors import InputError, counted
from ..plots.interval_dots import interval_dots
from ..plots.predicted import predicted_against_true
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set
from ..stats.baselines import cell_sets, strongest
from ..stats.comparison import comparison_table
from ..stats.regression import regression_table, same_rows, score
from .answer import Answer
from .before_training_wording import COLUMNS, error_title, label, predicted_title, sentences, summary_table, verdict
from .grouping import HELD_OUT, held_out_columns, limit_networks, networks_with_drop
from .registry import QUESTIONS

__all__ = ["before_training", "compared", "mask_sets"]

TITLE = "Accuracy before training"
QUESTION = "Can the accuracy of a new sparse network be predicted before training it, from its mask alone?"
SETTING = ["sparsity", "model", "dataset"]
FOLDS = 8
# With more groups left out than this, the figure of single groups shows the worst.
MOST_GROUPS = 24


@QUESTIONS.register("before_training", number=7)
def before_training(evidence: Evidence, *, seed: int = 0) -> Answer:
    """Can the accuracy of a new sparse network be predicted before training, how well, and where does it fail?

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
    table = table[table["family"] == "initial"].reset_index(drop=True)
    if table.empty:
        return Answer.without(
            TITLE,
            QUESTION,
            "no network has a mask that was there before training; a column 'family' says 'initial' of such networks.",
        )
    sets = mask_sets(table)
    if "mask" not in sets:
        return Answer.without(TITLE, QUESTION, evidence.no_metric("the table has no metric of the mask that varies"))
    metrics = {name: [c for c in columns if c not in SETTING] for name, columns in sets.items()}
    table, left_out = limit_networks(same_rows(table, metrics), seed=seed)
    table = table.reset_index(drop=True)
    holds = held_out_columns(table)
    if not holds:
        return Answer.without(TITLE, QUESTION, "one dataset, model, algorithm and seed: nothing can be left out.")
    scores, predictions, differences = compared(table, sets, holds, seed=seed)
    if scores["r2"].notna().sum() == 0:
        reason = scores["reason"].iloc[0].rstrip(".")
        return Answer.without(TITLE, QUESTION, f"nothing can be predicted: {reason}.", tables={"scores": scores})
    shown = {h: predictions[h, "mask_setting", "forest"] for h in holds if (h, "mask_setting", "forest") in predictions}
    failures = _failures(table, shown)
    worst = failures.iloc[failures["mae"].argmax()]
    return Answer(
        TITLE,
        QUESTION,
        sentences(scores, differences, failures),
        {
            "error": interval_dots(
                scores[scores["model"].isin(["forest", "mean", "cells"])].assign(points=lambda t: 100 * t["mae"]),
                row="features", value="points", panel="held_out", heads=HELD_OUT, label=label,
                axis="mean error, points of accuracy", muted=("mean", "sparsity", *cell_sets(table)),
            ),
            "predicted": predicted_against_true({HELD_OUT[h]: p.join(table[["model"]]) for h, p in shown.items()}),
            "where_it_fails": _draw_failures(failures),
        },
        {"scores": scores, "differences": differences, "failures": failures},
        caption=(
            "First figure: mean absolute error of each set of inputs, smaller is better; grey ones know no topology. "
            "Predicted: each point is a network whose group the forest never saw; on the line the prediction is "
            "right, below it the network lost more accuracy than predicted. Last: error and bias of groups left out."
        ),
        method=(
            f"Target: {meaning}; the error of the predicted accuracy is that of the drop. Only networks whose mask was "
            f"fixed before training and that have the metrics compared ({counted(len(table), 'network')}). Mask "
            "metrics: those of the whole network and of every encoding of single layers without any that contain "
            "trained weights. A forest of extremely randomised trees and ridge regression, whole groups left out in at "
            f"most {FOLDS} folds; model and dataset coded one-hot, so they say nothing of unseen ones. Baselines "
            "without topology: means of the training networks that agree in algorithm, model, dataset and sparsity, "
            "as far as these are known. Differences: of the forest's mean error, "
            "clear where they are beyond chance over algorithms and over "
            f"pairs of dataset and model, Benjamini-Hochberg over the table.{left_out}"
        ),
        caveats=(
            *(("The reference is the best sparse network of the dataset, model and seed, which one must know too.",)
              * (meaning == TO_BEST)),
            "The drop of an unseen dataset has a scale of its own, which no mask shows.",
            "For an unseen seed the same algorithm was trained before: compare with the mean of its cell.",
            "Forests are random: where few groups are held out, R² depends on the seed too, and which is worst.",
        ),
        verdict=verdict(scores, differences),
        titles={
            "error": error_title(scores),
            "predicted": predicted_title(scores),
            "where_it_fails": (
                f"The prediction is worst for {worst['group']} left out: {100 * worst['mae']:.1f} points off."
            ),
        },
        summary=(summary := summary_table(scores)),
        columns={name: COLUMNS[name] for name in summary.columns},
    )  # fmt: skip


def compared(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    holds: Sequence[str],
    *,
    seed: int = 0,
    models: Sequence[str] = ("ridge", "forest"),
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], pd.DataFrame], pd.DataFrame]:
    """Scores and predictions of all sets with groups held out, and what the mask gains over the strongest baselines.

    Parameters
    ----------
    table
        One row a network, with its drop.
    sets
        What is predicted from (`mask_sets`).
    holds
        Columns whose values are held out.
    seed
        Seeds every random choice.
    models
        Names of regression models; the forest is the one that is compared.

    Returns
    -------
    tuple
        Scores, predictions, and tested differences.
    """
    cells = cell_sets(table)
    scores, predictions = regression_table(
        table, sets, by=holds, models=models, cells=cells, max_folds=FOLDS, seed=seed
    )
    pairs = [("mask_setting", name) for name in (*strongest(cells), "density", "ramanujan")]
    return scores, predictions, comparison_table(predictions, pairs, models=["forest"])


def mask_sets(table: pd.DataFrame) -> dict[str, list[str]]:
    """What accuracy is predicted from before training: name -> columns, none of which contains trained weights.

    Parameters
    ----------
    table
        One row a network.

    Returns
    -------
    dict
        ``mean``, ``sparsity``, ``density`` and ``ramanujan`` (with the setting: sparsity, model and dataset), ``mask``
        (metrics of the mask, of every encoding that the table has, and sparsity), ``mask_setting``.
    """
    known = feature_sets(table)
    heads = (WHOLE_NETWORK, *encodings_of(known))
    mask = dict.fromkeys(c for head in heads if (name := mask_only_set(known, head)) for c in known[name])
    sets: dict[str, list[str]] = {"mean": [], "sparsity": known.get("sparsity", [])}
    for name in ("density", "ramanujan"):
        columns = known.get(name if (chosen := mask_only_set(known, name)) is None else chosen, [])
        sets[name] = [*columns, *SETTING] if chosen else []
    sets["mask"] = [*mask, "sparsity"] if mask else []
    sets["mask_setting"] = [*mask, *SETTING] if mask else []
    return {n: c for n, c in sets.items() if c or n == "mean"}


def _draw_failures(failures: pd.DataFrame) -> Figure:
    measures = {"mae": "mean error", "bias": "predicted less true drop"}
    worst = failures.nlargest(MOST_GROUPS, "mae").sort_values(["held_out", "mae"], ascending=[True, False])
    long = worst.melt(["held_out", "group"], list(measures), "measure").replace({"measure": measures})
    long["row"] = long["held_out"].replace({"pruner": "algorithm"}) + ": " + long["group"]
    return interval_dots(
        long.assign(points=100 * long["value"], panel="the group left out"),
        row="row",
        value="points",
        panel="panel",
        variant="measure",
        axis="points of accuracy",
    )


def _failures(table: pd.DataFrame, shown: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Errors of every group left out, and of the sparsities inside it, worst group first."""
    rows = []
    for hold, predicted in shown.items():
        for group, part in predicted.groupby("group"):
            error = part["predicted"] - part["actual"]
            by_sparsity = error.abs().groupby(table.loc[part.index, "sparsity"]).mean()
            row = {
                "held_out": hold,
                "group": group,
                **score(part),
                "bias": error.mean(),
                "mean_drop": part["actual"].mean(),
            }
            rows.append({**row, "worst_sparsity": by_sparsity.idxmax(), "mae_at_worst": by_sparsity.max()})
    failures = pd.DataFrame(rows).drop(columns="folds")
    return failures.sort_values(["held_out", "mae"], ascending=[True, False], ignore_index=True)
