"""Fewer networks where models would take too long over all of them."""

from __future__ import annotations

import pandas as pd

__all__ = ["at_most"]

MOST = 20_000
TOGETHER = ["dataset", "model", "sparsity", "seed"]


def at_most(table: pd.DataFrame, *, most: int = MOST, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """About `most` networks at most, drawn at random with all algorithms of a cell and seed, and a note that says so.

    Examples
    --------
    >>> from topo.results import example_results
    >>> kept, note = at_most(example_results(), most=20)
    >>> len(kept), note
    (16, ' Of 50 networks 16 were used, drawn at random with all algorithms of a cell and seed.')
    """
    if len(table) <= most:
        return table, ""
    code = table.groupby(TOGETHER, dropna=False).ngroup()
    order = pd.Series(code.unique()).sample(frac=1, random_state=seed)
    sizes = code.value_counts().loc[order].cumsum()
    kept = sizes.index[: max(1, int((sizes <= most).sum()))]
    part = table[code.isin(kept)].reset_index(drop=True)
    note = f" Of {len(table)} networks {len(part)} were used, drawn at random with all algorithms of a cell and seed."
    return part, note
