"""Draws of an algorithm as algorithms of their own."""

from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.questions import QUESTIONS
from topo.results import draws_as_algorithms, example_results
from topo.results.evidence import Evidence


def test_every_draw_has_a_name_of_its_own_and_nothing_else_changes():
    table = example_results(seeds=3)
    draws = draws_as_algorithms(table, "er")
    kept = table[table["pruner"].isin(["er", "dense"])].reset_index(drop=True)
    assert draws.drop(columns="pruner").equals(kept.drop(columns="pruner"))
    assert set(draws["pruner"]) == {"dense", "er draw 0", "er draw 1", "er draw 2"}
    assert (draws.loc[draws["pruner"] == "er draw 2", "seed"] == 2).all()


@pytest.mark.parametrize(
    "pattern, word", [("random-*", "no algorithm matches 'random-\\*'"), ("dense", "no algorithm")]
)
def test_a_pattern_that_matches_nothing_is_refused(pattern, word):
    with pytest.raises(InputError, match=word):
        draws_as_algorithms(example_results(), pattern)


def test_a_table_without_seeds_has_no_draws():
    with pytest.raises(InputError, match="no column 'seed'"):
        draws_as_algorithms(example_results().drop(columns="seed"), "er")


def test_questions_count_draws_as_their_evidence():
    evidence = Evidence.of(example_results(seeds=8))
    answer = QUESTIONS.get("metrics_and_accuracy")(evidence.draws("er"))
    assert set(answer.tables["pooled"]["units"]) == {8}
    few = QUESTIONS.get("metrics_and_accuracy")(Evidence.of(example_results(seeds=2)).draws("er"))
    assert few.tables.get("pooled") is None or few.tables["pooled"]["r"].isna().all()
