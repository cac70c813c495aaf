"""How networks are parted before anything is correlated: by dataset, architecture and sparsity, within families."""

from __future__ import annotations

import pandas as pd

from ..plots.heatmap import EVERY, ordered_families

__all__ = ["EVERY", "GROUPS", "cluster_of", "resamples", "scopes", "varying"]

GROUPS = ("dataset", "model", "sparsity")
FEWEST_ALGORITHMS = 4
DRAWS = 10_000_000


def scopes(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of every pruner family and, where there are several, of all of them together."""
    families = ordered_families(table["family"].unique())
    parts = {family: table[table["family"] == family] for family in families}
    return parts | ({EVERY: table} if len(families) > 1 else {})


def varying(table: pd.DataFrame, metrics: list[str], by: tuple[str, ...] = GROUPS) -> list[str]:
    """Those metrics that are not constant in every group of rows."""
    spread = table.groupby(list(by), observed=True)[metrics].agg(lambda column: column.max() - column.min())
    return [m for m in metrics if (spread[m] > 0).any()]


def cluster_of(table: pd.DataFrame, by: tuple[str, ...] = GROUPS) -> str | None:
    """``"pruner"`` where groups hold several algorithms, whose seeds are no independent evidence; else None: rows."""
    several = table.groupby(list(by), observed=True)["pruner"].nunique().median()
    return "pruner" if several >= FEWEST_ALGORITHMS else None


def resamples(table: pd.DataFrame, most: int) -> int:
    """Bootstrap resamples that a table of this length allows, at most `most` and at least 100."""
    return int(min(most, max(100, DRAWS // max(len(table), 1))))
