"""Values as the cells of a table, and tables that a reader can sort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..results.feature_sets import set_label
from ..results.schema import metric_label

__all__ = ["SortableTable", "cell", "sortable"]

MOST_ROWS = 150


def cell(value: Any, digits: int = 5) -> str:
    """A value as text: whole numbers in full, others with so many digits, nothing for what is missing.

    Parameters
    ----------
    value
        Any value of a table.
    digits
        Significant digits.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> cell(0.1234567), cell(0.1234567, 3), cell(3.0), cell(None), cell(True)
    ('0.12346', '0.123', '3', '', 'yes')
    """
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:.0f}" if abs(number) < 1e15 and number == round(number) else f"{number:.{digits}g}"
    return str(value)


@dataclass(frozen=True)
class SortableTable:
    """A table ready for the page: its heading, column names with whether they are numbers, and rows of texts.

    Attributes
    ----------
    name
        Name of the table and of its file.
    title
        Its heading.
    columns
        Name of each column, and whether it holds numbers.
    rows
        The texts, row by row.
    total
        How many rows the whole table has.
    """

    name: str
    title: str
    columns: list[tuple[str, bool]]
    rows: list[tuple[str, ...]]
    total: int


def sortable(name: str, table: pd.DataFrame, *, labelled: Sequence[str] = ("metric", "kept")) -> SortableTable:
    """The first rows of a table of an answer, metrics and feature sets under the names that figures use.

    Parameters
    ----------
    name
        Name of the table and of its file.
    table
        The table.
    labelled
        Columns whose texts are metric columns.

    Returns
    -------
    SortableTable
        Ready for the page.

    Examples
    --------
    >>> table = sortable("scores", pd.DataFrame({"metric": ["k_core_norm"], "r": [0.123456]}))
    >>> table.columns, table.rows
    ([('metric', False), ('r', True)], [('k core (norm.)', '0.123')])
    """
    shown = table.head(MOST_ROWS)
    # Columns without any value or text are left out.
    kept = [c for c in shown.columns if not (table[c].isna() | (table[c].astype(str) == "")).all()]
    texts, columns = [], []
    for column in kept:
        values = shown[column]
        number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        columns.append((str(column).replace("_", " "), number))
        label = metric_label if column in labelled else set_label if column in ("features", "first", "second") else None
        texts.append([label(str(v)) if label and not number else cell(v, 3) for v in values])
    rows = list(zip(*texts, strict=True))
    return SortableTable(name, name.replace("_", " ").capitalize(), columns, rows, len(table))
