"""``topo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Imports

__all__ = ["report"]


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[STUDY]...", help="Folders of studies, or results tables (.parquet, .csv)."),
    ] = None,
    published: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of the published tables, in place of studies.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; STUDY/report.html unless given.")
    ] = None,
    questions: Annotated[
        bool, typer.Option(help="Ask the seven research questions; without them it takes seconds.")
    ] = True,
    imports: Imports = None,
) -> None:
    """Write one self-contained HTML file of what studies found, and a folder of its figures and tables beside it.

    \b
      topo report studies/digits
      topo report studies/digits studies/more -o both.html
      topo report results.csv -o results.html
      topo report --published tables -o published.html
    """
    from ..report import write_report

    written = write_report(
        sources or None,
        output,
        published=published,
        questions=None if questions else [],
        imports=imports or (),
    )
    typer.echo(f"The report is in {written}.")
