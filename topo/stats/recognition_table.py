"""Which sets of metrics recognise algorithms in unseen models and datasets, and the family of unseen algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from .classification import classify_held_out, label_shares
from .columns import require_rows
from .recognition import (
    accuracy_found,
    family_accuracy_found,
    family_predictions,
    family_test,
    mean_over_algorithms,
    name_test,
    recall_of_algorithms,
)

__all__ = ["recognition_table"]

COLUMNS = [
    "label", "held_out", "features", "columns", "n", "algorithms", "kinds", "chance", "balanced_accuracy", "low",
    "high", "p", "found", "gain", "gain_low", "gain_high", "reason",
]  # fmt: skip


def recognition_table(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    by: Sequence[str],
    labels: Sequence[str] = ("pruner", "family"),
    baseline: str = "density",
    permutations: int = 999,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], pd.DataFrame]]:
    """Balanced accuracy of forests that name algorithms, and families, from every feature set.

    Parameters
    ----------
    table
        One row a network.
    sets
        Feature set -> its columns.
    by
        Columns whose values are held out as wholes when the algorithm is named: ``"model"``, ``"dataset"``,
        ``"seed"``. Where the family is, the algorithms are held out.
    labels
        ``"pruner"``, ``"family"`` or both.
    baseline
        Feature set that the others are compared with.
    permutations
        Random permutations of names, where not all are taken.
    seed
        Seeds forests and permutations.

    Returns
    -------
    scores : DataFrame
        label, held_out, features, columns, n (networks), algorithms, kinds (names to choose from), chance (1 / kinds),
        balanced_accuracy (mean over kinds of the share told rightly; every algorithm of a family weighs the same), low
        and high (95% t-interval over algorithms), p (permutation of names), found (balanced accuracy that is found
        with 80% power), gain (over the baseline), gain_low and gain_high (95% t-interval of it, over algorithms),
        reason (why there is no score).
    predictions : dict
        (label, held_out, features) -> predictions, as from `topo.stats.classification.classify_held_out`.

    Examples
    --------
    >>> from topo.results import example_results
    >>> table = example_results().query("pruner != 'dense'")
    >>> scores, _ = recognition_table(table, {"density": ["density"]}, by=["seed"])
    >>> scores[["label", "held_out", "kinds"]].values.tolist()
    [['pruner', 'seed', 8], ['family', 'pruner', 2]]
    """
    require_rows(table, ["pruner", "family", *by])
    family = table.drop_duplicates("pruner").set_index("pruner")["family"].astype(str)
    sizes = family.value_counts()
    several = family[family.map(sizes) > 1]
    in_families = table[table["pruner"].isin(several.index)]
    rows: list[dict[str, Any]] = []
    predictions: dict[tuple[str, str, str], pd.DataFrame] = {}
    for label in labels:
        told, kinds = (table, len(family)) if label == "pruner" else (in_families, several.nunique())
        for hold in by if label == "pruner" else ["pruner"]:
            for name, columns in sets.items():
                head = {"label": label, "held_out": hold, "features": name, "columns": len(columns), "n": len(told)}
                head |= {"algorithms": told["pruner"].nunique(), "kinds": kinds, "chance": 1 / kinds if kinds else nan}
                try:
                    if label == "pruner":
                        predicted = classify_held_out(told, columns, label="pruner", by=hold, seed=seed)
                        recall, families = recall_of_algorithms(predicted), None
                        p = name_test(predicted, permutations=permutations, seed=seed)
                        found = accuracy_found(kinds, predicted["fold"].nunique())
                    else:
                        if kinds < 2:
                            raise InputError("fewer than two families have several algorithms.")
                        shares = label_shares(told, columns, label="pruner", by="pruner", seed=seed)
                        families = several.to_dict()
                        predicted = family_predictions(shares, families)
                        recall = recall_of_algorithms(predicted)
                        p, needed = family_test(shares, families, permutations=permutations, seed=seed)
                        found = family_accuracy_found(list(several.value_counts()), needed)
                except InputError as error:
                    rows.append({**head, "reason": str(error)})
                    continue
                predictions[label, hold, name] = predicted
                score = mean_over_algorithms(recall, families)
                row = {**head, "balanced_accuracy": score["mean"], "p": p, "found": found, "reason": ""}
                row["low"], row["high"] = np.clip([score["low"], score["high"]], 0, 1)
                if name != baseline and (label, hold, baseline) in predictions:
                    gain = mean_over_algorithms(
                        recall - recall_of_algorithms(predictions[label, hold, baseline]), families
                    )
                    row["gain"] = gain["mean"]
                    row["gain_low"], row["gain_high"] = np.clip([gain["low"], gain["high"]], -1, 1)
                rows.append(row)
    return pd.DataFrame(rows).reindex(columns=COLUMNS), predictions
