"""What a report says, before it becomes a page or Markdown: verdicts, sections, and what is folded below them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..questions.answer import Verdict
from .cells import Table
from .pictures import Picture

__all__ = ["Part", "Report", "Said", "Section", "Shown", "numbered"]

SAID = {"yes": "Yes", "no": "No", "open": "Can not tell"}


@dataclass(frozen=True)
class Part:
    """What a reader opens: a heading with text, figures and tables below it.

    Attributes
    ----------
    name
        Unique in the report.
    title
        Its heading.
    paragraphs
        Texts, each with a word or two before it that say what it is, or with nothing.
    points
        A list below them.
    pictures, tables
        Below the texts.
    code
        Text as it is written in a file.
    full
        The whole results table; see `topo.report.full_table`.
    printed
        Whether it is worth paper.
    """

    name: str
    title: str
    paragraphs: tuple[tuple[str, str], ...] = ()
    points: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    full: Any = None
    printed: bool = True


@dataclass(frozen=True)
class Said:
    """What one piece of evidence says to a question.

    Attributes
    ----------
    source
        Whose evidence it is; empty where there is one only.
    reason
        Why there is no answer; empty where there is one.
    verdict
        The answer in one sentence.
    sentences
        The answer in three.
    picture
        The figure that is shown.
    summary
        The table that is shown.
    more
        What is folded.
    """

    source: str = ""
    reason: str = ""
    verdict: Verdict | None = None
    sentences: tuple[str, ...] = ()
    picture: Picture | None = None
    summary: Table | None = None
    more: Part | None = None

    @property
    def chip(self) -> tuple[str, str]:
        """One word for the answer, and what kind of answer it is."""
        if self.reason:
            return "No answer", "none"
        return (SAID[self.verdict.said], self.verdict.said) if self.verdict else ("Answer", "none")

    @property
    def line(self) -> str:
        """The verdict, without the words that stand in the chip already."""
        if self.reason:
            return self.reason[:1].upper() + self.reason[1:]
        if self.verdict is None:
            return self.sentences[0]
        word = SAID[self.verdict.said]
        rest = self.verdict.sentence.removeprefix(word)
        if rest == self.verdict.sentence or not rest[:1] or rest[0] not in ":,.;–—":
            return self.verdict.sentence
        rest = rest[1:].strip()
        return rest[:1].upper() + rest[1:]


@dataclass(frozen=True)
class Section:
    """A question, and what each piece of evidence says to it.

    Attributes
    ----------
    name, number
        Of the question.
    title, question
        Its heading, and the question in words.
    said
        One answer a piece of evidence.
    """

    name: str
    number: int
    title: str
    question: str
    said: tuple[Said, ...]

    @property
    def answered(self) -> tuple[Said, ...]:
        """The answers that are no refusals."""
        return tuple(one for one in self.said if not one.reason)


@dataclass(frozen=True)
class Shown:
    """What is shown of one piece of evidence beside the questions.

    Attributes
    ----------
    source
        Whose evidence it is; empty where there is one only.
    run
        What was run, in one sentence.
    warnings
        What a reader has to know before all else.
    accuracy
        Accuracy against sparsity.
    below
        What the figure of accuracy leaves out.
    findings
        Sentences for a report without questions.
    parts
        What is folded.
    """

    source: str
    run: str
    accuracy: Picture
    warnings: tuple[str, ...] = ()
    below: str = ""
    findings: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def prefix(self) -> str:
        """What names of its parts begin with."""
        return f"{self.source}-" if self.source else ""


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes
    ----------
    title
        Its heading.
    shown
        One a piece of evidence.
    sections
        One a question, in their order.
    method
        How its numbers came about.
    words
        What metrics and terms mean.
    sources
        Whose tables are shown, with their licence.
    files
        Folder of the files, as it is called in the report; empty without.
    """

    title: str
    shown: tuple[Shown, ...]
    sections: tuple[Section, ...] = ()
    method: tuple[tuple[str, str], ...] = ()
    words: Part | None = None
    sources: tuple[str, ...] = field(default=())
    files: str = ""


def numbered(report: Report) -> Report:
    """The report with a number for every figure: those that are shown first, what belongs to them as 2b, 2c.

    Parameters
    ----------
    report
        A report.

    Returns
    -------
    Report
        The same with numbers.
    """
    count = iter(range(1, 10_000))

    def one(picture: Picture, number: str) -> Picture:
        return picture if picture.missing else replace(picture, number=number)

    shown = [
        replace(s, accuracy=one(s.accuracy, str(next(count)) if not s.accuracy.missing else "")) for s in report.shown
    ]
    sections = []
    for section in report.sections:
        said = []
        for answer in section.said:
            if answer.picture is not None and not answer.picture.missing:
                number = str(next(count))
                answer = replace(answer, picture=one(answer.picture, number))
                if answer.more is not None:
                    further = [one(p, f"{number}{letter}") for p, letter in zip(answer.more.pictures, _letters())]
                    answer = replace(answer, more=replace(answer.more, pictures=tuple(further)))
            said.append(answer)
        sections.append(replace(section, said=tuple(said)))
    for i, one_shown in enumerate(shown):
        parts = [
            replace(part, pictures=tuple(one(p, str(next(count)) if not p.missing else "") for p in part.pictures))
            for part in one_shown.parts
        ]
        shown[i] = replace(one_shown, parts=tuple(parts))
    return replace(report, shown=tuple(shown), sections=tuple(sections))


def _letters() -> Iterator[str]:
    return iter("bcdefghijklmnopqrstuvwxyz")
