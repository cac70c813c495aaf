"""One question from the command line: what every file ``analyses/q*.py`` runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, counted
from ..questions.registry import QUESTIONS
from ..results.evidence import Evidence
from .output import say

__all__ = ["main"]


def main(name: str, arguments: Sequence[str] | None = None) -> int:
    """Ask one question of the evidence that the arguments name; print its sentences and where its files are.

    Parameters
    ----------
    name
        A registered question.
    arguments
        Those of the command line when left out.

    Returns
    -------
    int
        0, or 2 where the evidence cannot be read (one line on standard error says why).
    """
    entry = QUESTIONS.entry(name)
    parser = argparse.ArgumentParser(description=entry.summary)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--study", type=Path, metavar="DIR", help="a study's folder, or its table (.parquet, .csv)")
    source.add_argument("--published", type=Path, metavar="DIR", help="the folder of the published tables")
    parser.add_argument(
        "--draws", metavar="PATTERN", help="only algorithms that match, every seed of each as an algorithm of its own"
    )
    parser.add_argument("--without", metavar="PATTERN", help="leave out algorithms that match")
    parser.add_argument("--without-collapsed", action="store_true", help="leave out networks that learned nothing")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where figures and tables go")
    parser.add_argument("--seed", type=int, default=0, help="seeds every resample and split")
    options = parser.parse_args(arguments)
    try:
        evidence = Evidence.open(study=options.study, published=options.published)
        evidence = evidence.select(
            draws=options.draws, without=options.without, collapsed=not options.without_collapsed
        )
        answer = entry.item(evidence, seed=options.seed)
    except InputError as error:
        say(error, err=True)
        return 2
    folder = options.out or Path("analyses") / "results" / _slug(evidence.name) / name
    files = answer.save(folder)
    say(answer.text(), lines=True)
    say(
        f"\n{counted(len(files), 'file', 'is', 'are')} in {folder}." if files else "\nThere is nothing to draw.",
        lines=True,
    )
    return 0


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")
