"""The research questions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..registry import Registry

if TYPE_CHECKING:
    from .answer import Answer

__all__ = ["QUESTIONS", "ordered_questions"]

QUESTIONS: Registry[Callable[..., Answer]] = Registry("question")
"""Functions ``question(evidence, *, seed=0, ...settings) -> Answer``, registered with their place: ``number=1``."""


def ordered_questions() -> list[str]:
    """Names of the questions in the order in which a report asks them.

    Examples
    --------
    >>> from topo.questions import ordered_questions
    >>> ordered_questions()[:2]
    ['metrics_and_accuracy', 'beyond_density']
    """
    return [e.name for e in sorted(QUESTIONS.entries(), key=lambda entry: entry.info.get("number", len(QUESTIONS)))]
