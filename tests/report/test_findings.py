"""Sentences of the report on small tables, where every case is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.report.findings import (
    accuracy_findings,
    collapsed_sentence,
    failures,
    no_failures,
    run_sentence,
    size_finding,
    without_twins,
)
from topo.results import example_results
from topo.results.evidence import Evidence


def summary(dense: float, **means: float) -> pd.DataFrame:
    """The mean accuracy of pruners and of the dense network."""
    row = {"dataset": "digits", "model": "net", "n": 1}
    values = [*((name, 0.9, mean) for name, mean in means.items()), ("dense", 0.0, dense)]
    return pd.DataFrame([row | {"pruner": p, "sparsity": s, "mean": m, "low": m, "high": m} for p, s, m in values])


@pytest.mark.parametrize(
    ("best", "dense", "words"),
    [
        (0.475, 0.465, "1.0 points above dense"),
        (0.465, 0.475, "1.0 points below dense"),
        (0.4651, 0.465, "as accurate as dense"),
    ],
)
def test_the_best_pruner_is_above_below_or_as_accurate_as_dense(best: float, dense: float, words: str):
    assert words in accuracy_findings(summary(dense, erk=best))[0]


def test_pruners_that_tie_are_named_together():
    (sentence,) = accuracy_findings(summary(0.9, er=0.8, erk=0.8, snip=0.5, grasp=0.5))
    assert sentence == (
        "digits · net at 90% sparsity: er and erk are the most accurate (80.0%, one seed, 10.0 points below dense), "
        "snip and grasp the least (50.0%)."
    )
    (alone,) = accuracy_findings(summary(0.9, er=0.8, erk=0.8))
    assert "the least" not in alone


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ((100, 100), "have the same number of edges"),
        ((10_000, 10_004), "have the same number of edges"),
        ((100, 102), "differ by at most 2.0%"),
        ((100, 200), "by a median factor of 2.0 (at most 2.0): equal sparsity is not equal graph size"),
    ],
)
def test_sizes_are_said_to_differ_where_they_do(edges: tuple[int, int], words: str):
    row = {"dataset": "d", "model": "m", "sparsity": 0.9}
    table = pd.DataFrame([row | {"pruner": p, "edges": e} for p, e in zip(("er", "snip"), edges, strict=True)])
    assert words in str(size_finding(table))


def test_networks_near_chance_are_among_the_failed_ones():
    table = example_results(sparsities=(0.9,))
    assert failures(table).empty and not collapsed_sentence(table)
    assert no_failures(table).endswith("better than chance.")
    assert "not known for digits" in no_failures(table.drop(columns="classes"))
    table.loc[[3, 4], "accuracy"] = 0.1, np.nan
    table.loc[5, ["status", "reason"]] = ["collapsed", "no weight is left in fc"]
    told = failures(table).set_index("status")
    assert told["networks"].to_dict() == {"near chance": 1, "collapsed": 1, "no accuracy": 1}
    assert told.loc["near chance", "which"].endswith("(10.0%)")
    assert collapsed_sentence(table).startswith("2 of 18 networks collapsed: no path")


def test_metrics_that_repeat_another_are_named_and_left_out():
    table = example_results()
    table = table[table["pruner"] != "dense"].assign(
        mean_degree=lambda t: 2 * t["edges"], density=lambda t: -t["edges"]
    )
    left, sentence = without_twins(table, ["edges", "mean_degree", "density", "nodes"])
    assert left == ["edges", "nodes"]
    assert sentence.endswith("are shown once: edges for mean degree and density.")


def test_the_header_counts_the_networks_that_the_questions_count():
    group = {"dataset": "digits", "model": "net", "sparsity": 0.9, "accuracy": 0.8}
    metrics = ("edges", "k_core", "motifs", "two_hop", "cut_edges")
    sizes = {"er": 1.0, "erk": 1.0, "snip": 2.0, "grasp": 3.0}
    rows = [group | {"pruner": p, "seed": s} | dict.fromkeys(metrics, v + s) for p, v in sizes.items() for s in (0, 9)]
    evidence = Evidence.of(pd.DataFrame(rows))
    copies = int((evidence.copies != "").sum())
    sentence = run_sentence(evidence.networks, copies)
    assert sentence.startswith("6 sparse networks (2 more are the same as some of these under another name) from 1 ")
    assert len(evidence.sparse) == 6 and run_sentence(evidence.sparse).startswith("6 sparse networks from")
