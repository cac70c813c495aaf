from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topo.errors import InputError
from topo.results import example_results
from topo.stats import grouped_correlation, spearman
from topo.stats.correlation import p_value
from topo.stats.family_correlations import correlations_by_family

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=5, max_size=30))
def test_agrees_with_scipy(pairs):
    x, y = np.array(pairs).T
    correlation = spearman(x, y, n_boot=0)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(correlation.rho) and "constant" in correlation.reason
    else:
        assert correlation.rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert correlation.reason == ""


def test_missing_values_leave_rows_out():
    x = np.array([1.0, 2.0, np.nan, 4.0, 5.0, np.inf, 3.0, 7.0])
    y = np.array([2.0, 1.0, 9.0, 4.0, 5.0, 1.0, np.nan, 6.0])
    correlation = spearman(x, y, n_boot=0)
    keep = np.isfinite(x) & np.isfinite(y)
    assert correlation.n == keep.sum() == 5
    assert correlation.rho == pytest.approx(stats.spearmanr(x[keep], y[keep]).statistic)


def test_too_few_rows_give_a_reason_and_no_number():
    correlation = spearman([1, 2, 3, 4], [1, 2, 3, 4])
    assert np.isnan([correlation.rho, correlation.low, correlation.high]).all()
    assert correlation.reason == "fewer than 5 networks have both values"


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
        correlation = spearman(x, y, n_boot=200, generator=generator)
        hits += correlation.low <= truth <= correlation.high
    assert 0.86 <= hits / 120 <= 1


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    spearman(np.arange(9), np.arange(9) % 4)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_groups_equal_scipy_on_each_group():
    table = example_results().query("pruner != 'dense'")
    by = ["family", "sparsity"]
    correlations = grouped_correlation(
        table, ["edges", "spectral_gap", "nodes"], by=by, cluster=None, n_boot=0, min_rows=4
    )
    assert len(correlations) == 6 * 3
    for row in correlations.itertuples():
        group = table[(table["family"] == row.family) & (table["sparsity"] == row.sparsity)]
        if row.metric == "nodes":
            assert np.isnan(row.r) and row.reason == "the metric is constant"
        else:
            assert row.r == pytest.approx(stats.spearmanr(group[row.metric], group["accuracy"]).statistic)
        assert row.n == len(group)


def test_algorithms_are_the_sample_where_groups_hold_enough_of_them():
    for names, cluster in ((("snip", "er", "erk", "uniform"), "pruner"), (("snip", "er", "erk"), None)):
        table = example_results(pruners=names, seeds=3)
        found = grouped_correlation(table, ["edges"], by=["sparsity"], n_boot=0)
        expected = grouped_correlation(table, ["edges"], by=["sparsity"], cluster=cluster, n_boot=0)
        pd.testing.assert_frame_equal(found, expected)


def test_no_groups_means_all_rows():
    table = example_results()
    correlations = grouped_correlation(table, ["edges"], by=[], n_boot=0)
    assert correlations["n"].tolist() == [len(table)]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: spearman([1, 2], [1, 2, 3]), "one length"),
        (lambda: spearman([1], [1], level=1.5), "level"),
        (lambda: spearman([1], [1], min_rows=2), "min_rows"),
        (lambda: grouped_correlation(pd.DataFrame({"accuracy": [1.0]}), ["k_core"], by=[]), "'k_core'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("kind, function", [("pearson", stats.pearsonr), ("kendall", stats.kendalltau)])
def test_other_correlations_equal_scipy_on_each_group(kind, function):
    table = example_results().query("pruner != 'dense'")
    correlations = grouped_correlation(
        table, ["edges", "spectral_gap"], kind=kind, by=["family", "sparsity"], cluster=None, n_boot=20
    )
    for row in correlations[correlations["n"] >= 5].itertuples():
        group = table[(table["family"] == row.family) & (table["sparsity"] == row.sparsity)]
        assert row.r == pytest.approx(function(group[row.metric], group["accuracy"]).statistic)
        assert row.low <= row.r + 1e-9 and row.r - 1e-9 <= row.high


@pytest.mark.parametrize("kind, function", [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)])
def test_p_values_are_those_of_scipy(kind, function):
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 25))
    expected = function(x, y)
    assert p_value(kind, np.array([expected.statistic]), np.array([25]))[0] == pytest.approx(expected.pvalue)


def test_p_value_of_kendall_is_the_asymptotic_one():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 40))
    expected = stats.kendalltau(x, y, method="asymptotic")
    assert p_value("kendall", np.array([expected.statistic]), np.array([40]))[0] == pytest.approx(expected.pvalue)


def test_p_values_of_perfect_and_tiny_samples():
    p = p_value("spearman", np.array([1.0, 1.0]), np.array([10, 3]))
    assert p[0] == 0 and np.isnan(p[1])


@pytest.mark.parametrize("algorithms", [4, 5, 7, 11])
@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_p_values_of_a_group_hold_their_level_with_few_algorithms_ties_and_unequal_seeds(algorithms, kind):
    generator = np.random.default_rng(algorithms)
    names = [f"m{i}" for i in range(150)]
    levels = {"p": [], "t": [], "covered": []}
    for _ in range(4):
        pruner = np.repeat(np.arange(algorithms), generator.integers(1, 5, algorithms))
        # Effects of algorithms alone, half of the metrics in few steps.
        effects = generator.normal(size=(algorithms, 150))
        effects[:, ::2] = np.round(effects[:, ::2])
        table = pd.DataFrame(effects[pruner], columns=names).assign(pruner=pruner)
        table["accuracy"] = generator.normal(size=algorithms)[pruner] + generator.normal(0, 0.01, len(pruner))
        found = grouped_correlation(table, names, kind=kind, by=[], cluster="pruner", min_rows=3).dropna(subset="r")
        levels["p"].append((found["p"] < 0.05).mean())
        levels["t"].append((p_value(kind, found["r"], found["clusters"]) < 0.05).mean())
        levels["covered"].append(((found["low"] <= 0) & (found["high"] >= 0)).mean())
        assert (found["clusters"] == algorithms).all() and (found["n"] == len(pruner)).all()
    # 600 correlations with four accuracies.
    assert np.mean(levels["p"]) <= 0.075 and np.mean(levels["covered"]) >= 0.925
    if algorithms <= 5 and kind == "spearman":
        assert np.mean(levels["t"]) > np.mean(levels["p"])


def test_kendalls_tau_of_clusters_is_scipys_and_its_p_value_the_exact_one():
    generator = np.random.default_rng(3)
    table = pd.DataFrame({"pruner": range(6), "metric": generator.normal(size=6), "accuracy": generator.normal(size=6)})
    row = grouped_correlation(table, ["metric"], kind="kendall", by=[], cluster="pruner").iloc[0]
    expected = stats.kendalltau(table["metric"], table["accuracy"], method="exact")
    assert (row["r"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_a_group_with_three_algorithms_is_not_tested():
    table = pd.DataFrame({"pruner": [0, 0, 1, 1, 2, 2], "metric": range(6), "accuracy": [1.0, 3, 2, 5, 4, 6]})
    row = grouped_correlation(table, ["metric"], by=[], cluster="pruner").iloc[0]
    assert np.isnan(row["r"]) and row["reason"] == "fewer than 4 algorithms have both values"


def test_missing_values_are_left_out_metric_by_metric():
    table = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6], "b": [1.0, np.nan, 3, 2, np.inf, 7], "accuracy": range(6)})
    correlations = grouped_correlation(table, ["a", "b"], by=[], min_rows=4, n_boot=10).set_index("metric")
    assert correlations["n"].to_dict() == {"a": 6, "b": 4}
    assert correlations.loc["b", "r"] == pytest.approx(stats.spearmanr([1, 3, 2, 7], [0, 2, 3, 5]).statistic)


def test_unknown_kind_names_the_right_ones():
    with pytest.raises(InputError, match="did you mean 'spearman'"):
        grouped_correlation(example_results(), ["edges"], kind="spearmann")


def test_correlations_by_family_take_algorithms_as_the_sample_and_adjust_for_all_tests():
    table = example_results(seeds=4)
    correlations = correlations_by_family(table, ["edges", "spectral_gap"])
    assert set(correlations["family"]) == {"initial", "trained", "all families"} and len(correlations) == 3 * 3 * 2
    initial = correlations[correlations["family"] == "initial"]
    assert (initial["n"] == 24).all() and (initial["clusters"] == 6).all()
    means = table.query("sparsity == 0.9 and family == 'initial'").groupby("pruner")[["edges", "accuracy"]].mean()
    row = initial.query("sparsity == 0.9 and metric == 'edges'").iloc[0]
    assert row["r"] == pytest.approx(means["edges"].corr(means["accuracy"], method="spearman"))
    orders = [stats.spearmanr(means["edges"], list(o)).statistic for o in permutations(means["accuracy"])]
    assert row["p"] == pytest.approx(np.mean(np.abs(orders) >= abs(row["r"]) - 1e-9))
    known = correlations["p"].notna()
    np.testing.assert_allclose(
        correlations.loc[known, "q"], stats.false_discovery_control(correlations.loc[known, "p"])
    )
    few = correlations_by_family(example_results(pruners=("snip", "er"), seeds=6), ["edges"])
    assert (few["clusters"] == few["n"]).all() and set(few["family"]) == {"initial"}
