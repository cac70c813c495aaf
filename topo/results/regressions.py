"""Networks whose answers are numbers, which are near or far and not right or wrong."""

from __future__ import annotations

import pandas as pd

__all__ = ["regressions"]


def regressions(table: pd.DataFrame) -> pd.Series:
    """Which networks of a table have no accuracy because they predict numbers: they have an error (``rmse``) instead.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    Series
        bool, one a row.

    Examples
    --------
    >>> regressions(pd.DataFrame({"accuracy": [0.9, None], "rmse": [None, 0.5], "r2": [None, 0.6]})).tolist()
    [False, True]
    """
    if "rmse" not in table.columns:
        return pd.Series(False, table.index)
    return table["accuracy"].isna() & table["rmse"].notna()
