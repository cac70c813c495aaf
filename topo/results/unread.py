"""Columns of numbers that nothing reads, because no metric of their name is known."""

from __future__ import annotations

import pandas as pd

from ..errors import counted
from ..study.table import RESERVED
from .controls import control_columns
from .labels import listed
from .schema import metric_columns

__all__ = ["unread_columns"]

# Beginnings of further columns of studies, and of the numbers of rows that a CSV file may hold.
ALSO_KNOWN = ("seconds_", "setting_", "settings_", "Unnamed")
MOST_NAMED = 4


def unread_columns(table: pd.DataFrame) -> str:
    """What is to be said of the columns of numbers that are neither a known metric's nor a study's own.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    str
        A sentence; empty where there are none.

    Examples
    --------
    >>> unread_columns(pd.DataFrame({"seed": [0], "edges": [7], "warmth": [0.5]}))
    "'warmth' holds numbers, but no metric of that name is known: register it, or describe it in table.attrs ..."
    """
    known = {*RESERVED, *metric_columns(table), *control_columns(table)}
    columns = [
        repr(str(column))
        for column in table.select_dtypes("number").columns
        if column not in known and not str(column).startswith(ALSO_KNOWN)
    ]
    if not columns:
        return ""
    more = len(columns) - MOST_NAMED
    named = listed(columns[:MOST_NAMED] + ([counted(more, "other")] if more > 0 else []))
    holds, names, them = ("holds", "that name", "it") if len(columns) == 1 else ("hold", "these names", "them")
    return (
        f"{named} {holds} numbers, but no metric of {names} is known: register {them}, or describe {them} in "
        "table.attrs (see topo.results.evidence.Evidence.of)."
    )
