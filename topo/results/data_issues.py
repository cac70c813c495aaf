"""What is odd in a table, collected while it is read, so that nothing is repaired silently."""

from __future__ import annotations

import pandas as pd

__all__ = ["DataIssues"]

COLUMNS = ("file", "column", "rows", "what", "done")


class DataIssues:
    """A growing list of oddities.

    Examples
    --------
    >>> issues = DataIssues()
    >>> issues.add("a.csv", "seed", 2, "no seed is given", "taken as 0")
    >>> issues.add("a.csv", "model", 0, "no model is given", "left out")  # none such: not listed
    >>> issues.table().values.tolist()
    [['a.csv', 'seed', 2, 'no seed is given', 'taken as 0']]
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, int, str, str]] = []

    def add(self, file: str, column: str, rows: int, what: str, done: str) -> None:
        """List one, unless it concerns no row.

        Parameters
        ----------
        file
            Where it is.
        column
            Which column it concerns.
        rows
            How many rows.
        what
            What is the matter with them.
        done
            What was done about it.
        """
        if rows:
            self._rows.append((file, column, int(rows), what, done))

    def table(self) -> pd.DataFrame:
        """One row an oddity: file, column, rows (how many it concerns), what, done (what was done about it)."""
        return pd.DataFrame(self._rows, columns=list(COLUMNS)).astype({"rows": int})
