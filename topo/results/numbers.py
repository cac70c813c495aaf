"""Columns of results tables as numbers, or one clear sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import InputError

__all__ = ["as_numbers"]


def as_numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats, whatever type its numbers came in.

    Parameters
    ----------
    table
        A results table.
    name
        The column.

    Returns
    -------
    Series
        Missing values as NaN.

    Raises
    ------
    InputError
        A value is no number.

    Examples
    --------
    >>> as_numbers(pd.DataFrame({"edges": ["12", None]}), "edges").tolist()
    [12.0, nan]
    """
    try:
        values = pd.to_numeric(table[name], errors="coerce").astype(float)
    except TypeError:  # lists and the like
        values = pd.Series(np.nan, table.index)
    if (values.isna() & table[name].notna()).any():
        raise InputError(f"column {name!r} of the results table holds values that are not numbers.")
    return values
