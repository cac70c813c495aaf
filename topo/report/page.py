"""`write_report`: what studies or tables say, as one HTML page or as Markdown, and a folder of figures and tables."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from joblib import Parallel, delayed

from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from ..own_code import import_code
from ..plain_text import without_hidden
from ..questions import QUESTIONS, ordered_questions
from ..results.evidence import Evidence
from ..results.labels import listed
from ..results.sources import PUBLISHED_TABLES
from ..safe_files import replacing, writing
from . import findings, reading
from .answers import answered, merged, slow_first
from .content import Report, Section, Shown, numbered
from .glossary import glossary
from .html import as_html
from .markdown import as_markdown
from .measured import measured
from .networks import Drawn, layer_densities, network_to_draw
from .place import Kind, Place

__all__ = ["write_report"]

logger = logging.getLogger("topo.report")

T = TypeVar("T")

SUFFIXES: dict[Kind, tuple[str, ...]] = {"html": (".html", ".htm"), "md": (".md", ".markdown")}


def write_report(
    source: Any = None,
    path: str | Path | None = None,
    *,
    published: str | Path | None = None,
    format: Kind | None = None,
    questions: Sequence[str] | None = None,
    files: bool = True,
    workers: int | None = None,
    graph: MultipartiteGraph | None = None,
    graph_title: str = "",
    layers: pd.DataFrame | None = None,
    title: str | None = None,
    imports: Sequence[str] = (),
) -> Path:
    """Write a report of one or several studies, of a results table, of the published tables, or of both.

    It begins with accuracy against sparsity and a verdict a question; then comes a section a question, and all else is
    folded. Every number and figure is computed from the tables during the call. What cannot be shown is replaced by a
    sentence that says why. A warning is logged when networks have no accuracy.

    Parameters
    ----------
    source
        A study, its folder, a results table (DataFrame), or the path of one (.parquet, .csv); or a list of these.
    path
        The file to write; by default ``report.html`` in the study's folder, ``<table>-report.html`` beside a table
        file, and ``topology-report.html`` in the current folder for several sources and for the published tables.
    published
        Folder of the published tables: reported on alone, or beside a source and told apart from it.
    format
        ``"html"``, one page that needs nothing beside it, or ``"md"``, Markdown whose figures are PNG files in a
        folder beside it; by default what the suffix of `path` says, a page without one.
    questions
        Names of the research questions to ask (`topo.questions`); all of them when left out.
    files
        Write figures (SVG, those shown also as PDF; PNG for Markdown) and tables (CSV) to
        ``<path without suffix>-files`` as well.
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
        The source is unreadable, empty or lacks a needed column, the format is none, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from topo.results import example_results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(example_results(sparsities=(0.9,)), f"{folder}/report.md", questions=[]).name
    'report.md'
    """
    if source is None and published is None:
        raise InputError(
            "give what to report on: studies or a results table, the folder of the published tables, or both."
        )
    if path is not None:
        _require_other_file(Path(path), source)
    kind = _kind(format, path)
    if kind == "md" and not files:
        raise InputError("the figures of a Markdown report are files beside it; leave files on, or write HTML.")
    names = ordered_questions() if questions is None else [QUESTIONS.entry(name).name for name in questions]
    if isinstance(source, list | tuple) and len(source) == 1:
        source = source[0]
    own = Evidence.open(study=source) if source is not None else None
    theirs = Evidence.open(published=published) if published is not None else None
    path = Path(path) if path is not None else _default_path(source, own, theirs, kind)
    both = own is not None and theirs is not None
    evidence = [(s if both else "", e) for s, e in (("own", own), ("published", theirs)) if e is not None]
    link = f"{path.stem}-files" if files else ""
    with _temporary_folder() as temporary:
        beside = Path(temporary) / "files"  # a folder below, since the temporary one is closed to others
        beside.mkdir()
        place = Place(kind, beside if files else None, link)
        with replacing(path) as name:
            jobs: list[tuple] = []
            for source_name, one in evidence:
                given = graph is not None and one is evidence[0][1]
                drawn = Drawn(graph, graph_title) if given else network_to_draw(one)
                densities = layers if layers is not None and one is evidence[0][1] else layer_densities(one)
                inside = place.below(source_name) if source_name else place
                jobs.append((measured, one, drawn, densities, inside.below("measured"), source_name))
                for question in slow_first(names):
                    jobs.append((answered, one, question, inside.below(question), source_name))
            shown, sections = _worked_on(jobs, names, workers, imports)
            heading = " beside the ".join(e.name for _, e in evidence)
            report = Report(
                title or (heading if own is not None else heading.capitalize()),
                tuple(shown),
                tuple(sections),
                reading.METHOD,
                glossary([one for _, one in evidence]),
                (PUBLISHED_TABLES.citation(),) if theirs is not None else (),
                link,
            )
            labels = {source_name: one.name for source_name, one in evidence}
            render = as_html if kind == "html" else as_markdown
            Path(name).write_text(without_hidden(render(numbered(report), labels)), encoding="utf-8")
        if files:
            with writing(path.with_name(link)):
                shutil.copytree(beside, path.with_name(link), dirs_exist_ok=True)
    if own is not None:
        _warn_of_lost(own)
    return path


def _require_other_file(path: Path, source: Any) -> None:
    """Refuse to write the report over a table that it is read from."""
    given = source if isinstance(source, list | tuple) else [source]
    if any(isinstance(one, str | Path) and Path(one).resolve() == path.resolve() for one in given):
        raise InputError(f"{path} is what the report is read from; give another file to write.")


def _worked_on(
    jobs: Sequence[tuple], names: Sequence[str], workers: int | None, imports: Sequence[str]
) -> tuple[list[Shown], list[Section]]:
    """What all jobs made: what is shown of each piece of evidence, and a section a question."""
    # The slowest first; what draws most is as slow as a question.
    order = {name: i for i, name in enumerate(slow_first(names))}
    jobs = sorted(jobs, key=lambda job: order[job[2]] if job[0] is answered else -1)
    # joblib's processes do not run the main script again, so that a script needs no guard.
    made = Parallel(n_jobs=min(workers or os.cpu_count() or 1, len(jobs)))(
        delayed(_with_code)(imports, *job) for job in jobs
    )
    shown = [one for one in made if isinstance(one, Shown)]
    sections = [merged([one for one in made if isinstance(one, Section) and one.name == name]) for name in names]
    return shown, sections


def _with_code(imports: Sequence[str], work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns in a process that has imported own code."""
    for source in imports:
        import_code(source)
    return work(*arguments)


def _kind(format: str | None, path: str | Path | None) -> Kind:
    """The kind of report that is asked for, by name or by the suffix of its file."""
    suffix = Path(path).suffix.lower() if path is not None else ""
    by_suffix = next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)
    if format is None:
        if by_suffix is None and suffix[1:].isalpha():
            known = " or ".join(suffixes[0] for suffixes in SUFFIXES.values())
            raise InputError(f"a report is written to a file that ends in {known}, not in {suffix!r}.")
        return by_suffix or "html"
    if format not in SUFFIXES:
        raise InputError(
            f"a report is written as {listed(list(SUFFIXES))}, not as {format!r}.".replace(" and ", " or ")
        )
    if by_suffix is not None and by_suffix != format:
        raise InputError(
            f"format {format!r} does not go with a file named {Path(str(path)).name}; leave one of them out."
        )
    return "md" if format == "md" else "html"


def _warn_of_lost(evidence: Evidence) -> None:
    lost = findings.lost_sentence(evidence.networks)
    if not lost:
        return
    folders = " and ".join(f"topo study status {folder}" for folder in evidence.studies.values())
    told = "the report lists the reasons under Failed and collapsed networks"
    told = f"{told}, and {folders} says where errors arose." if folders else f"{told}."
    logger.warning("%s; %s", lost.rstrip("."), told)


def _default_path(source: Any, own: Evidence | None, theirs: Evidence | None, kind: Kind) -> Path:
    suffix = SUFFIXES[kind][0]
    if own is None or theirs is not None:
        return Path(f"topology-report{suffix}")
    if own.folder is not None and (own.studies or (own.folder / "results.parquet").exists()):
        return own.folder / f"report{suffix}"
    if isinstance(source, str | Path):
        return Path(source).with_name(f"{Path(source).stem}-report{suffix}")
    if isinstance(source, pd.DataFrame):
        raise InputError("a report of a table in memory needs a path to write to: write_report(table, path).")
    return Path(f"topology-report{suffix}")


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise InputError(
            f"a report is put together in a temporary folder, and none can be made ({error.strerror}); make room, or "
            "set TMPDIR to a folder that is writable and has room."
        ) from error
