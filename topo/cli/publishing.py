"""``topo cite``, ``topo methods`` and ``topo latex``: what a paper needs of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Imports
from .output import say

__all__ = ["cite", "latex", "methods"]

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of a study.")]


def cite(
    study: StudyFolder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .bib file to write; the terminal unless given.")
    ] = None,
    imports: Imports = None,
) -> None:
    """Write BibTeX of every pruner, model, dataset, encoding and metric that a study used, and of this software.

    \b
      topo cite studies/digits
      topo cite studies/digits -o references.bib
    """
    from ..publishing import cite as bibtex

    _write(bibtex(study), output)


def methods(
    study: StudyFolder,
    latex: Annotated[bool, typer.Option(help="References as \\\\cite, of the keys that topo cite writes.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file to write; the terminal unless given.")
    ] = None,
    imports: Imports = None,
) -> None:
    """Write what a study did as a paragraph for a paper: what was trained, pruned and measured, and with what.

    \b
      topo methods studies/digits
      topo methods studies/digits --latex -o methods.tex
    """
    from ..publishing import methods as paragraph

    _write(paragraph(study, latex=latex) + "\n", output)


def latex(
    study: StudyFolder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .tex file to write; the terminal unless given.")
    ] = None,
    imports: Imports = None,
) -> None:
    """Write tables in LaTeX: accuracy by pruner and sparsity, and the correlations of metrics with it.

    Means and standard deviations are over seeds; the highest mean of a column is bold, whether that is clear or not.
    Below a structured pruner stand dense networks of equal cost, where the study trained them. A star marks a
    correlation that is clear by the rule of the reports: an adjusted p-value below the false-discovery rate,
    algorithms being the evidence.

    \b
      topo latex studies/digits -o tables.tex
    """
    from ..publishing import accuracy_latex, correlation_latex
    from ..questions import Evidence
    from ..results import metric_columns
    from ..stats import permutation_correlation, with_q_values

    table = Evidence.read(study).networks
    sparse = table[table["pruner"] != "dense"]
    metrics = [column for column in metric_columns(sparse) if sparse[column].nunique() > 1]
    tests = with_q_values(permutation_correlation(sparse, metrics)).dropna(subset="r").sort_values("p")
    correlations = correlation_latex(tests) if len(tests) else "% no correlation has a value; topo report says why"
    _write(f"{accuracy_latex(table)}\n\n{correlations}\n", output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        say(text.rstrip("\n"), lines=True)
        return
    from ..safe_files import replacing

    with replacing(output) as name:
        Path(name).write_text(text, encoding="utf-8")
    say(f"Written to {output}.")
