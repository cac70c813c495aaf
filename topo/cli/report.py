"""``topo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Imports
from .output import say

__all__ = ["report"]


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[STUDY]...", help="Folders of studies, or results tables (.parquet, .csv)."),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder of the published tables: alone, or beside the studies."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; STUDY/report.html unless given.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="html|md", help="A page, or Markdown with its figures as PNG beside it; by -o if not given."
        ),
    ] = None,
    questions: Annotated[
        bool, typer.Option(help="Ask the seven research questions, which take most of the time.")
    ] = True,
    imports: Imports = None,
) -> None:
    """Write what studies found: one HTML page, or Markdown, and a folder of its figures and tables beside it.

    \b
      topo report studies/digits
      topo report studies/digits studies/more -o both.html
      topo report studies/digits --format md
      topo report results.csv -o results.html
      topo report --published tables -o published.html
      topo report studies/digits --published tables -o beside.html
    """
    from ..report import write_report

    written = write_report(
        sources or None,
        output,
        published=published,
        format=format,  # type: ignore[arg-type]
        questions=None if questions else [],
        imports=imports or (),
    )
    say(f"The report is in {written}.")
