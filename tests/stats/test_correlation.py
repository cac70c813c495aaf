from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topo.errors import InputError
from topo.stats import example_results, grouped_spearman, spearman

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=5, max_size=30))
def test_agrees_with_scipy(pairs):
    x, y = np.array(pairs).T
    found = spearman(x, y, n_boot=0)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found.rho) and "constant" in found.reason
    else:
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert found.reason == ""


def test_missing_values_leave_rows_out():
    x = np.array([1.0, 2.0, np.nan, 4.0, 5.0, np.inf, 3.0, 7.0])
    y = np.array([2.0, 1.0, 9.0, 4.0, 5.0, 1.0, np.nan, 6.0])
    found = spearman(x, y, n_boot=0)
    keep = np.isfinite(x) & np.isfinite(y)
    assert found.n == keep.sum() == 5
    assert found.rho == pytest.approx(stats.spearmanr(x[keep], y[keep]).statistic)


def test_too_few_rows_give_a_reason_and_no_number():
    found = spearman([1, 2, 3, 4], [1, 2, 3, 4])
    assert np.isnan([found.rho, found.low, found.high]).all()
    assert found.reason == "fewer than 5 networks have both values"
    assert not found.excludes_zero


def test_constant_accuracy_gives_a_reason():
    assert spearman(np.arange(6), np.ones(6)).reason == "the accuracy is constant"


def test_interval_brackets_rho_and_repeats():
    generator = np.random.default_rng(3)
    x = generator.normal(size=40)
    y = x + generator.normal(size=40)
    first, second = spearman(x, y), spearman(x, y)
    assert first == second
    assert -1 <= first.low < first.rho < first.high <= 1


def test_interval_covers_the_true_correlation_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman of a bivariate normal
    hits = 0
    for _ in range(120):
        x = generator.normal(size=60)
        y = rho * x + np.sqrt(1 - rho**2) * generator.normal(size=60)
        found = spearman(x, y, n_boot=200, generator=generator)
        hits += found.low <= truth <= found.high
    assert 0.86 <= hits / 120 <= 1


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    spearman(np.arange(9), np.arange(9) % 4)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_groups_equal_scipy_on_each_group():
    table = example_results().query("pruner != 'dense'")
    found = grouped_spearman(table, ["edges", "spectral_gap", "nodes"], n_boot=0, min_rows=4)
    assert len(found) == 6 * 3
    for row in found.itertuples():
        group = table[(table["family"] == row.family) & (table["sparsity"] == row.sparsity)]
        if row.metric == "nodes":
            assert np.isnan(row.rho) and row.reason == "the metric is constant"
        else:
            assert row.rho == pytest.approx(stats.spearmanr(group[row.metric], group["accuracy"]).statistic)
        assert row.n == len(group)


def test_no_groups_means_all_rows():
    table = example_results()
    found = grouped_spearman(table, ["edges"], by=[], n_boot=0)
    assert found["n"].tolist() == [len(table)]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: spearman([1, 2], [1, 2, 3]), "one length"),
        (lambda: spearman([1], [1], level=1.5), "level"),
        (lambda: spearman([1], [1], min_rows=2), "min_rows"),
        (lambda: grouped_spearman(pd.DataFrame({"accuracy": [1.0]}), ["k_core"], by=[]), "'k_core'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
