from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.stats.grids import grid
from topo.errors import InputError
from topo.results.schema import GROUPS
from topo.stats.explained import adjusted_r2, explained_by_chance, explained_table


def test_equals_the_textbook_formula():
    table = grid(1, effect=1)
    x = table[["signal", "blank"]]
    r2 = LinearRegression().fit(x, table["drop"]).score(x, table["drop"])
    fit = adjusted_r2(table, ["signal", "blank"])
    assert fit["r2"] == pytest.approx(r2)
    assert fit["adjusted_r2"] == pytest.approx(1 - (1 - r2) * (len(table) - 1) / (len(table) - 3))
    assert fit["clusters"] == 16 and fit["low"] < fit["adjusted_r2"] < fit["high"]


def test_within_groups_equals_a_regression_with_a_dummy_per_group():
    table = grid(2, effect=1, level=2)
    dummies = pd.get_dummies(table[list(GROUPS)].astype(str).agg("-".join, axis=1)).astype(float)
    full = LinearRegression().fit(dummies.assign(x=table["signal"]), table["drop"])
    rest = ((table["drop"] - full.predict(dummies.assign(x=table["signal"]))) ** 2).sum()
    total = ((table["drop"] - table.groupby(list(GROUPS))["drop"].transform("mean")) ** 2).sum()
    n, g = len(table), dummies.shape[1]
    fit = adjusted_r2(table, ["signal"], within=GROUPS)
    assert fit["adjusted_r2"] == pytest.approx(1 - (rest / (n - g - 1)) / (total / (n - g)))


def test_the_jackknife_equals_leaving_clusters_out_by_hand():
    table = grid(3, effect=1)
    left = [adjusted_r2(table[table["pruner"] != p], ["signal"])["adjusted_r2"] for p in table["pruner"].unique()]
    fit = adjusted_r2(table, ["signal"], clusters=["pruner"])
    k = len(left)
    half = 2.5705818 * np.sqrt((k - 1) / k * ((left - np.mean(left)) ** 2).sum())  # 97.5% point of t, 5 degrees
    assert fit["high"] - fit["adjusted_r2"] == pytest.approx(half, rel=1e-5)


def test_the_jackknife_within_groups_counts_the_groups_left_out():
    table = grid(3, effect=1, level=1)
    cells = [part for _, part in table.groupby(list(GROUPS))]
    left = [adjusted_r2(table.drop(index=c.index), ["signal"], within=GROUPS)["adjusted_r2"] for c in cells]
    fit = adjusted_r2(table, ["signal"], within=GROUPS)
    k = len(left)
    half = 2.1314495 * np.sqrt((k - 1) / k * ((left - np.mean(left)) ** 2).sum())  # 15 degrees
    assert fit["high"] - fit["adjusted_r2"] == pytest.approx(half, rel=1e-5)


@pytest.mark.slow
def test_noise_has_adjusted_r2_zero_on_average_and_intervals_cover_it():
    values, covered = [], 0
    for seed in range(100):
        table = grid(seed)
        fit = adjusted_r2(
            table.assign(other=np.random.default_rng(seed + 1000).normal(size=len(table))), ["blank", "other"]
        )
        values.append(fit["adjusted_r2"])
        covered += fit["low"] <= 0 <= fit["high"]
    assert abs(np.mean(values)) < 3 * np.std(values) / 10 + 1e-3
    assert covered >= 90


def test_intervals_cover_a_planted_value():
    """drop = signal + noise of the same size: half of the variance is explained."""
    covered = 0
    for seed in range(100):
        fit = adjusted_r2(grid(seed, effect=1.0), ["signal"])
        covered += fit["low"] <= 0.5 <= fit["high"]
    assert covered >= 88


def test_a_confounder_explains_everything_pooled_and_nothing_within():
    explained = explained_table(grid(5, level=2, noise=0.3), {"named": ["named"]}, targets=["drop"]).set_index("scope")
    assert explained.loc["pooled", "adjusted_r2"] > 0.9
    assert explained.loc["within groups", "adjusted_r2"] < 0.05


def test_scaled_and_repeated_columns_change_nothing():
    table = grid(6, effect=1).assign(again=lambda t: 1e9 * t["signal"] + 1, zero=0.0)
    one, both = (adjusted_r2(table, c)["adjusted_r2"] for c in (["signal"], ["signal", "again", "zero"]))
    assert both == pytest.approx(one)


@pytest.mark.parametrize(
    "change, columns, words",
    [
        (lambda t: t.assign(drop=2.0), ["signal"], "drop is constant"),
        (lambda t: t.assign(signal=1.0), ["signal"], "every column is constant"),
        (lambda t: t.assign(signal=np.nan), ["signal"], "every column is constant"),
        (lambda t: t.head(2), ["signal"], "fewer than three"),
        (lambda t: t.head(3), ["signal", "blank", "named"], "too few for 2 columns"),
    ],
)
def test_an_empty_row_has_a_reason(change, columns, words):
    fit = adjusted_r2(change(grid()), columns)
    assert np.isnan(fit["adjusted_r2"]) and words in fit["reason"]


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="'nothing'"):
        adjusted_r2(grid(), ["nothing"])


def followers(seed: int, *, effect: float = 0.0, count: int = 6) -> pd.DataFrame:
    """Three metrics and a drop that follow the algorithms, each for reasons of its own but for `effect`."""
    generator = np.random.default_rng(seed)
    table = grid(seed, models=2, pruners=tuple(f"p{i}" for i in range(count)), seeds=2)
    algorithm = table["pruner"].str[1:].astype(int).to_numpy()
    reasons = generator.normal(size=(4, count))
    reasons[1] += effect * reasons[0]
    drop, *metrics = (own[algorithm] + 0.3 * generator.normal(size=len(table)) for own in reasons)
    return table.assign(drop=drop, a=metrics[0], b=metrics[1], c=metrics[2])


def test_chance_is_what_permuted_names_explain_by_hand():
    table = followers(0, count=5).drop(index=[3, 17])  # not every group has all algorithms in both seeds
    within = list(GROUPS)
    found = explained_by_chance(table, ["a", "b"], within=within)
    relative = table["drop"] - table.groupby(within)["drop"].transform("mean")
    names = sorted(table["pruner"].unique())
    means = relative.groupby([table[c] for c in (*within, "pruner")]).mean()
    rest = relative - pd.Series(
        means.loc[list(table[[*within, "pruner"]].itertuples(index=False))].to_numpy(), table.index
    )
    values = []
    for order in permutations(names):
        moved = table[[*within, "pruner"]].assign(pruner=table["pruner"].map(dict(zip(names, order, strict=True))))
        other = pd.Series(means.loc[list(moved.itertuples(index=False))].to_numpy(), table.index) + rest
        values.append(adjusted_r2(table.assign(drop=other), ["a", "b"], within=within)["adjusted_r2"])
    assert found["chance"] == pytest.approx(np.mean(values[1:]), abs=2e-3)
    assert found["p"] == pytest.approx(np.mean(np.array(values) >= values[0] - 1e-9), abs=3e-3)


def test_metrics_that_tell_algorithms_apart_explain_much_by_chance_and_are_not_called_clear():
    explained, claims = [], 0
    for seed in range(40):
        fit = adjusted_r2(table := followers(seed), ["a", "b", "c"], within=GROUPS)
        chance = explained_by_chance(table, ["a", "b", "c"], within=GROUPS)
        explained.append((fit["adjusted_r2"], chance["chance"]))
        claims += chance["p"] < 0.05
    value, chance = np.mean(explained, axis=0)
    assert value > 0.3 and chance == pytest.approx(value, abs=0.1)
    assert claims <= 0.05 * 40 + 2 * np.sqrt(0.05 * 0.95 * 40)
    assert explained_by_chance(followers(1, effect=5.0), ["a"], within=GROUPS)["p"] < 0.02


def test_three_algorithms_have_no_chance():
    table = followers(0)
    assert np.isnan(explained_by_chance(table[table["pruner"] < "p3"], ["a"], within=GROUPS)["p"])
