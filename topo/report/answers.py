"""A research question asked, its answer ready for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from threadpoolctl import threadpool_limits

from ..questions import QUESTIONS, Evidence
from .cells import SortableTable, sortable
from .figures import FigureHtml, figure_html

__all__ = ["AnswerHtml", "answered", "slow_first"]

# Questions that take longest, the slowest first.
SLOWEST = ("multipartite_or_bipartite", "ranking_pruners", "pruner_from_mask", "before_training")


@dataclass(frozen=True)
class AnswerHtml:
    """One answer: texts, figures as markup, tables as rows of texts.

    Attributes
    ----------
    name, number
        Name and number of the question.
    title, question
        Heading, and the question in words.
    sentences
        The answer.
    reason
        Why there is none.
    caption, method, caveats
        Texts below it.
    figures
        Its figures.
    tables
        Its tables.
    seconds
        How long it took.
    """

    name: str
    number: int
    title: str
    question: str
    sentences: tuple[str, ...] = ()
    reason: str = ""
    caption: str = ""
    method: str = ""
    caveats: tuple[str, ...] = ()
    figures: list[FigureHtml] = field(default_factory=list)
    tables: list[SortableTable] = field(default_factory=list)
    seconds: float = 0.0


def slow_first(names: Sequence[str]) -> list[str]:
    """Names of questions in the order in which processes should take them on.

    Parameters
    ----------
    names
        Registered questions.

    Returns
    -------
    list
        The same names.

    Examples
    --------
    >>> slow_first(["similar_networks", "ranking_pruners"])
    ['ranking_pruners', 'similar_networks']
    """
    return sorted(names, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))


def answered(evidence: Evidence, name: str, folder: Path | None = None) -> AnswerHtml:
    """Ask one question; its figures and tables are also written to `folder`, if given.

    Parameters
    ----------
    evidence
        Tables to ask.
    name
        A registered question.
    folder
        Where the figures are also written; nowhere when left out.

    Returns
    -------
    AnswerHtml
        Ready for the page.
    """
    entry = QUESTIONS.entry(name)
    started = perf_counter()
    with threadpool_limits(1):
        answer = entry.item(evidence)
    if folder is not None and not answer.reason:
        folder.mkdir(parents=True, exist_ok=True)
        for title, table in answer.tables.items():
            table.to_csv(folder / f"{title}.csv", index=False, float_format="%.6g")
    figures = []
    for title, drawn in answer.figures.items():
        ident = f"{name}-{title}".replace("_", "-")
        describe = f"{answer.title}: {title.replace('_', ' ')}. {answer.caption}"
        body, width = figure_html(drawn, ident, describe, folder)
        figures.append(FigureHtml(ident, body, width, title.replace("_", " ").capitalize().replace("r2", "R²")))
    return AnswerHtml(
        name,
        entry.info.get("number", 0),
        answer.title,
        answer.question,
        answer.sentences,
        answer.reason,
        answer.caption,
        answer.method,
        answer.caveats,
        figures,
        [sortable(n, t) for n, t in answer.tables.items() if len(t)] if not answer.reason else [],
        perf_counter() - started,
    )
