"""What is computed anew, by the number of the question."""

from __future__ import annotations

from collections.abc import Callable

from topo.questions import QUESTIONS, ordered_questions
from topo.questions.answer import Answer
from topo.results.evidence import Evidence

from .claims import Claim
from .comparing_networks import question_6
from .moving_with_accuracy import question_1, question_2
from .of_the_report import report_claims
from .predicted import question_3, question_7
from .ranked import question_4
from .recognised import question_5

CHECKED: dict[int, Callable[[Answer, Evidence], list[Claim]]] = {
    1: question_1,
    2: question_2,
    3: question_3,
    4: question_4,
    5: question_5,
    6: question_6,
    7: question_7,
}


def claims_of(number: int, evidence: Evidence) -> list[Claim]:
    """The sentences of a question's answer, each compared with what was computed anew."""
    if number == 0:
        return report_claims(evidence)
    answer = QUESTIONS[ordered_questions()[number - 1]](evidence, seed=0)
    if answer.reason:
        claim = Claim(f"{number} reason", answer.reason)
        claim.skip("no answer")
        return [claim]
    return CHECKED[number](answer, evidence)
