"""Confounders of topology: size of the graph, trained weights, sparsity reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..results.schema import GROUPS
from .columns import require_columns

__all__ = ["edge_spread", "family_ratio", "mean_absolute_weight", "reached_gap", "relative_to_group"]


def mean_absolute_weight(table: pd.DataFrame) -> pd.Series | None:
    """Mean absolute weight over the edges of every network, or None where strength or size is not known.

    Strength is the mean over N nodes of the summed absolute weight on either side, so divided by the edges, as
    ``strength_norm`` and the published ``strength`` are, it is 2 mean|w| / N.

    Parameters
    ----------
    table
        One row a network.

    Returns
    -------
    Series or None
        On the index of `table`.

    Examples
    --------
    >>> mean_absolute_weight(pd.DataFrame({"nodes": [4.0], "strength_norm": [0.25]})).tolist()
    [0.5]
    """
    name = "strength_norm" if "strength_norm" in table.columns else "strength"
    if name not in table.columns or "nodes" not in table.columns:
        return None
    return table[name].astype(float) * table["nodes"].astype(float) / 2


def edge_spread(table: pd.DataFrame, *, by: Sequence[str] = GROUPS) -> pd.DataFrame:
    """Ratio of the largest to the smallest number of edges between networks of one group.

    Parameters
    ----------
    table
        One row a network.
    by
        Columns that form the groups.

    Returns
    -------
    DataFrame
        `by`, networks, algorithms, fewest, fewest_pruner, most, most_pruner, ratio; groups of one algorithm left out.

    Raises
    ------
    InputError
        The table has no column edges.
    """
    by = list(by)
    require_columns(table, [*by, "edges"])
    rows = []
    known = table[table["edges"] > 0]
    for key, group in known.groupby(by, observed=True):
        if group["pruner"].nunique() < 2:
            continue
        least, most = group.loc[group["edges"].idxmin()], group.loc[group["edges"].idxmax()]
        ends = [least["edges"], least["pruner"], most["edges"], most["pruner"], most["edges"] / least["edges"]]
        rows.append([*key, len(group), group["pruner"].nunique(), *ends])
    ends = ["fewest", "fewest_pruner", "most", "most_pruner", "ratio"]
    return pd.DataFrame(rows, columns=[*by, "networks", "algorithms", *ends])


def relative_to_group(table: pd.DataFrame, values: pd.Series, *, by: Sequence[str] = GROUPS) -> pd.Series:
    """Values divided by the median over the algorithms of their group (each algorithm's median counts once).

    Parameters
    ----------
    table
        One row a network.
    values
        One value a network.
    by
        Columns that form the groups.

    Returns
    -------
    Series
        On the index of `table`; NaN where the median is zero.
    """
    frame = table[[*by, "pruner"]].assign(value=values.astype(float))
    each = frame.groupby([*by, "pruner"], observed=True)["value"].median()
    middle = each.groupby(list(by), observed=True).median().rename("middle")
    return frame["value"] / frame.join(middle, on=list(by))["middle"].replace(0, np.nan)


def family_ratio(table: pd.DataFrame, column: str, *, by: Sequence[str] = GROUPS) -> pd.DataFrame:
    """A column's median in every pruner family, relative to that of the initial (or else the first) one in each group.

    Parameters
    ----------
    table
        One row a network.
    column
        The column; positive.
    by
        Columns that form the groups, the model among them.

    Returns
    -------
    DataFrame
        model ("all" for all of them), family, median (over networks), compared_with (the family divided by), ratio,
        ratio_low, ratio_high (median, least and largest over groups), groups.

    Raises
    ------
    InputError
        The table has no such column.

    Examples
    --------
    >>> table = pd.DataFrame({"dataset": "d", "model": "m", "sparsity": 0.9, "family": ["initial", "dynamic"]})
    >>> family_ratio(table.assign(weight=[0.2, 0.1]), "weight").query("model == 'all'")["ratio"].tolist()
    [0.5, 1.0]
    """
    require_columns(table, [*by, "family", column])
    middle = table.pivot_table(column, list(by), "family", "median", observed=True)
    base = "initial" if "initial" in middle else middle.columns[0]
    rows = []
    for model, part in [*middle.groupby("model"), ("all", middle)]:
        for family in part.columns:
            ratio = (part[family] / part[base].replace(0, np.nan)).dropna()
            own = table.loc[(table["family"] == family) & ((table["model"] == model) | (model == "all")), column]
            rows.append([model, family, own.median(), base, ratio.median(), ratio.min(), ratio.max(), len(ratio)])
    columns = ["model", "family", "median", "compared_with", "ratio", "ratio_low", "ratio_high", "groups"]
    return pd.DataFrame(rows, columns=columns)


def reached_gap(table: pd.DataFrame, *, tolerance: float = 0.01) -> pd.DataFrame | None:
    """How far the sparsity that networks reached is from the one asked for, pruner by pruner; None where not known.

    Parameters
    ----------
    table
        One row a network.
    tolerance
        Difference of sparsity from which a network counts as off.

    Returns
    -------
    DataFrame
        pruner, family, networks, off (how many by more than `tolerance`), median, lowest, highest (reached less asked).
    """
    if "reached_sparsity" not in table.columns or table["reached_sparsity"].isna().all():
        return None
    gap = table["reached_sparsity"].astype(float) - table["sparsity"]
    known = table[["pruner", "family"]].assign(gap=gap)[gap.notna()]
    grouped = known.groupby(["pruner", "family"])["gap"]
    result = grouped.agg(networks="size", median="median", lowest="min", highest="max").reset_index()
    off = known["gap"].abs().gt(tolerance).groupby(known["pruner"]).sum()
    result.insert(3, "off", result["pruner"].map(off))
    return result.sort_values("off", ascending=False, kind="stable", ignore_index=True)
