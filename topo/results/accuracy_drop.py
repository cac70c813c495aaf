"""What a regression predicts: how much accuracy a sparse network has lost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import InputError, counted
from .schema import NETWORK, PAIR, tidy_results

__all__ = ["TO_BEST", "TO_DENSE", "with_drop"]

# What makes a row of a results table one network.

TO_DENSE = "accuracy of the dense network less that of the sparse one"
TO_BEST = (
    "best accuracy among the sparse networks of the same dataset, model and seed less that of the network "
    "(a proxy: the dense accuracy is not known)"
)


def with_drop(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The sparse networks that have an accuracy, with their accuracy drop as column `drop`, and what it means.

    The reference is the dense accuracy: the column `dense_accuracy`, else the dense network of the same dataset, model
    and seed, else the mean of the dense networks of that dataset and model. Unless every network has one, all are
    compared with the best sparse network of their dataset, model and seed instead: one definition for all rows.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    table : DataFrame
        Rows of `table` that are not dense, with the new column `drop`, in the unit of accuracy.
    meaning : str
        `TO_DENSE` or `TO_BEST`.

    Raises
    ------
    InputError
        No sparse network has an accuracy, or several rows are the same network.

    Examples
    --------
    >>> from topo.results import example_results
    >>> networks, meaning = with_drop(example_results())
    >>> len(networks), meaning == TO_DENSE
    (48, True)
    """
    table = tidy_results(table)
    measured = table[np.isfinite(table["accuracy"])]
    dense = measured["pruner"] == "dense"
    sparse = measured[~dense].reset_index(drop=True)
    if sparse.empty:
        raise InputError("no sparse network in the table has an accuracy, so there is nothing to predict.")
    # The same pruner may be there under several settings or recipes: those are different networks.
    further = (c for c in sparse.columns if c in ("recipe", "stage", "cell") or c.startswith(("setting_", "settings_")))
    keys = [*NETWORK, *further]
    twice = sparse.duplicated(keys)
    if twice.any():
        first = ", ".join(str(v) for v in sparse.loc[twice, list(NETWORK)].iloc[0])
        rows = f"{counted(int(twice.sum()), 'row')} {'repeats' if twice.sum() == 1 else 'repeat'}"
        raise InputError(f"{rows} a network ({', '.join(NETWORK)}), first {first}; leave one row of each.")
    reference, meaning = _dense_accuracy(sparse, measured[dense]), TO_DENSE
    if reference.isna().any():
        reference = sparse.groupby([*PAIR, "seed"], dropna=False)["accuracy"].transform("max")
        meaning = TO_BEST
    return sparse.assign(drop=reference - sparse["accuracy"]), meaning


def _dense_accuracy(sparse: pd.DataFrame, dense: pd.DataFrame) -> pd.Series:
    accuracy = pd.Series(np.nan, index=sparse.index)
    if "dense_accuracy" in sparse.columns:
        accuracy = pd.to_numeric(sparse["dense_accuracy"], errors="coerce")
    for keys in ([*PAIR, "seed"], [*PAIR]):
        means = dense.groupby(keys)["accuracy"].mean().rename("reference").reset_index()
        accuracy = accuracy.fillna(sparse[keys].merge(means, how="left", on=keys)["reference"])
    return accuracy
