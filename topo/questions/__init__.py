"""Research questions: each one function from evidence (tables) to an answer (sentences, figures, tables).

A question is one file that registers itself in `QUESTIONS`; ``analyses/q*.py`` and the report run them.
"""

from ..registry import import_submodules
from ..results.evidence import Evidence
from .answer import Answer, Verdict
from .registry import QUESTIONS, ordered_questions

__all__ = ["QUESTIONS", "Answer", "Evidence", "Verdict", "ordered_questions"]

import_submodules(__name__, __path__)
