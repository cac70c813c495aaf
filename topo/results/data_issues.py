"""What is odd in a table, collected while it is read, so that nothing is repaired silently."""

from __future__ import annotations

import pandas as pd

__all__ = ["Anomalies"]

COLUMNS = ("file", "column", "rows", "what", "done")


class Anomalies:
    """A growing list of oddities.

    Examples
    --------
    >>> found = Anomalies()
    >>> found.add("a.csv", "seed", 2, "no seed is given", "taken as 0")
    >>> found.add("a.csv", "model", 0, "no model is given", "left out")  # none such: not listed
    >>> found.table().values.tolist()
    [['a.csv', 'seed', 2, 'no seed is given', 'taken as 0']]
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, int, str, str]] = []

    def add(self, file: str, column: str, rows: int, what: str, done: str) -> None:
        """List one, unless it concerns no row."""
        if rows:
            self._rows.append((file, column, int(rows), what, done))

    def table(self) -> pd.DataFrame:
        """One row an oddity: file, column, rows (how many it concerns), what, done (what was done about it)."""
        return pd.DataFrame(self._rows, columns=list(COLUMNS)).astype({"rows": int})
