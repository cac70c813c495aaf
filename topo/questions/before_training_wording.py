"""What question 7 says of its tables: verdict, sentences, titles, and the table for the page."""

from __future__ import annotations

from math import isfinite

import pandas as pd

from ..results.labels import decimal, in_points, listed, percent
from ..stats.baselines import CELL_LABELS, strongest
from ..stats.significance import significant
from .answer import Said, Verdict
from .grouping import HELD_OUT
from .multipartite_wording import power_text

__all__ = ["COLUMNS", "error_title", "label", "predicted_title", "sentences", "summary_table", "verdict"]

LABELS = {
    **CELL_LABELS,
    "mean": "mean of training rows",
    "density": "layer density + sparsity, model, dataset",
    "ramanujan": "Ramanujan + sparsity, model, dataset",
    "mask": "mask metrics + sparsity",
    "mask_setting": "mask metrics + sparsity, model, dataset",
}
# What is predicted for; a new seed of a known algorithm is no new network.
WAYS = {"pruner": "unseen algorithms", "model": "unseen models", "dataset": "unseen datasets", "seed": "unseen seeds"}
COLUMNS = {
    "inputs": "What is predicted from, by a forest or as the mean of training networks that agree in it.",
    **{text: f"Mean error on {WAYS[hold]}, in points of accuracy." for hold, text in HELD_OUT.items()},
}
# Sets that know no topology beyond densities: what the mask has to beat.
MASKS = ("mask", "mask_setting")


def label(name: str) -> str:
    """A set of inputs as figures and sentences write it.

    Parameters
    ----------
    name
        Name of a set.
    """
    return LABELS.get(name, name)


def _shown(scores: pd.DataFrame, value: str) -> pd.DataFrame:
    """A score by inputs and way of holding out, of the forest and of what needs none."""
    part = scores[scores["model"].isin(["forest", "mean", "cells"])]
    return part.pivot_table(index="features", columns="held_out", values=value, sort=False)


def _ways(table: pd.DataFrame) -> list[str]:
    return [hold for hold in WAYS if hold in table and isfinite(table[hold].get("mask_setting", float("nan")))]


def _best_without(table: pd.DataFrame, hold: str) -> str | None:
    """The best of what knows no mask; of those with the same error in tenths of points one that no seed decides."""
    rest = table.loc[~table.index.isin(MASKS), hold].dropna()
    best = rest.index[rest.round(3) == rest.round(3).min()]
    return str(min(best, key=lambda name: name not in CELL_LABELS)) if len(rest) else None


def verdict(scores: pd.DataFrame, differences: pd.DataFrame) -> Verdict:
    """Whether the mask predicts better than everything that knows densities and names at most.

    Parameters
    ----------
    scores
        Held-out scores.
    differences
        Tested differences between the mask with its setting and every baseline.

    Notes
    -----
    Yes: on unseen algorithms, models or datasets it is clearly better than every baseline. No: it is so on none of
    them, and on one clearly worse than a baseline.
    """
    table = _shown(scores, "mae")
    ways = _ways(table)
    clear = significant(differences)
    new = [hold for hold in ways if hold != "seed"]
    by = differences["held_out"]
    better = [h for h in new if (part := (clear & (differences["difference"] > 0))[by == h]).all() and len(part)]
    best = {h: table.loc[_best_without(table, h) or "mask_setting", h] for h in better}
    better = [h for h in better if table.loc["mask_setting", h] <= best[h]]
    worse = [h for h in new if (clear & (differences["difference"] < 0))[by == h].any()]
    said: Said = "yes" if better else "no" if worse else "open"
    hold = (better or worse or new or ways or list(table))[0]
    tested = differences[by == hold]
    own, base = table[hold].get("mask_setting", float("nan")), _best_tested(table, hold, tested)
    start = {"yes": "Yes", "no": "No", "open": "Can not tell"}[said]
    text = f"{start}: on {WAYS[hold]} the mask predicts accuracy to {decimal(100 * own, 1)} points"
    if base:
        text += f", {label(base)} to {decimal(100 * table.loc[base, hold], 1)}"
    if said == "open":
        tested = tested[tested["second"] == base]
        if tested["detectable"].notna().any():
            text += power_text(tested, table.loc[base, hold])
        elif len(tested):
            text += f"; {tested['reason'].iloc[0]}, so there is no test"
    return Verdict(said, f"{text}.")


def _best_tested(table: pd.DataFrame, hold: str, tested: pd.DataFrame) -> str | None:
    """The best of the baselines that the mask was tested against; the best of all where it was against none."""
    return _best_without(table[table.index.isin([*tested["second"], *MASKS])], hold) or _best_without(table, hold)


def sentences(scores: pd.DataFrame, differences: pd.DataFrame, failures: pd.DataFrame) -> tuple[str, str, str]:
    """How well, against what knows no mask, and where it fails.

    Parameters
    ----------
    scores
        Held-out scores.
    differences
        Tested differences.
    failures
        Errors of the groups left out.
    """
    errors, r2 = _shown(scores, "mae"), _shown(scores, "r2")
    ways = _ways(r2)
    own = [
        f"{WAYS[h]} to {in_points(errors.loc['mask_setting', h])} (R² {decimal(r2.loc['mask_setting', h])})"
        for h in ways
    ]
    first = "From mask metrics, sparsity, model and dataset a forest predicts the accuracy drop of "
    first += f"{listed([own[0], *(f'of {text}' for text in own[1:])])}." if own else "no network."
    best = {hold: base for hold in ways if (base := _best_without(errors, hold))}
    parts = [f"{in_points(errors.loc[base, h])} on {WAYS[h]} ({label(base)})" for h, base in best.items()]
    second = f"The best without mask metrics has a mean error of {listed(parts)}" if parts else "Nothing else predicts"
    second += f"; {_clear(differences)}."
    worst = failures.loc[failures["mae"].idxmax()]
    third = (
        f"It fails most for {worst['group']} left out ({HELD_OUT[worst['held_out']]}: mean error "
        f"{100 * worst['mae']:.1f} points, bias {100 * worst['bias']:+.1f}), there most at sparsity "
        f"{percent(worst['worst_sparsity'])} ({100 * worst['mae_at_worst']:.1f} points)."
    )
    return first, second, third


def _clear(differences: pd.DataFrame) -> str:
    """Over which inputs the mask is clearly better or worse."""
    clear = differences[significant(differences)]
    if clear.empty:
        return "no difference is clear"
    parts = []
    for sign, word in ((1, "better"), (-1, "worse")):
        for hold, part in clear[sign * clear["difference"] > 0].groupby("held_out", sort=False):
            parts.append(f"clearly {word} for an {HELD_OUT[hold]} than {listed([label(n) for n in part['second']])}")
    return "the mask is " + ", ".join(parts)


def error_title(scores: pd.DataFrame) -> str:
    """Mean error with and without the mask on the first way of holding out.

    Parameters
    ----------
    scores
        Held-out scores.
    """
    errors = _shown(scores, "mae")
    ways = _ways(errors)
    if not ways:
        return "Mean error of every set of inputs."
    hold = ways[0]
    base = _best_without(errors, hold)
    text = f"On {WAYS[hold]} the mask predicts accuracy to {100 * errors.loc['mask_setting', hold]:.1f} points"
    return text + (f", {label(base)} to {100 * errors.loc[base, hold]:.1f}." if base else ".")


def predicted_title(scores: pd.DataFrame) -> str:
    """What share of the variance is predicted from the mask and its setting.

    Parameters
    ----------
    scores
        Held-out scores.
    """
    r2 = _shown(scores, "r2")
    parts = [f"{decimal(r2.loc['mask_setting', hold])} on {WAYS[hold]}" for hold in _ways(r2)]
    return f"From the mask and its setting the accuracy drop is predicted with an R² of {listed(parts)}."


def summary_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The table for the page: mean errors in points of accuracy.

    Parameters
    ----------
    scores
        Held-out scores.
    """
    table = (100 * _shown(scores, "mae")).round(1)
    table = table[[hold for hold in HELD_OUT if hold in table]].rename(columns=HELD_OUT)
    # The page shows the first rows: the mask, then what it has to beat.
    first = [*reversed(MASKS), "density", "ramanujan", *strongest([n for n in table.index if n in CELL_LABELS])]
    table = table.loc[sorted(table.index, key=lambda n: first.index(n) if n in first else len(first))]
    table.insert(0, "inputs", [label(str(name)) for name in table.index])
    return table.rename_axis(None, axis=1).reset_index(drop=True)
