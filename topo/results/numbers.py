"""Columns of results tables as numbers, or one clear sentence."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from ..errors import InputError

__all__ = ["as_numbers", "not_numeric", "require_single_columns"]


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
    values = pd.Series(np.nan, table.index)
    if not pd.api.types.is_complex_dtype(table[name]):
        with suppress(TypeError):  # lists and the like
            values = pd.to_numeric(table[name].astype(object), errors="coerce").astype(float)
    if (values.isna() & table[name].notna()).any():
        raise InputError(f"column {name!r} of the results table holds values that are not numbers.")
    return values


def not_numeric(table: pd.DataFrame) -> list[str]:
    """Columns whose type is none of real numbers, such as text that holds numbers.

    Parameters
    ----------
    table
        A results table.

    Examples
    --------
    >>> not_numeric(pd.DataFrame({"edges": ["12"], "nodes": [3], "strength": [1j]}))
    ['edges', 'strength']
    """
    api = pd.api.types
    return [c for c, kind in table.dtypes.items() if not api.is_numeric_dtype(kind) or api.is_complex_dtype(kind)]


def require_single_columns(table: pd.DataFrame) -> None:
    """Refuse a table of which two columns have the same name.

    Parameters
    ----------
    table
        A results table.

    Raises
    ------
    InputError
        Several have.
    """
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"the results table has several columns called {twice!r}; leave one of each.")
