"""Research questions: each one function from evidence (tables) to an answer (sentences, figures, tables).

A question is one file that registers itself in `QUESTIONS`; ``analyses/q*.py`` and the report run them.
"""

from ..registry import import_submodules
from .answer import Answer
from .command import main
from .evidence import Evidence
from .registry import QUESTIONS, ordered_questions

__all__ = ["QUESTIONS", "Answer", "Evidence", "main", "ordered_questions"]

import_submodules(__name__, __path__)
