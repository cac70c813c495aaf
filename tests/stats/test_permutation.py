"""Correlations over groups hold their level where groups share their algorithms, and agree with brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from topo import InputError
from topo.results import example_results
from topo.stats.permutation import permutation_correlation


def drawn(
    seed: int,
    *,
    algorithms: int = 7,
    models: int = 10,
    sparsities: int = 5,
    seeds: int = 3,
    metrics: int = 10,
    effect: float = 0.0,
    confounded: bool = False,
) -> pd.DataFrame:
    """A table in which every metric and the accuracy have an effect of the algorithm that is the same in all groups."""
    generator = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product(
        [range(algorithms), range(models), range(sparsities), range(seeds)],
        names=["pruner", "model", "sparsity", "seed"],
    ).to_frame(index=False)
    at, noise = rows["pruner"].to_numpy(), lambda: 0.3 * generator.normal(size=len(rows))
    edges = generator.normal(size=algorithms) * confounded
    accuracy = generator.normal(size=algorithms) + 2 * edges
    values = {f"metric{i}": generator.normal(size=algorithms) + 2 * edges + effect * accuracy for i in range(metrics)}
    columns = {name: value[at] + noise() for name, value in values.items()}
    return rows.assign(dataset="d", accuracy=accuracy[at] + noise(), edges=edges[at], **columns)


NAMES = [f"metric{i}" for i in range(10)]


def test_equal_to_permuting_the_labels_of_the_table() -> None:
    table = drawn(0, algorithms=5, models=2, sparsities=2, seeds=2, metrics=2)

    def mean(accuracy: pd.Series) -> float:
        of_algorithms = table.assign(accuracy=accuracy).groupby(["model", "sparsity", "pruner"])
        means = of_algorithms[["metric0", "accuracy"]].mean()
        groups = means.groupby(["model", "sparsity"])
        return float(np.mean([stats.spearmanr(g["metric0"], g["accuracy"]).statistic for _, g in groups]))

    keyed = table.set_index(["pruner", "model", "sparsity", "seed"])["accuracy"]
    observed, extreme, orders = mean(table["accuracy"]), 0, list(permutations(range(5)))
    for order in orders:
        labels = table.assign(pruner=table["pruner"].map(dict(enumerate(order))))
        relabelled = keyed.loc[pd.MultiIndex.from_frame(labels[["pruner", "model", "sparsity", "seed"]])]
        extreme += abs(mean(pd.Series(relabelled.to_numpy(), table.index))) >= abs(observed) - 1e-12
    row = permutation_correlation(table, ["metric0"]).iloc[0]
    assert row["r"] == pytest.approx(observed) and row["p"] == pytest.approx(extreme / len(orders))
    assert (row["k"], row["units"], row["permutations"]) == (4, 5, 120)


@pytest.mark.slow
@pytest.mark.parametrize("algorithms", [7, 9])
def test_independent_effects_of_algorithms_are_found_at_the_stated_rate(algorithms: int) -> None:
    """A test over groups as if they were independent calls 70% of these significant."""
    tables = [drawn(seed, algorithms=algorithms, models=4, sparsities=3, seeds=2) for seed in range(60)]
    tests = [permutation_correlation(t, NAMES, level=None, permutations=400, seed=i)["p"] for i, t in enumerate(tables)]
    # Ten metrics of one table share its accuracy, so the 600 tests count as fewer.
    assert 0.02 < np.mean(np.array(tests) < 0.05) < 0.08


@pytest.mark.slow
def test_an_effect_is_found_and_a_confounder_exposed() -> None:
    alone, given, planted = [], [], []
    for seed in range(40):
        table = drawn(seed, models=4, sparsities=3, seeds=2, metrics=4, confounded=True, algorithms=10)
        names = NAMES[:4]
        settings = {"level": None, "permutations": 400, "seed": seed}
        alone.append(permutation_correlation(table, names, **settings)["p"])
        given.append(permutation_correlation(table, names, given=["edges"], kind="pearson", **settings)["p"])
        strong = drawn(seed, models=4, sparsities=3, seeds=2, metrics=4, effect=3.0)
        planted.append(permutation_correlation(strong, names, **settings)["p"])
    assert np.mean(np.array(alone) < 0.05) > 0.6
    assert np.mean(np.array(given) < 0.05) < 0.09
    assert np.mean(np.array(planted) < 0.05) > 0.9


def test_a_copy_of_the_accuracy_has_the_least_p_value() -> None:
    table = drawn(3, algorithms=5, models=2, sparsities=1).assign(copy=lambda t: t["accuracy"])
    row = permutation_correlation(table, ["copy"]).iloc[0]
    # The order and, in two of the tails, its reverse.
    assert row["r"] == pytest.approx(1) and row["p"] <= 2 / 120
    assert 0 < row["low"] < row["high"] == pytest.approx(1)


def test_groups_that_lack_algorithms_take_part_with_those_they_have() -> None:
    table = drawn(4, algorithms=8, models=3, sparsities=2, metrics=1)
    less = table[~((table["model"] == 0) & table["pruner"].isin([1, 2, 3]))]
    row = permutation_correlation(less, ["metric0"], permutations=200).iloc[0]
    assert row["k"] == 6 and 0 < row["p"] <= 1 and row["low"] <= row["r"] <= row["high"]
    few = table[(table["model"] > 0) | (table["pruner"] < 3)]
    assert permutation_correlation(few, ["metric0"], permutations=200)["k"][0] == 4


def test_a_metric_that_some_networks_lack_is_taken_from_the_others() -> None:
    table = drawn(5, models=2, sparsities=1, metrics=2)
    part = table.assign(metric1=table["metric1"].where((table["pruner"] > 0) | (table["model"] > 0)))
    whole, lacking = permutation_correlation(table, ["metric0"]), permutation_correlation(part, ["metric0", "metric1"])
    assert lacking["p"][0] == whole["p"][0] and lacking["r"][0] == pytest.approx(whole["r"][0])
    assert lacking["k"].tolist() == [2, 2]


def test_rows_are_units_where_there_are_no_algorithms() -> None:
    table = example_results().query("pruner == 'snip'")
    noise = table.assign(noise=np.random.default_rng(0).normal(size=len(table)))
    wide = pd.concat([noise.assign(accuracy=noise["accuracy"] + i / 100, noise=noise["noise"] + i) for i in range(5)])
    row = permutation_correlation(wide.reset_index(drop=True), ["noise"], unit=None, permutations=100).iloc[0]
    assert row["k"] == 3 and row["permutations"] == 101 and row["p"] < 0.05


def test_what_cannot_be_compared_says_why() -> None:
    table = drawn(6, algorithms=4, models=1, sparsities=1, metrics=1).assign(same=1.0)
    result = permutation_correlation(table, ["same", "edges", "metric0"], given=["edges"]).set_index("metric")
    assert result.loc["same", "reason"] == "no group has 4 units with all values that differ"
    assert result.loc["edges", "reason"] == "the covariates determine the metric"
    assert np.isnan(result.loc["same", "p"]) and np.isnan(result.loc["same", "r"])
    for settings, words in (
        ({"kind": "kendall"}, "unknown"),
        ({"min_units": 2}, "min_units"),
        ({"by": ["nope"]}, "nope"),
        ({"by": "sparsity"}, r"by must be a list of columns, such as \['sparsity'\]"),
        ({"given": "edges"}, "given must be a list"),
    ):
        with pytest.raises(InputError, match=words):
            permutation_correlation(table, ["metric0"], **settings)


def confounded(seed: int, n: int) -> pd.DataFrame:
    """Size drives a metric and the accuracy."""
    generator = np.random.default_rng(seed)
    edges = generator.normal(size=n)
    metric, accuracy = edges + 0.7 * generator.normal(size=n), edges + 0.7 * generator.normal(size=n)
    return pd.DataFrame({"edges": edges, "metric": metric, "accuracy": accuracy})


def test_one_covariate_by_the_textbook_formula() -> None:
    table = confounded(0, 40)
    for kind, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        r = {pair: function(table[pair[0]], table[pair[1]]).statistic for pair in
             (("metric", "accuracy"), ("metric", "edges"), ("accuracy", "edges"))}  # fmt: skip
        top = r["metric", "accuracy"] - r["metric", "edges"] * r["accuracy", "edges"]
        expected = top / np.sqrt((1 - r["metric", "edges"] ** 2) * (1 - r["accuracy", "edges"] ** 2))
        one = permutation_correlation(
            table, ["metric"], given=["edges"], kind=kind, unit=None, by=[], permutations=2000
        )
        assert one["r"][0] == pytest.approx(expected)
        t = expected * np.sqrt(37 / (1 - expected**2))
        assert one["p"][0] == pytest.approx(2 * stats.t.sf(abs(t), 37), abs=0.03)


def test_two_covariates_by_the_inverse_of_the_correlation_matrix() -> None:
    generator = np.random.default_rng(1)
    names = ["metric", "accuracy", "a", "b"]
    table = pd.DataFrame(generator.normal(size=(60, 4)) @ generator.normal(size=(4, 4)), columns=names)
    precision = np.linalg.inv(table.rank().corr())
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    both = permutation_correlation(table, ["metric"], given=["a", "b"], unit=None, by=[], permutations=10)
    assert both["r"][0] == pytest.approx(expected)
    # A constant or repeated covariate changes nothing.
    more = table.assign(flat=2.0, again=table["a"])
    again = permutation_correlation(
        more, ["metric"], given=["a", "b", "flat", "again"], unit=None, by=[], permutations=10
    )
    assert again["r"][0] == pytest.approx(expected)


def test_the_interval_leaves_zero_out_where_p_is_small() -> None:
    tables = [drawn(seed, algorithms=6, models=2, sparsities=1, effect=1.0) for seed in range(6)]
    rows = pd.concat([permutation_correlation(table, NAMES) for table in tables])
    outside = (rows["low"] > 0) | (rows["high"] < 0)
    assert (outside == (rows["p"] < 0.05)).all() and 0 < outside.mean() < 1
    # Of four algorithms no order is rarer than one in 24, but for its reverse.
    few = permutation_correlation(drawn(0, algorithms=4, models=1, sparsities=1), NAMES, level=0.99)
    assert (few["low"] == -1).all() and (few["high"] == 1).all()


def test_a_table_of_one_dataset_and_model_need_not_name_them() -> None:
    table = drawn(3, algorithms=6, models=1, sparsities=2, effect=1.0)
    whole = permutation_correlation(table, NAMES)
    pd.testing.assert_frame_equal(permutation_correlation(table.drop(columns=["dataset", "model"]), NAMES), whole)
    assert not permutation_correlation(table, NAMES, by=[]).equals(whole)
    with pytest.raises(InputError, match="no column 'sparsity'"):
        permutation_correlation(table.drop(columns="sparsity"), NAMES)
