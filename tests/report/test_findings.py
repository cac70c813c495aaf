"""Sentences of the report on small tables, where every case is known."""

from __future__ import annotations

import pandas as pd
import pytest

from topo.report.findings import accuracy_findings, run_sentence
from topo.results.evidence import Evidence


def summary(best: float, dense: float) -> pd.DataFrame:
    """The mean accuracy of one pruner and of the dense network."""
    row = {"dataset": "digits", "model": "net", "n": 1}
    values = [("erk", 0.9, best), ("dense", 0.0, dense)]
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
    assert words in accuracy_findings(summary(best, dense))[0]


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
