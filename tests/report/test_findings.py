"""Sentences of the report on small tables, where every case is known."""

from __future__ import annotations

import pandas as pd
import pytest

from topo.report.findings import accuracy_findings


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
