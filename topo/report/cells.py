"""Values as the cells of a table, and the tables of a report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..results.feature_sets import set_label
from ..results.schema import metric_label

__all__ = ["Column", "Table", "cell", "summary_table", "table_of"]

MOST_ROWS = 60
ROUNDING = 1e-12
# Texts that stand to the right of their column: numbers, shares, and what is missing.
NUMBER = re.compile(r"(≤ )?[−+-]?[\d,]*\.?\d*(e-?\d+)?( ?%)?|–|")
PLAIN = re.compile(r"-?\d+(\.\d+)?")
DECIMAL = re.compile(r"-?\d+\.\d{1,4}")
LABELLED = ("metric", "kept")
FEATURE_SETS = ("features", "first", "second")


def cell(value: Any, digits: int = 5) -> str:
    """A value as text: whole numbers in full, others with so many digits, nothing for what is missing.

    What is left of zero by rounding is zero.

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
    >>> cell(0.1234567), cell(0.1234567, 3), cell(3.0), cell(-1e-18), cell(None), cell(True)
    ('0.12346', '0.123', '3', '0', '', 'yes')
    """
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        number = number if abs(number) > ROUNDING else 0.0
        return f"{number:.0f}" if abs(number) < 1e15 and number == round(number) else f"{number:.{digits}g}"
    return str(value)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name
        Its heading.
    number
        Whether it holds numbers.
    meaning
        What it holds, in words; empty where its heading says so.
    """

    name: str
    number: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready for a report.

    Attributes
    ----------
    name
        Unique in its part of the report.
    title
        Its heading.
    columns
        What they hold.
    rows
        The texts, row by row.
    total
        How many rows the whole table has.
    file
        Where the whole table lies as CSV, relative to the report; empty without files.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int
    file: str = ""

    @property
    def narrow(self) -> bool:
        """Whether it fits beside a figure or text."""
        widths = [
            max(*(len(row[i]) for row in self.rows), *map(len, column.name.split()), 0) + 3
            for i, column in enumerate(self.columns)
        ]
        return sum(widths) <= 64

    @property
    def meanings(self) -> list[Column]:
        """The columns that are explained."""
        return [column for column in self.columns if column.meaning]


def table_of(name: str, table: pd.DataFrame, *, labelled: Sequence[str] = LABELLED, file: str = "") -> Table:
    """The first rows of a table of an answer, metrics and feature sets under the names that figures use.

    Parameters
    ----------
    name
        Name of the table and of its file.
    table
        The table.
    labelled
        Columns whose texts are metric columns.
    file
        Where the whole table lies as CSV.

    Returns
    -------
    Table
        Ready for the report.

    Examples
    --------
    >>> table = table_of("scores", pd.DataFrame({"metric": ["k_core_norm"], "r": [0.123456]}))
    >>> [column.name for column in table.columns], table.rows
    (['metric', 'r'], (('k core (norm.)', '0.123'),))
    """
    shown = table.head(MOST_ROWS)
    # Columns without any value or text are left out.
    kept = [c for c in shown.columns if not (table[c].isna() | (table[c].astype(str) == "")).all()]
    texts, columns = [], []
    for column in kept:
        values = shown[column]
        number = _is_number(values)
        columns.append(Column(str(column).replace("_", " "), number))
        label = metric_label if column in labelled else set_label if column in FEATURE_SETS else None
        texts.append([label(str(v)) if label and not number else cell(v, 3) for v in values])
    return Table(
        name, name.replace("_", " ").capitalize(), tuple(columns), tuple(zip(*texts, strict=True)), len(table), file
    )


def summary_table(name: str, table: pd.DataFrame, meanings: Mapping[str, str], file: str = "", most: int = 7) -> Table:
    """The table that a report shows without being asked, its first rows, with its columns explained.

    Parameters
    ----------
    name
        Name of the table.
    table
        With column names in words.
    meanings
        What columns hold, by name.
    file
        Where it lies as CSV.
    most
        Rows that are shown.

    Returns
    -------
    Table
        Ready for the report; a missing value is a dash.

    Examples
    --------
    >>> summary_table("summary", pd.DataFrame({"share": [0.5, None]}), {"share": "of all"}).rows
    (('0.5',), ('–',))
    """
    columns, texts = [], []
    for i, heading in enumerate(table.columns):
        cells = _even_decimals([cell(value, 3) or "–" for value in table.iloc[:most, i]])
        number = all(NUMBER.fullmatch(text) for text in cells)
        columns.append(Column(str(heading), number, str(meanings.get(heading, "")).strip().rstrip(".")))
        texts.append(cells)
    return Table(name, "Summary", tuple(columns), tuple(zip(*texts, strict=True)), len(table), file)


def _even_decimals(texts: list[str]) -> list[str]:
    """Plain numbers of a column with as many decimals as the longest of them."""
    decimals = [len(text.partition(".")[2]) for text in texts if DECIMAL.fullmatch(text)]
    if not decimals:
        return texts
    return [f"{float(text) + 0.0:.{max(decimals)}f}" if PLAIN.fullmatch(text) else text for text in texts]


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
