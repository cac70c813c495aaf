"""A research question asked, its answer ready for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from threadpoolctl import threadpool_limits

from ..errors import counted
from ..questions import QUESTIONS, Answer, Evidence
from ..results.labels import listed
from .cells import Table, summary_table, table_of
from .content import Part, Said, Section
from .pictures import Picture, picture
from .place import Place

__all__ = ["answered", "merged", "slow_first"]

# Questions that take longest, the slowest first.
SLOWEST = (
    *("similar_networks", "multipartite_or_bipartite", "ranking_pruners", "pruner_from_mask", "before_training"),
    "metrics_and_accuracy",
)


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
    >>> slow_first(["ranking_pruners", "similar_networks"])
    ['similar_networks', 'ranking_pruners']
    """
    return sorted(names, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))


def answered(evidence: Evidence, name: str, place: Place, source: str = "") -> Section:
    """Ask one question of one piece of evidence.

    Parameters
    ----------
    evidence
        Tables to ask.
    name
        A registered question.
    place
        Where the answer will stand.
    source
        Whose evidence it is, where there are several.

    Returns
    -------
    Section
        With one answer.
    """
    entry = QUESTIONS.entry(name)
    with threadpool_limits(1):
        answer = entry.item(evidence)
    said = Said(source, reason=answer.reason) if answer.reason else _said(answer, name, place, source)
    return Section(name, entry.info.get("number", 0), answer.title, answer.question, (said,))


def merged(sections: Sequence[Section]) -> Section:
    """One section of the same question asked of several pieces of evidence.

    Parameters
    ----------
    sections
        At least one, all of one question.

    Returns
    -------
    Section
        With all answers.
    """
    return replace(sections[0], said=tuple(one for section in sections for one in section.said))


def _said(answer: Answer, name: str, place: Place, source: str) -> Said:
    prefix = f"{source}-{name}" if source else name
    pictures: list[Picture] = []
    for figure_name, figure in answer.figures.items():
        ident = _ident(f"{prefix}-{figure_name}")
        title = answer.titles.get(figure_name, "").rstrip(".") or figure_name.replace("_", " ").capitalize().replace(
            "r2", "R²"
        )
        describe = f"{answer.title}: {title}. {answer.caption}"
        pictures.append(picture(figure, ident, place, title, describe, paper=not pictures))
    tables: tuple[Table, ...] = tuple(
        table_of(n, t, file=place.write_table(n, t)) for n, t in answer.tables.items() if len(t)
    )
    summary = None
    if answer.summary is not None and len(answer.summary):
        file = place.write_table("summary", answer.summary)
        summary = summary_table("summary", answer.summary, answer.columns, file)
        if summary.total > len(summary.rows):
            whole = summary_table("summary", answer.summary, answer.columns, file, summary.total)
            tables = (replace(whole, columns=tuple(replace(c, meaning="") for c in whole.columns)), *tables)
    return Said(
        source,
        verdict=answer.verdict,
        sentences=answer.sentences,
        picture=pictures[0] if pictures else None,
        summary=summary,
        more=_more(answer, _ident(f"{prefix}-more"), tuple(pictures[1:]), tables),
    )


def _more(answer: Answer, ident: str, pictures: tuple[Picture, ...], tables: tuple[Table, ...]) -> Part:
    held = ["How to read the figure", "method"]
    held += ["caveats"] if answer.caveats else []
    held += [counted(len(pictures), "further figure")] if pictures else []
    held += [counted(len(tables), "table")] if tables else []
    texts = (("How to read this.", answer.caption), ("Method.", answer.method), ("Caveats.", " ".join(answer.caveats)))
    return Part(ident, listed(held), tuple(t for t in texts if t[1]), (), pictures, tables)


def _ident(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
