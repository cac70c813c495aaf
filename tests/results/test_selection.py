"""Parts of the evidence, and draws of an algorithm as algorithms of their own."""

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
    answer = QUESTIONS.get("metrics_and_accuracy")(evidence.select(draws="er"))
    assert set(answer.tables["pooled"]["units"]) == {8}
    few = QUESTIONS.get("metrics_and_accuracy")(Evidence.of(example_results(seeds=2)).select(draws="er"))
    assert few.tables.get("pooled") is None or few.tables["pooled"]["r"].isna().all()


def test_algorithms_and_collapsed_networks_are_left_out_with_their_layers():
    table = example_results(seeds=2)
    collapsed = (table["pruner"] == "er") & (table["sparsity"] == 0.9)
    table.loc[collapsed, "accuracy"] = 0.1
    layers = table[["dataset", "model", "pruner", "sparsity", "seed"]].assign(layer="fc")
    evidence = Evidence.of(table, layers=layers)
    alive = evidence.select(collapsed=False)
    assert len(alive.networks) == len(alive.layers) == len(table) - collapsed.sum() < len(table)
    assert not ((alive.networks["pruner"] == "er") & (alive.networks["sparsity"] == 0.9)).any()
    fewer = evidence.select(without="er*")
    assert set(evidence.sparse["pruner"]) - set(fewer.sparse["pruner"]) == {"er", "erk"}
    assert set(fewer.layers["pruner"]) == set(fewer.networks["pruner"]) and "dense" in set(fewer.networks["pruner"])
    with pytest.raises(InputError, match="no algorithm matches 'xyz'; the table has "):
        evidence.select(without="xyz")
