"""Question 7: can the accuracy of a new sparse network be predicted before it is trained?"""

from __future__ import annotations

import pandas as pd

from ..errors import InputError
from ..plots.interval_dots import interval_dots
from ..plots.predicted import predicted_against_true
from ..results.accuracy_drop import TO_BEST
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, feature_sets, mask_only_set
from ..results.labels import decimal
from ..stats.comparison import comparison_table
from ..stats.regression import regression_table, same_rows, score
from ..stats.significance import significant
from .answer import Answer
from .grouping import HELD_OUT, held_out_columns, limit_networks, networks_with_drop
from .registry import QUESTIONS

__all__ = ["before_training"]

TITLE = "Accuracy before training"
QUESTION = "Can the accuracy of a new sparse network be predicted before training it, from its mask alone?"
BASE = "sparsity + model"
SETTING = "sparsity + model + dataset"
LABELS = {
    "mean": "mean of training rows",
    "recipe": "sparsity + model + dataset + algorithm",
    "density": "layer density + sparsity",
    "mask": "mask metrics + sparsity",
    "mask_setting": "mask metrics + sparsity + model + dataset",
}
FOLDS = 8


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
            TITLE, QUESTION, "no network has a mask that was there before training (family 'initial')."
        )
    sets = _sets(table)
    if "mask" not in sets:
        return Answer.without(TITLE, QUESTION, "the table has no metric of the mask that varies.")
    table, left_out = limit_networks(same_rows(table, sets), seed=seed)
    table = table.reset_index(drop=True)
    holds = held_out_columns(table)
    if not holds:
        return Answer.without(TITLE, QUESTION, "one dataset, model, algorithm and seed: nothing can be left out.")
    scores, predictions = regression_table(
        table, sets, by=holds, models=("ridge", "forest"), max_folds=FOLDS, seed=seed
    )  # fmt: skip
    if scores["r2"].notna().sum() == 0:
        reason = scores["reason"].iloc[0].rstrip(".")
        return Answer.without(TITLE, QUESTION, f"nothing can be predicted: {reason}.", tables={"scores": scores})
    differences = comparison_table(predictions, [("mask", BASE), ("mask_setting", SETTING), ("mask", "density")])
    shown = {h: predictions[h, "mask", "forest"] for h in holds if (h, "mask", "forest") in predictions}
    failures = _failures(table, shown)
    panels = {HELD_OUT[h]: p.join(table[["model"]]) for h, p in shown.items()}
    return Answer(
        TITLE,
        QUESTION,
        _sentences(scores, differences, failures),
        {
            "predicted": predicted_against_true(panels),
            "error": interval_dots(
                scores[scores["model"].isin(["forest", "mean"])].assign(points=lambda t: 100 * t["mae"]),
                row="features", value="points", panel="held_out", heads=HELD_OUT, label=_label,
                axis="mean error, points of accuracy", muted=("mean", "sparsity", BASE, SETTING, "recipe"),
            ),
            "where_it_fails": _draw_failures(failures),
        },
        {"scores": scores, "differences": differences, "failures": failures},
        caption=(
            "First figure: each point is a network whose group the forest never saw; on the line the prediction is "
            "right, below it the network lost more accuracy than predicted. Second: mean absolute error of each set of "
            "inputs, smaller is better; grey ones know no topology. Third: error and bias of every group left out."
        ),
        method=(
            f"Target: {meaning}; the error of the predicted accuracy is that of the drop. Only networks whose mask was "
            f"fixed before training and whose layers are known ({len(table)}). Mask metrics: those of the whole "
            "network and of single layers without any that contain trained weights. Random forest and ridge "
            f"regression, whole groups left out in at most {FOLDS} folds; model, dataset and algorithm coded one-hot, "
            "so they say nothing of unseen ones. Differences: Nadeau and Bengio's corrected t-test, "
            f"Benjamini-Hochberg over the table.{left_out}"
        ),
        caveats=(
            *(("The reference is the best sparse network of the dataset, model and seed, which one must know too.",)
              * (meaning == TO_BEST)),
            "The drop of an unseen dataset has a scale of its own, which no mask shows.",
            "For an unseen seed the same algorithm was trained before: compare with the row that names it.",
        ),
    )  # fmt: skip


def _sets(table: pd.DataFrame) -> dict[str, list[str]]:
    known = feature_sets(table)
    chosen = [mask_only_set(known, encoding) for encoding in (WHOLE_NETWORK, "rolled", "rolled_channel")]
    mask = list(dict.fromkeys(column for name in chosen if name for column in known[name]))
    sets: dict[str, list[str]] = {
        "mean": [],
        "sparsity": known.get("sparsity", []),
        BASE: ["sparsity", "model"],
        SETTING: ["sparsity", "model", "dataset"],
        "recipe": ["sparsity", "model", "dataset", "pruner"],
        "density": [*known.get("density", []), "sparsity"] if "density" in known else [],
        "mask": [*mask, "sparsity"] if mask else [],
        "mask_setting": [*mask, "sparsity", "model", "dataset"] if mask else [],
    }
    return {n: c for n, c in sets.items() if c or n == "mean"}


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _draw_failures(failures: pd.DataFrame):
    measures = {"mae": "mean error", "bias": "predicted less true drop"}
    long = failures.melt(["held_out", "group"], list(measures), "measure").replace({"measure": measures})
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


def _sentences(scores: pd.DataFrame, differences: pd.DataFrame, failures: pd.DataFrame) -> tuple[str, str, str]:
    of = scores[scores["model"].isin(["forest", "mean"])].set_index(["held_out", "features"])
    parts, baselines = [], []
    for hold in dict.fromkeys(scores["held_out"]):
        mask, base = of.loc[(hold, "mask")], of.loc[(hold, BASE)]
        parts.append(f"{HELD_OUT[hold]} {decimal(100 * mask['mae'], 1)} points (R² {decimal(mask['r2'])})")
        baselines.append(f"{HELD_OUT[hold]} {decimal(100 * base['mae'], 1)} (R² {decimal(base['r2'])})")
    first = (
        f"From mask metrics and sparsity a forest predicts the accuracy drop with a mean error of {', '.join(parts)}."
    )
    known = []
    for hold in dict.fromkeys(scores["held_out"]):
        without, with_mask = (100 * of.loc[(hold, n), "mae"] for n in (SETTING, "mask_setting"))
        known.append(f"{HELD_OUT[hold]} {decimal(without, 1)} to {decimal(with_mask, 1)}")
    second = (
        f"Sparsity and the model's name alone reach {', '.join(baselines)}; with model and dataset known, the mask "
        f"takes the error from {', '.join(known)} points; {_verdict(differences)}"
    )
    worst = failures.loc[failures["mae"].idxmax()]
    third = (
        f"It fails most for {worst['group']} left out ({HELD_OUT[worst['held_out']]}: mean error "
        f"{100 * worst['mae']:.1f} points, bias {100 * worst['bias']:+.1f}), there most at sparsity "
        f"{worst['worst_sparsity']:g} ({100 * worst['mae_at_worst']:.1f} points)."
    )
    return first, second + ".", third


def _verdict(differences: pd.DataFrame) -> str:
    """Which gains of the mask over inputs without topology are clear."""
    of = differences[differences["second"].isin([BASE, SETTING]) & (differences["model"] == "forest")]
    clear = of[significant(of)]
    if clear.empty:
        return "no difference is clear at a 5% false-discovery rate"
    each = (f"{HELD_OUT[r.held_out]} against {r.second} ({r.difference:+.2f} of R²)" for r in clear.itertuples())
    return f"differences that are clear at a 5% false-discovery rate: {', '.join(each)}"
