from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from topo.errors import InputError
from topo.stats.correlation import grouped_correlation
from topo.stats.pooling import pool, pool_correlations, z_variance
from topo.stats.resampling import KINDS, correlations


def test_equal_groups_by_hand():
    pooled = pool([0.5, 0.5, 0.5], [23, 23, 23], kind="pearson")
    error = np.sqrt(1 / 60)  # three variances of 1/20
    reach = stats.t.ppf(0.975, 2) * error
    assert pooled["r"] == pytest.approx(0.5)
    assert (pooled["low"], pooled["high"]) == pytest.approx(tuple(np.tanh(np.arctanh(0.5) + np.array([-reach, reach]))))
    assert pooled["tau2"] == pooled["i2"] == 0 and pooled["q_p"] == 1


def test_tau2_solves_paule_and_mandels_equation():
    generator = np.random.default_rng(0)
    r, n = np.tanh(generator.normal(0.3, 0.5, 12)), generator.integers(8, 60, 12)
    pooled = pool(r, n)
    z, v = np.arctanh(r), z_variance("spearman", r, n)
    w = 1 / (v + pooled["tau2"])
    assert pooled["tau2"] > 0
    assert w @ (z - w @ z / w.sum()) ** 2 == pytest.approx(11, rel=1e-6)
    assert np.arctanh(pooled["r"]) == pytest.approx(w @ z / w.sum())


def test_weights_go_to_large_groups():
    pooled = pool([0.8, 0.2], [1000, 10], kind="pearson")
    same = pool([0.8, 0.2], [50, 50], kind="pearson")
    assert pooled["r"] > same["r"]
    assert pooled["mean"] == same["mean"] == pytest.approx(0.5)


def test_one_group_perfect_correlations_and_none():
    one = pool([0.5], [28], kind="pearson")
    assert one["r"] == pytest.approx(0.5) and one["low"] == pytest.approx(np.tanh(np.arctanh(0.5) - 1.959964 / 5))
    perfect = pool([1.0, 1.0, 1.0], [7, 7, 7])
    assert 0.9 < perfect["r"] < 1 and np.isfinite([perfect["low"], perfect["p"]]).all()
    none = pool([np.nan, 0.5], [10, 3])
    assert none["k"] == 0 and np.isnan(none["r"]) and "large enough" in none["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_variance_is_that_of_simulated_correlations(kind):
    generator = np.random.default_rng(3)
    n, rho, draws = 40, 0.5, 3000
    x = generator.normal(size=(draws, n))
    y = rho * x + np.sqrt(1 - rho**2) * generator.normal(size=(draws, n))
    r = np.array([correlations(kind, a[:, None], b, np.ones((1, n)))[0, 0] for a, b in zip(x, y, strict=True)])
    expected = z_variance(kind, np.array([r.mean()]), np.array([n]))[0]
    assert np.var(np.arctanh(r)) == pytest.approx(expected, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [0.0, 0.3])
def test_interval_covers_the_true_correlation_as_often_as_it_says(kind, between):
    generator = np.random.default_rng(7)
    hits, rounds, k, n = 0, 150, 12, 25
    truth = {"pearson": np.tanh, "spearman": lambda z: 6 / np.pi * np.arcsin(np.tanh(z) / 2)}
    truth["kendall"] = lambda z: 2 / np.pi * np.arcsin(np.tanh(z))
    middle = np.arctanh(truth[kind](np.arctanh(0.4) + between * generator.normal(size=20000))).mean()
    for _ in range(rounds):
        rho = np.tanh(np.arctanh(0.4) + between * generator.normal(size=k))
        x = generator.normal(size=(k, n))
        y = rho[:, None] * x + np.sqrt(1 - rho[:, None] ** 2) * generator.normal(size=(k, n))
        r = [correlations(kind, a[:, None], b, np.ones((1, n)))[0, 0] for a, b in zip(x, y, strict=True)]
        pooled = pool(r, np.full(k, n), kind=kind)
        hits += pooled["low"] <= np.tanh(middle) <= pooled["high"]
    assert 0.89 <= hits / rounds <= 1


def test_heterogeneity_is_estimated_and_zero_where_there_is_none():
    generator = np.random.default_rng(1)
    same = [
        pool(np.tanh(generator.normal(0.3, 1 / np.sqrt(37), 20)), np.full(20, 40), kind="pearson") for _ in range(80)
    ]
    mixed = [pool(np.tanh(generator.normal(0.3, 0.6, 20)), np.full(20, 40), kind="pearson") for _ in range(20)]
    assert 0.01 <= np.mean([f["q_p"] < 0.05 for f in same]) <= 0.12
    assert min(f["i2"] for f in mixed) > 0.7
    assert np.mean([f["tau2"] for f in mixed]) == pytest.approx(0.36 - 1 / 37, rel=0.2)


def test_the_prediction_interval_covers_new_groups_at_the_stated_rate():
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        z = generator.normal(0.2, 0.5, 16) + generator.normal(0, 1 / np.sqrt(37), 16)
        pooled = pool(np.tanh(z), np.full(16, 40), kind="pearson")
        hits += pooled["next_low"] <= np.tanh(generator.normal(0.2, 0.5)) <= pooled["next_high"]
    assert 0.9 <= hits / 200 <= 0.99


def test_tables_are_pooled_by_metric_and_by_the_columns_given():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"model": np.repeat(["a", "b"], 80), "seed": np.tile(np.repeat([0, 1], 40), 2)})
    table["metric"] = generator.normal(size=160)
    sign = np.where(table["model"] == "a", 1, -1)
    table["accuracy"] = sign * table["metric"] + 0.5 * generator.normal(size=160)
    each = grouped_correlation(table, ["metric"], by=["model", "seed"], n_boot=0)
    apart = pool_correlations(each, by=["model"]).set_index("model")
    assert apart.loc["a", "r"] > 0.7 and apart.loc["b", "r"] < -0.7 and apart["k"].tolist() == [2, 2]
    together = pool_correlations(each)
    assert together["k"].tolist() == [4] and together["low"][0] < 0 < together["high"][0]
    assert together["i2"][0] > 0.9


@pytest.mark.parametrize("r, n, words", [([0.1], [1, 2], "one length"), ([1.2], [9], "between -1 and 1")])
def test_bad_input(r, n, words):
    with pytest.raises(InputError, match=words):
        pool(r, n)


def test_unknown_kind():
    with pytest.raises(InputError, match="unknown correlation"):
        z_variance("spearmann", np.array([0.1]), np.array([9]))
