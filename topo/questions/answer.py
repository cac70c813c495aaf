"""Answers of questions: a verdict, three sentences, figures and tables, or the reason why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from matplotlib.figure import Figure

from ..plots.theme import style
from ..tables import write_table

__all__ = ["Answer", "Said", "Verdict"]

KINDS = ("png", "svg", "pdf")

Said = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class Verdict:
    """The answer in one sentence that a tired reader understands.

    Parameters
    ----------
    said
        ``"yes"``, ``"no"``, or ``"open"``: the evidence does not tell.
    sentence
        In plain words, with the strongest number; where it is open, the size of effect that would have been found.

    Raises
    ------
    ValueError
        `said` is none of the three, or the sentence is empty or holds a missing number.

    Examples
    --------
    >>> Verdict("open", "Can not tell: no metric moves with accuracy, and only |ρ| above .8 would have been seen.").said
    'open'
    """

    said: Said
    sentence: str

    def __post_init__(self) -> None:
        if self.said not in get_args(Said):
            raise ValueError(f"a verdict says {', '.join(get_args(Said))}; got {self.said!r}")
        if not self.sentence or "nan" in self.sentence.split():
            raise ValueError("a verdict needs a sentence without missing numbers")


@dataclass(frozen=True)
class Answer:
    """The answer of one question from one piece of evidence.

    Parameters
    ----------
    title, question
        A short heading, and the question in one sentence.
    sentences
        Exactly three, computed from `tables`; none where there is a `reason`.
    figures, tables
        By name; the names become file names.
    caption
        How to read the figures.
    method
        What was computed.
    caveats
        What the numbers do not say.
    reason
        Why the evidence cannot answer the question; empty where it can.
    verdict
        Yes, no or open, in one sentence; None where there is a `reason`.
    titles
        What is seen in a figure, as its title: a computed sentence by the figure's name. The first figure is the one
        that a page shows, the others are folded.
    summary
        The one table that a page shows, with column names in words, of at most 15 rows and 8 columns.
    columns
        What the columns of `summary` mean, by name.

    Examples
    --------
    >>> Answer.without("Density", "Is it density?", "the table has no column 'edges'.").reason
    "the table has no column 'edges'."
    """

    title: str
    question: str
    sentences: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    caption: str = ""
    method: str = ""
    caveats: tuple[str, ...] = ()
    reason: str = ""
    verdict: Verdict | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    summary: pd.DataFrame | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = 0 if self.reason else 3
        if isinstance(self.sentences, str) or len(self.sentences) != wanted:
            raise ValueError(f"an answer {'without' if self.reason else 'with'} numbers has {wanted} sentences")
        object.__setattr__(self, "sentences", tuple(self.sentences))
        object.__setattr__(self, "caveats", tuple(self.caveats))

    def __repr__(self) -> str:
        said = self.verdict.sentence if self.verdict is not None else self.reason or " ".join(self.sentences)
        return f"<Answer to {self.title!r}: {said}>"

    @classmethod
    def without(
        cls, title: str, question: str, reason: str, *, tables: Mapping[str, pd.DataFrame] | None = None
    ) -> Answer:
        """The answer of evidence that cannot answer, with the reason in one sentence.

        Parameters
        ----------
        title
            Title of the question.
        question
            The question.
        reason
            One sentence.
        tables
            Tables by name, if there are any all the same.

        Returns
        -------
        Answer
            Without sentences and figures.
        """
        return cls(title, question, reason=reason, tables=tables or {})

    def save(self, folder: str | Path) -> list[Path]:
        """Write every figure as PNG, SVG and PDF and every table as CSV; returns the files written.

        The folder is created where it is missing.

        Parameters
        ----------
        folder
            Where to write.

        Returns
        -------
        list
            Of paths.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, drawn in self.figures.items():
            for kind in KINDS:
                files.append(folder / f"{name}.{kind}")
                # Dates would make two runs on the same evidence differ.
                dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
                with style():
                    drawn.savefig(files[-1], metadata=dateless)
        tables = dict(self.tables) if self.summary is None else {"summary": self.summary, **self.tables}
        for name, table in tables.items():
            files.append(folder / f"{name}.csv")
            write_table(files[-1], table, float_format="%.6g")
        return files

    def text(self) -> str:
        """Title, question, and the three sentences or the reason, as plain text."""
        lines = [self.title, self.question, ""]
        if self.verdict is not None:
            lines += [self.verdict.sentence, ""]
        lines += [f"{i}. {sentence}" for i, sentence in enumerate(self.sentences, 1)]
        if self.reason:
            lines.append(f"No answer: {self.reason}")
        return "\n".join(lines)
