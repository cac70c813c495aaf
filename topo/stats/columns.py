"""Checks of the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..errors import InputError

__all__ = ["require_columns", "require_rows"]


def require_columns(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise `InputError` where a table lacks a column.

    Parameters
    ----------
    table
        Any table.
    columns
        Columns that must be present.

    Raises
    ------
    InputError
        A column is missing.
    """
    missing = [column for column in dict.fromkeys(columns) if column not in table.columns]
    if missing:
        raise InputError(f"the table has no column {', '.join(map(repr, missing))}.")


def require_rows(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise `InputError` where a table has no rows, lacks a column or has one twice.

    Parameters
    ----------
    table
        Any table.
    columns
        Columns that must be present once.

    Raises
    ------
    InputError
        One of these is so.
    """
    columns = list(columns)
    require_columns(table, columns)
    repeated = sorted({str(column) for column in columns if list(table.columns).count(column) > 1})
    if repeated:
        raise InputError(f"the table has several columns named {', '.join(map(repr, repeated))}.")
    if not len(table):
        raise InputError("the table has no rows.")
