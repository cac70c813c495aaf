"""Predictions that know no topology: what is known of an algorithm, its family and its setting from other networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from .regression import MAX_FOLDS, held_out

__all__ = ["CELLS", "CELL_LABELS", "cell_sets", "from_past_results", "strongest"]

# Columns that make the cells, the one that matters most first (`topo.stats.predictors.CellMeans`).
CELLS: Mapping[str, Sequence[str]] = {
    "setting": ("sparsity", "model", "dataset"),
    "family": ("family",),
    "family_setting": ("sparsity", "family", "model", "dataset"),
    "algorithm": ("pruner",),
    "algorithm_model": ("pruner", "model", "dataset"),
    "algorithm_model_sparsity": ("sparsity", "pruner", "model", "dataset"),
}

# What knows more and more of the setting, of the family in it, and of the algorithm in it.
MORE_AND_MORE = (
    ("mean", "setting"),
    ("family", "family_setting"),
    ("algorithm", "algorithm_model", "algorithm_model_sparsity"),
)

CELL_LABELS: Mapping[str, str] = {
    "setting": "sparsity × model",
    "family": "family",
    "family_setting": "family × model × sparsity",
    "algorithm": "algorithm",
    "algorithm_model": "algorithm × model",
    "algorithm_model_sparsity": "algorithm × model × sparsity",
}


def cell_sets(table: pd.DataFrame) -> dict[str, list[str]]:
    """The baselines of `CELLS` that differ from each other on a table: name -> columns with several values.

    Parameters
    ----------
    table
        One row a network.

    Returns
    -------
    dict
        In the order of `CELLS`; of those that come to the same columns the first.

    Examples
    --------
    >>> from topo.results import example_results
    >>> cell_sets(example_results().query("sparsity == 0.9 and family == 'initial'"))
    {'algorithm': ['pruner']}
    """
    sets: dict[str, list[str]] = {}
    for name, columns in CELLS.items():
        several = [c for c in columns if c in table.columns and len(table[c].unique()) > 1]
        if several and several not in sets.values():
            sets[name] = several
    return sets


def strongest(cells: Iterable[str]) -> list[str]:
    """The baselines that know most: of the setting, of the family in it, and of the algorithm in it.

    Parameters
    ----------
    cells
        Names of those that a table has, as of `cell_sets`; the mean of all networks is there in any case.

    Returns
    -------
    list
        Their names; those left out are parts of these.

    Examples
    --------
    >>> strongest(["algorithm"]), strongest(["setting", "algorithm", "algorithm_model"])
    (['mean', 'algorithm'], ['setting', 'algorithm_model'])
    """
    there = {"mean", *cells}
    last = ([name for name in names if name in there][-1:] for names in MORE_AND_MORE)
    return [name for names in last for name in names]


def from_past_results(
    table: pd.DataFrame,
    columns: Sequence[str],
    *,
    by: str,
    target: str = "drop",
    within: Sequence[str] = (),
    max_folds: int = MAX_FOLDS,
) -> pd.DataFrame:
    """Predict every row by the mean of the networks of other folds that agree with it in some columns.

    Parameters
    ----------
    table
        One row a network.
    columns
        What the networks have to agree in, such as ``["pruner", "model"]`` (a value of `CELLS`); what matters most
        first. Columns whose value no training row has (the one that is held out, or its family) are left aside.
    by
        Column whose values are held out.
    target
        Column that is predicted.
    within
        Columns of groups whose means are taken out of the target first: with ``("dataset", "model", "sparsity")`` the
        prediction is how an algorithm did elsewhere relative to the others, which ranks the algorithms of a group.
    max_folds
        Most folds; more groups than this share folds.

    Returns
    -------
    DataFrame
        As of `topo.stats.regression.held_out`: fold, group, actual, predicted, trained_on, on the index of the table.

    Raises
    ------
    InputError
        As of `topo.stats.regression.held_out`.

    Examples
    --------
    >>> from topo.results import example_results
    >>> from topo.results.accuracy_drop import with_drop
    >>> table = with_drop(example_results(seeds=3))[0]
    >>> past = from_past_results(table, ["pruner"], by="seed", within=["dataset", "model", "sparsity"])
    >>> past["predicted"].groupby(table["pruner"]).mean().idxmin()
    'uniform'
    """
    return held_out(table, columns, by=by, model="cells", target=target, within=within, max_folds=max_folds)
