"""Checks of the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..errors import InputError
from ..results.labels import listed
from ..results.schema import GROUPS, PAIR

__all__ = ["group_columns", "listed_columns", "require_columns", "require_rows"]

# Where columns come from that tables of one's own may lack.
SOURCES = {
    "family": "topo.results.tidy_results adds the family",
    "drop": "topo.results.accuracy_drop.with_drop adds the drop",
}


def group_columns(table: pd.DataFrame, by: Sequence[str] | None = None) -> list[str]:
    """Columns whose values form the groups of a table: those asked for, or else dataset, model and sparsity.

    A table of one dataset or model may lack the column that names it.

    Parameters
    ----------
    table
        One row a network.
    by
        Columns; none for those of the table.

    Returns
    -------
    list
        Of names.

    Raises
    ------
    InputError
        `by` is a text.

    Examples
    --------
    >>> group_columns(pd.DataFrame({"model": ["mine"], "sparsity": [0.9]}))
    ['model', 'sparsity']
    """
    if by is not None:
        listed_columns(by=by)
        return list(by)
    return [name for name in GROUPS if name not in PAIR or name in table]


def listed_columns(**columns: Iterable[str]) -> None:
    """Raise `InputError` where one name is given in place of a list of names.

    Parameters
    ----------
    columns
        Lists of names, by what the error calls them.

    Raises
    ------
    InputError
        One is a text.

    Examples
    --------
    >>> listed_columns(metrics=["edges"], by="sparsity")
    Traceback (most recent call last):
    topo.errors.InputError: by must be a list of columns, such as ['sparsity'], not 'sparsity'.
    """
    for name, given in columns.items():
        if isinstance(given, str):
            raise InputError(f"{name} must be a list of columns, such as [{given!r}], not {given!r}.")


def require_columns(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise `InputError` where a table is none, or lacks a column.

    Parameters
    ----------
    table
        Any table.
    columns
        Columns that must be present.

    Raises
    ------
    InputError
        It is no DataFrame, or a column is missing.

    Examples
    --------
    >>> require_columns(pd.DataFrame({"edges": [1]}), ["edges", "family", "nodes"])
    Traceback (most recent call last):
    topo.errors.InputError: the table has no columns 'family' and 'nodes'; topo.results.tidy_results adds the family.
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"the table must be a pandas DataFrame, not {type(table).__name__}.")
    missing = [column for column in dict.fromkeys(columns) if column not in table.columns]
    if missing:
        word = "column" if len(missing) == 1 else "columns"
        hint = "".join(f"; {SOURCES[column]}" for column in missing if column in SOURCES)
        raise InputError(f"the table has no {word} {listed([repr(column) for column in missing])}{hint}.")


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
