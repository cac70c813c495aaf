"""Repairs of results tables from elsewhere, every one listed: percentages, missing names and seeds, infinities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .data_issues import DataIssues
from .schema import REPEATS, metric_columns

__all__ = ["are_percentages", "cleaned"]

# Shares are at most 1; whatever is beyond this and at most 100 is a percentage.
MOST = 1.5
ACCURACIES = ("accuracy", "dense_accuracy", "accuracy_drop")
# Column: the smallest and the largest value that it can have, as shares are rounded.
POSSIBLE = {"accuracy": (0, 1 + 1e-6), "dense_accuracy": (0, 1 + 1e-6), "accuracy_drop": (-1 - 1e-6, 1 + 1e-6)}
POSSIBLE["sparsity"] = (0, 1)


def cleaned(networks: pd.DataFrame, name: str, issues: DataIssues) -> pd.DataFrame:
    """A tidy table in which accuracies and sparsities are shares, and every row has a pruner, a sparsity and a seed.

    Percentages are divided by 100. Rows without a pruner, and sparse ones without a sparsity, are left out. Rows
    without a seed are numbered on from the largest seed. Infinite values, and shares below 0 or above 1, are taken as
    missing.

    Parameters
    ----------
    networks
        What `topo.results.tidy_results` returned.
    name
        What the table is called among the issues.
    issues
        Where the repairs are listed.

    Returns
    -------
    DataFrame
        Rows numbered from 0.

    Examples
    --------
    >>> from topo.results import tidy_results
    >>> table = pd.DataFrame({"pruner": ["snip", "erk"], "sparsity": [90, 90], "accuracy": [71.5, np.inf]})
    >>> issues = DataIssues()
    >>> cleaned(tidy_results(table), "mine", issues)[["sparsity", "accuracy"]].values.tolist()
    [[0.9, 0.715], [0.9, nan]]
    >>> issues.table()["what"].tolist()
    ['values are infinite', 'values are percentages', 'values are percentages']
    """
    networks = networks.copy()
    numbers = [c for c in ACCURACIES if c in networks.columns] + [*metric_columns(networks), "sparsity"]
    for column in networks[numbers].select_dtypes("float").columns:
        infinite = np.isinf(networks[column].to_numpy(float, na_value=np.nan))
        if infinite.any():
            issues.add(name, column, int(infinite.sum()), "values are infinite", "taken as missing")
            networks[column] = networks[column].mask(infinite)
    for columns in (ACCURACIES, ("sparsity",)):
        if are_percentages(networks[columns[0]]):
            for column in columns:
                if column in networks.columns and pd.api.types.is_numeric_dtype(networks[column]):
                    known = int(networks[column].notna().sum())
                    issues.add(name, column, known, "values are percentages", "divided by 100")
                    networks[column] = networks[column] / 100
    for column, (least, most) in POSSIBLE.items():
        if column in networks.columns and pd.api.types.is_numeric_dtype(networks[column]):
            impossible = ~networks[column].between(least, most) & networks[column].notna()
            issues.add(name, column, int(impossible.sum()), "values are no shares", "taken as missing")
            networks[column] = networks[column].mask(impossible)
    for column, whole in (("pruner", True), ("sparsity", False)):
        lost = networks[column].isna() & (whole | (networks["pruner"] != "dense"))
        issues.add(name, column, int(lost.sum()), f"rows have no {column}", "left out")
        networks = networks[~lost]
    networks = networks.assign(sparsity=networks["sparsity"].fillna(0.0)).reset_index(drop=True)
    unknown = networks["seed"].isna()
    if unknown.any():
        issues.add(name, "seed", int(unknown.sum()), "rows have no seed", "each taken as one of its own")
        networks["seed"] = _numbered(networks, unknown)
    return networks


def are_percentages(values: pd.Series) -> bool:
    """Whether accuracies or sparsities are percentages and not shares.

    Parameters
    ----------
    values
        Of all networks of a table.

    Examples
    --------
    >>> are_percentages(pd.Series([71.5, 0.0])), are_percentages(pd.Series([0.715, 1.0, 2.0]))
    (True, False)
    """
    # Of most: a value that cannot be must not change what all others say.
    known = values[(values != 0) & values.notna()]
    return len(known) > 0 and float(known.between(MOST, 100).mean()) > 0.5


def _numbered(networks: pd.DataFrame, unknown: pd.Series) -> pd.Series:
    """Seeds, where the unknown ones follow the known; all of them texts where some are."""
    again = networks[unknown].groupby(list(REPEATS), dropna=False).cumcount()
    known = networks.loc[~unknown, "seed"]
    if pd.api.types.is_numeric_dtype(known):
        last = 0 if known.empty else int(known.max()) + 1
        return networks["seed"].where(~unknown, (again + last).reindex(networks.index)).astype(int)
    given = networks["seed"].astype(object).where(~unknown, "unknown " + again.astype(str).reindex(networks.index))
    return given.astype(str)
