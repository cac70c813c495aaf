from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.stats.collinearity import collinear_groups, determined_columns, rank_correlations, repeated_metrics


def blocks(n: int = 200) -> pd.DataFrame:
    """Three columns of one factor, two of another, one alone, one constant."""
    generator = np.random.default_rng(0)
    one, two = generator.normal(size=(2, n))
    noise = 0.05 * generator.normal(size=(3, n))
    return pd.DataFrame(
        {"a": one, "b": two, "c": -one + noise[0], "d": np.exp(one), "e": two**3 + noise[1], "f": noise[2], "g": 1.0}
    )


def test_planted_groups_are_found():
    collinear = collinear_groups(blocks(), list("abcdefg"), threshold=0.95)
    groups = collinear.groupby("group")["metric"].agg(set).tolist()
    assert groups == [{"a", "c", "d"}, {"b", "e"}, {"f"}]
    assert set(collinear["metric"]) == set("abcdef")
    assert collinear.set_index("metric").loc["f", ["size", "kept"]].tolist() == [1, "f"]
    assert (collinear["r"] >= 0.95).all()


def test_any_two_of_a_group_are_as_close_as_asked():
    generator = np.random.default_rng(2)
    walk = np.cumsum(generator.normal(size=(300, 12)), axis=1)
    table = pd.DataFrame(walk, columns=[f"m{i}" for i in range(12)])
    size = rank_correlations(table, list(table)).abs()
    for _, members in collinear_groups(table, list(table), threshold=0.9).groupby("group")["metric"]:
        assert size.loc[members, members].min().min() >= 0.9 - 1e-9


def test_correlations_are_pandas_within_groups():
    table = blocks().assign(model=np.repeat(["x", "y"], 100))
    correlations = rank_correlations(table, ["a", "b", "e"], by=["model"])
    halves = [table.iloc[:100], table.iloc[100:]]
    expected = np.mean([h[["a", "b", "e"]].corr("spearman").to_numpy() for h in halves], axis=0)
    assert correlations.to_numpy() == pytest.approx(expected)


def test_differences_between_architectures_do_not_make_metrics_collinear():
    generator = np.random.default_rng(1)
    table = pd.DataFrame(generator.normal(size=(100, 2)), columns=["a", "b"])
    table["model"] = np.repeat(["small", "large"], 50)
    table.loc[50:, ["a", "b"]] += 100
    assert rank_correlations(table, ["a", "b"]).loc["a", "b"] > 0.6
    assert collinear_groups(table, ["a", "b"], by=["model"], threshold=0.6)["size"].tolist() == [1, 1]


def test_formulas_are_found_exactly_or_not_at_all():
    table = pd.DataFrame({"nodes": [50.0, 60, 70], "edges": [500.0, 300, 800], "connected_components": [1.0, 4, 2]})
    table["one_hop"] = (1 + table["edges"] / table["nodes"]) / table["edges"]
    table["mean_component_size"] = 1 / table["connected_components"]
    determined = determined_columns(table)
    assert determined[["metric", "formula"]].values.tolist() == [
        ["one_hop", "(1 + E/N)/E"],
        ["mean_component_size", "1/connected_components"],
    ]
    table.loc[0, "one_hop"] *= 1.001
    assert determined_columns(table)["metric"].tolist() == ["mean_component_size"]


def test_few_or_no_columns():
    assert collinear_groups(blocks(), ["g"]).empty
    assert collinear_groups(blocks(), ["a", "g"])["metric"].tolist() == ["a"]
    assert determined_columns(pd.DataFrame({"edges": [1.0]})).empty


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: collinear_groups(blocks(), ["a", "b"], threshold=1.5), "threshold"),
        (lambda: rank_correlations(blocks(), ["a", "z"]), "no column 'z'"),
        (lambda: collinear_groups(blocks(), "ab"), "metrics must be a list of columns"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_of_metrics_that_are_alike_the_first_stands_for_all():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 60))
    table = pd.DataFrame({"x": b, "a": a, "minus": -a, "cube": a**3, "near": a + generator.normal(0, 0.5, 60)})
    found = repeated_metrics(table, ["x", "a", "minus", "cube", "near"])
    assert found[["metric", "same_as"]].values.tolist() == [["minus", "a"], ["cube", "a"]]
    assert found["r"].tolist() == pytest.approx([-1, 1])
    assert repeated_metrics(table, ["x", "near"]).empty
