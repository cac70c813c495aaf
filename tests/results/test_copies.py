"""Networks that are the same under several names are found by their masks' metrics, and by nothing less."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.questions.grouping import networks_with_drop
from topo.results import digits_study
from topo.results.copies import copies_of, copies_sentence
from topo.results.evidence import Evidence

METRICS = ("edges", "nodes", "k_core", "sink_nodes", "source_nodes", "std_degree")


def drawn() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        {"dataset": "d", "model": model, "pruner": pruner, "sparsity": s, "seed": seed, "accuracy": generator.random()}
        for model in ("mlp", "cnn")
        for pruner in ("snip", "erk", "er", "dense")
        for s in (0.8, 0.9)
        for seed in range(2)
    ]
    table = pd.DataFrame(rows)
    return table.assign(strength=1.0, **{m: generator.random(len(table)) for m in METRICS})


def with_copies() -> pd.DataFrame:
    """On the perceptron er and erk are one network, as trained."""
    table = drawn()
    er, erk = ((table["model"] == "mlp") & (table["pruner"] == name) for name in ("er", "erk"))
    table.loc[er, [*METRICS]] = table.loc[erk, [*METRICS]].to_numpy()
    return table


def test_copies_are_found_by_the_mask_whatever_the_training_made_of_them() -> None:
    table = with_copies()
    copies = copies_of(table)
    expected = (table["model"] == "mlp") & (table["pruner"] == "erk")
    assert ((copies == "er") == expected).all() and (copies[~expected] == "").all()
    assert copies_sentence(table, copies) == (
        "4 networks are the same as another of the same group under another name and count once in every question: "
        "erk = er (4) on d, mlp."
    )


def test_a_different_mask_in_one_metric_is_no_copy() -> None:
    table = with_copies()
    row = table.index[(table["model"] == "mlp") & (table["pruner"] == "er")][0]
    table.loc[row, "k_core"] += 1e-9
    assert (copies_of(table) != "").sum() == 3


@pytest.mark.parametrize("kept", [METRICS[:4], ()])
def test_few_metrics_prove_nothing(kept: tuple[str, ...]) -> None:
    table = with_copies().drop(columns=[m for m in METRICS if m not in kept])
    copies = copies_of(table)
    assert (copies == "").all() and copies_sentence(table, copies) == ""


def test_metrics_that_hardly_vary_prove_nothing() -> None:
    table = with_copies().assign(**{m: lambda t: t["seed"] * 1.0 for m in METRICS[2:]})
    assert (copies_of(table) == "").all()


def test_missing_values_are_equal_to_each_other_and_too_many_prove_nothing() -> None:
    table = with_copies().assign(k_core=np.nan)
    assert (copies_of(table) != "").sum() == 4
    assert (copies_of(table.assign(edges=np.nan)) == "").all()


def test_questions_take_every_network_once() -> None:
    evidence = Evidence.of(with_copies())
    assert len(evidence.networks) == 32 and len(evidence.distinct) == 28 and len(evidence.sparse) == 20
    assert len(networks_with_drop(evidence)[0]) == 20


def test_no_two_pruners_of_the_stored_study_give_the_same_network() -> None:
    table = digits_study()
    assert (copies_of(table) == "").all()
    renamed = table[table["pruner"] == "er"].assign(pruner="erk")
    assert set(copies_of(pd.concat([table, renamed], ignore_index=True))) == {"", "er"}
