from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.results import collapsed_networks, example_results, unknown_chance


def table(accuracies: list[float], classes: float | None = 10, tested: float | None = None, **columns) -> pd.DataFrame:
    """Networks of one dataset and model, by accuracy; the first is dense."""
    rows = {
        "dataset": "one",
        "model": "net",
        "pruner": ["dense", *(f"p{i}" for i in range(1, len(accuracies)))],
        "sparsity": [0.0] + [0.9] * (len(accuracies) - 1),
        "seed": 0,
        "accuracy": accuracies,
    }
    facts = {"classes": classes, "test_samples": tested}
    return pd.DataFrame(rows | {k: v for k, v in facts.items() if v is not None} | columns)


def collapsed(networks: pd.DataFrame) -> list[str]:
    return collapsed_networks(networks)["pruner"].tolist()


def test_a_tenth_of_what_the_dense_network_has_above_chance_is_the_limit():
    # Dense .9 with ten classes: .1 + .1 * .8 = .18.
    assert collapsed(table([0.9, 0.1, 0.18, 0.181, 0.02])) == ["p1", "p2", "p4"]


def test_of_many_classes_an_accuracy_that_is_tiny_is_near_chance_though_above_it():
    assert collapsed(table([0.7, 0.026, 0.17], classes=100, tested=10_000)) == ["p1"]


def test_what_guessing_reaches_on_few_images_is_near_chance():
    # .1 + 3 * sqrt(.1 * .9 / 100) = .19, above the .11 that a tenth of .2 - .1 gives.
    assert collapsed(table([0.2, 0.15, 0.19, 0.195], tested=100)) == ["p1", "p2"]
    assert collapsed(table([0.2, 0.15, 0.19, 0.195])) == []


def test_the_commonest_class_is_chance_where_the_table_says_how_common_it_is():
    # .4 + .1 * (.9 - .4) = .45, also in rows of the dataset that do not say it; of 100 answers .4 + 3 * .049 = .547.
    known = table([0.9, 0.1, 0.45, 0.46], chance=[0.4, np.nan, 0.4, np.nan])
    assert collapsed(known) == ["p1", "p2"]
    assert collapsed(known.assign(test_samples=100)) == ["p1", "p2", "p3"]
    assert "accuracy near chance, which is 40% with 10 classes" in set(collapsed_networks(known)["reason"])


def test_guesses_are_found_as_often_as_the_rule_says():
    rng = np.random.default_rng(0)
    guesses = rng.binomial(500, 0.1, size=4000) / 500
    networks = table([0.11, *guesses], tested=500)  # a dense network that has learned nothing sets no limit
    missed = 1 - len(collapsed_networks(networks)) / len(networks)
    assert missed < 0.005


def test_without_a_dense_network_the_best_of_the_same_model_is_the_reference():
    networks = table([0.9, 0.15, 0.5])
    sparse = networks[networks["pruner"] != "dense"]
    assert collapsed(sparse) == []  # .1 + .1 * .4 = .14
    assert collapsed(sparse.assign(dense_accuracy=0.9)) == ["p1"]
    assert collapsed(pd.concat([networks, networks.assign(model="poor", accuracy=[0.12, 0.15, 0.5])])) == ["p1"]


def test_what_is_cut_is_listed_with_its_own_reason_whatever_its_accuracy():
    reasons = ["", "no weight is left in fc", "", ""]
    networks = table([0.9, 0.3, 0.8, 0.85], status=["finished", "collapsed", "collapsed", "finished"], reason=reasons)
    found = collapsed_networks(networks)
    assert found.columns.tolist() == ["dataset", "model", "pruner", "sparsity", "seed", "accuracy", "reason"]
    expected = ["no weight is left in fc", "no kept weight connects the input to the output"]
    assert found["reason"].tolist() == expected


def test_the_number_of_classes_is_that_of_the_dataset_where_rows_lack_it():
    known = table([0.9, 0.12])
    known.loc[1, "classes"] = np.nan
    assert collapsed(known) == ["p1"] and unknown_chance(known) == ""
    assert collapsed(known.assign(dataset=["one", "two"])) == []


@pytest.mark.parametrize("odd", [None, np.nan, 0, -3])
def test_without_a_number_of_classes_nothing_is_near_chance_and_that_is_said(odd):
    networks = table([0.9, 0.1], classes=odd)
    assert collapsed(networks) == []
    both = pd.concat([networks, networks.assign(dataset="two")])
    assert unknown_chance(networks).endswith("for one: its number of classes is not recorded.")
    assert unknown_chance(both).endswith("for one and two: their numbers of classes are not recorded.")


def test_missing_accuracies_and_empty_tables_hold_none():
    assert collapsed(table([0.9, np.nan])) == []
    assert collapsed_networks(example_results().iloc[:0]).empty
