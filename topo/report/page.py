"""`write_report`: one HTML file that needs nothing beside it, and a folder of its figures and tables."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import pandas as pd
from joblib import Parallel, delayed

from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from ..own_code import import_code
from ..questions import QUESTIONS, ordered_questions
from ..results.copies import copies_sentence
from ..results.evidence import Evidence
from ..results.schema import metric_columns
from ..safe_files import replacing, writing
from .answers import answered, slow_first
from .cells import sortable
from .figures import dark_colors
from .full_table import full_table
from .measured import measured
from .networks import Drawn, layer_densities, network_to_draw

__all__ = ["write_report"]

logger = logging.getLogger("topo.report")

T = TypeVar("T")


def write_report(
    source: Any = None,
    path: str | Path | None = None,
    *,
    published: str | Path | None = None,
    questions: Sequence[str] | None = None,
    files: bool = True,
    workers: int | None = None,
    graph: MultipartiteGraph | None = None,
    graph_title: str = "",
    layers: pd.DataFrame | None = None,
    title: str | None = None,
    imports: Sequence[str] = (),
) -> Path:
    """Write one self-contained HTML report of one or several studies, of a results table, or of the published tables.

    Every number and figure is computed from the tables during the call. What cannot be shown is replaced by a
    sentence that says why. A warning is logged when networks have no accuracy.

    Parameters
    ----------
    source
        A study, its folder, a results table (DataFrame), or the path of one (.parquet, .csv); or a list of these.
    path
        The file to write; by default ``report.html`` in the study's folder, ``<table>-report.html`` beside a table
        file, and ``topology-report.html`` in the current folder for several sources and for the published tables.
    published
        Folder of the published tables, in place of a source.
    questions
        Names of the research questions to ask (`topo.questions`); all of them when left out.
    files
        Write every figure (PNG, SVG, PDF) and table (CSV) to ``<path without suffix>-files`` as well.
    workers
        Processes that work on the questions; one a core unless given.
    graph, graph_title
        The graph to draw and what to call it; by default one that the study kept.
    layers
        Density of every layer: columns pruner, sparsity, layer, density; by default from what the study kept.
    title
        Heading; by default the name of the study or file.
    imports
        Files or modules of your own code that the processes import; that of a study is imported where it is needed.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        The source is unreadable, empty or lacks a needed column, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from topo.results import example_results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(example_results(sparsities=(0.9,)), f"{folder}/report.html", questions=[]).name
    'report.html'
    """
    if (source is None) == (published is None):
        raise InputError("give either what to report on (studies or a table) or the folder of the published tables.")
    if isinstance(source, list | tuple) and len(source) == 1:
        source = source[0]
    evidence = Evidence.open(study=source, published=published)
    path = Path(path) if path is not None else _default_path(source, evidence)
    drawn = network_to_draw(evidence) if graph is None else Drawn(graph, graph_title)
    layers = layer_densities(evidence) if layers is None else layers
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if files else None
        with replacing(path) as name:
            content = _content(evidence, drawn, layers, questions, folder, workers, imports)
            content["title"] = title or (evidence.name if published is None else evidence.name.capitalize())
            content["files"] = f"{path.stem}-files" if files else ""
            Path(name).write_text(_render(content), encoding="utf-8")
        if files:
            with writing(path.with_name(content["files"])):
                shutil.copytree(temporary, path.with_name(content["files"]), dirs_exist_ok=True)
    if content["lost_sentence"]:
        logger.warning("%s; %s", content["lost_sentence"].rstrip("."), _where_to_see_why(evidence))
    return path


def _where_to_see_why(evidence: Evidence) -> str:
    folders = " and ".join(f"topo study status {folder}" for folder in evidence.studies.values())
    listed = "the report lists the reasons under Failed and collapsed networks"
    return f"{listed}, and {folders} says where errors arose." if folders else f"{listed}."


def _default_path(source: Any, evidence: Evidence) -> Path:
    if evidence.folder is not None and (evidence.studies or (evidence.folder / "results.parquet").exists()):
        return evidence.folder / "report.html"
    if isinstance(source, str | Path):
        return Path(source).with_name(f"{Path(source).stem}-report.html")
    if isinstance(source, pd.DataFrame):
        raise InputError("a report of a table in memory needs a path to write to: write_report(table, path).")
    return Path("topology-report.html")


def _content(
    evidence: Evidence,
    drawn: Drawn,
    layers: pd.DataFrame | None,
    questions: Sequence[str] | None,
    folder: Path | None,
    workers: int | None,
    imports: Sequence[str],
) -> dict[str, Any]:
    names = ordered_questions() if questions is None else [QUESTIONS.entry(name).name for name in questions]

    def inside(name: str) -> Path | None:
        return folder / name if folder is not None else None

    order = slow_first(names)
    jobs = [delayed(_with_code)(imports, measured, evidence, drawn, layers, inside("measured"))]
    jobs += [delayed(_with_code)(imports, answered, evidence, name, inside(name)) for name in order]
    # joblib's processes do not run the main script again, so that a script needs no guard.
    shown, *asked = Parallel(n_jobs=min(workers or os.cpu_count() or 1, len(jobs)))(jobs)
    by_name = dict(zip(order, asked, strict=True))
    answers = [by_name[name] for name in names]
    table = evidence.networks.drop(columns="study", errors="ignore")
    if folder is not None:
        table.to_csv(folder / "results.csv", index=False)
    data_issues = evidence.data_issues
    return {
        "settings": evidence.settings,
        "notes": [*evidence.notes, *filter(None, [copies_sentence(evidence.networks, evidence.copies)])],
        "answers": [a for a in answers if not a.reason],
        "unanswered": [a for a in answers if a.reason],
        "asked": answers,
        "data_issues": sortable("data-issues", data_issues) if len(data_issues) else None,
        **shown,
        # Where questions were answered, only the findings on accuracy: the answers cover the others more carefully.
        "findings": shown["findings"] if not any(a.sentences for a in answers) else shown["accuracy_findings"],
        **full_table(table, metric_columns(table)),
        "csv_name": (re.sub(r"[^\w.-]+", "-", evidence.name).strip("-.") or "results") + ".csv",
        "style": _asset("report.css"),
        "dark_colors": dark_colors(),
        "script": _asset("report.js"),
    }


def _with_code(imports: Sequence[str], work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns in a process that has imported own code."""
    for source in imports:
        import_code(source)
    return work(*arguments)


def _render(content: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(**content)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
