from __future__ import annotations

import pandas as pd
import pytest

from topo.questions.ranking_comparison import Comparison, ranking_title, ranking_verdict


def comparison(
    low: float, high: float, *, p: float = 0.01, hold: str = "pruner", detectable: float = 0.2
) -> Comparison:
    score = pd.Series({"tau": 0.5, "right": 0.75, "p_labels": p})
    baseline = pd.Series({"features": "density", "tau": 0.3, "right": 0.65})
    gain = pd.Series({"low": low, "high": high, "difference": 0.2, "detectable": detectable})
    return Comparison("at initialisation", hold, score, baseline, gain)


def test_yes_takes_more_than_the_best_baseline_and_more_than_chance():
    yes = ranking_verdict(comparison(0.1, 0.3))
    assert yes.said == "yes" and yes.sentence.startswith("Yes: of two unseen algorithms at initialisation")
    assert "75% of cases (Kendall's τ 0.50; p .010 against chance), layer density in 65% (τ 0.30)." in yes.sentence
    assert ranking_verdict(comparison(0.1, 0.3, p=0.06)).said == "open"
    assert ranking_verdict(comparison(0.1, 0.3, p=0.06, hold="dataset")).said == "yes"
    assert "clearly better than layer density" in ranking_title(comparison(0.1, 0.3))


def test_no_is_worse_than_the_best_baseline():
    assert ranking_verdict(comparison(-0.3, -0.1)).said == "no"
    assert "clearly worse than" in ranking_title(comparison(-0.3, -0.1))


@pytest.mark.parametrize(
    ("detectable", "words"),
    [
        (0.2, "in τ of 0.20 would have been found."),
        (0.9, "only a nearly perfect score"),
        (float("nan"), ")."),
    ],
)
def test_open_says_what_would_have_been_found(detectable, words):
    verdict = ranking_verdict(comparison(-0.1, 0.3, detectable=detectable))
    assert verdict.said == "open" and words in verdict.sentence and len(verdict.sentence) <= 300
    assert verdict.sentence.startswith("Can not tell: ")
    assert "not clearly better than" in ranking_title(comparison(-0.1, 0.3))
