"""Answers of questions: three sentences, figures and tables, or the reason why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..plots.theme import style

__all__ = ["Answer"]

KINDS = ("png", "svg", "pdf")


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

    def __post_init__(self) -> None:
        wanted = 0 if self.reason else 3
        if isinstance(self.sentences, str) or len(self.sentences) != wanted:
            raise ValueError(f"an answer {'without' if self.reason else 'with'} numbers has {wanted} sentences")
        object.__setattr__(self, "sentences", tuple(self.sentences))
        object.__setattr__(self, "caveats", tuple(self.caveats))

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
        for name, table in self.tables.items():
            files.append(folder / f"{name}.csv")
            table.to_csv(files[-1], index=False, float_format="%.6g")
        return files

    def text(self) -> str:
        """Title, question, and the three sentences or the reason, as plain text."""
        lines = [self.title, self.question, ""]
        lines += [f"{i}. {sentence}" for i, sentence in enumerate(self.sentences, 1)]
        if self.reason:
            lines.append(f"No answer: {self.reason}")
        return "\n".join(lines)
