"""``topo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study's folder, or a results table (.parquet, .csv).")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; STUDY/report.html unless given.")
    ] = None,
) -> None:
    """Write one self-contained HTML file of what a study found.

    \b
      topo report studies/digits
      topo report published.csv -o published.html
    """
    from ..report import write_report

    typer.echo(f"The report is in {write_report(source, output)}.")
