"""One published file: the columns it must have, and rows that repeat a key."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..errors import InputError
from .data_issues import Anomalies

__all__ = ["read_csv", "without_repeats"]

TEXT = {"pruning", "pruning_algorithm", "model", "dataset", "layer_name"}


def read_csv(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV file that must have `columns`; columns that are neither names nor empty must be numbers."""
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as a table: {str(error).splitlines()[0]}") from error
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise InputError(f"{file} has no column {', '.join(map(repr, missing))}; it is not the published schema.")
    text = [c for c in columns if c not in TEXT and not pd.api.types.is_numeric_dtype(table[c])]
    if text:
        raise InputError(f"{file}: column {text[0]!r} holds values that are not numbers.")
    return table[list(columns)]


def without_repeats(table: pd.DataFrame, keys: list[str], file: str, found: Anomalies) -> pd.DataFrame:
    """The first row of every key; the others are listed, those that say something else apart."""
    again = table.duplicated(keys)
    same = table.duplicated()
    column = ", ".join(keys)
    found.add(file, column, int(same.sum()), "rows are written twice", "left out")
    found.add(file, column, int((again & ~same).sum()), "rows repeat a key with other values", "the first kept")
    return table[~again]
