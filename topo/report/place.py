"""Where what a report shows will stand: on a page or in Markdown, and in which folder of files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pandas as pd

from ..tables import csv_text

__all__ = ["Kind", "Place"]

Kind = Literal["html", "md"]


@dataclass(frozen=True)
class Place:
    """A folder of files beside a report, and what kind of report it is.

    Parameters
    ----------
    kind
        ``"html"`` or ``"md"``.
    folder
        Where files are written; nowhere when left out.
    link
        What the folder is called in the report.

    Examples
    --------
    >>> Place().write("a.csv", "x"), Place().below("q").files
    ('', False)
    """

    kind: Kind = "html"
    folder: Path | None = None
    link: str = ""

    @property
    def files(self) -> bool:
        """Whether files are written."""
        return self.folder is not None

    def below(self, name: str) -> Place:
        """A folder inside this one.

        Parameters
        ----------
        name
            What it is called.
        """
        if self.folder is None:
            return self
        return replace(self, folder=self.folder / name, link=f"{self.link}/{name}")

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file.

        Parameters
        ----------
        name
            What it is called.
        content
            What it holds.

        Returns
        -------
        str
            Its address relative to the report; empty where no files are written.
        """
        if self.folder is None:
            return ""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8") if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)
        return quote(f"{self.link}/{name}")

    def write_table(self, name: str, table: pd.DataFrame) -> str:
        """Write a table as CSV; see `write`.

        Parameters
        ----------
        name
            What it is called, without a suffix.
        table
            The table.

        Returns
        -------
        str
            As of `write`.
        """
        return self.write(f"{name}.csv", csv_text(table, float_format="%.6g")) if self.files else ""
