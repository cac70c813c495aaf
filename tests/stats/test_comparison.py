from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.grids import grid
from topo.errors import InputError
from topo.results.schema import GROUPS
from topo.stats.comparison import comparison_table, paired_difference
from topo.stats.gains import detectable, mean_gain
from topo.stats.regression import held_out, regression_table


def test_equals_the_formula_by_hand():
    """Twelve networks an algorithm and a pair: means of units, with Nadeau and Bengio's variance over algorithms."""
    table = grid(1, effect=1, models=3)
    first, second = (held_out(table, c, by="model", model="ols") for c in (["signal"], ["blank"]))
    error = [(p["predicted"] - p["actual"]).abs() for p in (first, second)]
    gains = error[1] - error[0]
    difference = paired_difference(first, second)
    half, p = 0.0, 0.0
    for columns, shared in ((["pruner"], 1 / 6 + 1 / 5), (["dataset", "model"], 1 / 6)):
        of_units = gains.groupby([table[c] for c in columns]).mean()
        deviation = of_units.std(ddof=1) * np.sqrt(shared)
        half = max(half, stats.t.ppf(0.975, 5) * deviation)
        p = max(p, 2 * stats.t.sf(gains.mean() / deviation, 5))
    assert difference["difference"] == pytest.approx(gains.mean())
    assert (difference["algorithms"], difference["pairs"]) == (6, 6)
    assert difference["high"] - difference["difference"] == pytest.approx(half)
    assert difference["p"] == pytest.approx(p)


def test_swapping_the_pair_changes_the_sign():
    table = grid(2, effect=2)
    first, second = (held_out(table, c, by="pruner", model="ols") for c in (["signal"], ["blank"]))
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one["difference"] == pytest.approx(-other["difference"]) and one["low"] == pytest.approx(-other["high"])
    assert one["p"] == pytest.approx(other["p"]) and one["low"] > 0


def independent(seed: int, *, effect: float = 0.0, count: int = 7) -> pd.DataFrame:
    """Two metrics and a drop that follow algorithms, and algorithms on models, each for reasons of its own.

    The first metric follows the drop's reasons too, as far as `effect` says.
    """
    generator = np.random.default_rng(seed)
    table = grid(seed, models=2, datasets=2, pruners=tuple(f"p{i}" for i in range(count)), seeds=1)
    algorithm, model = (table[c].str[1:].astype(int).to_numpy() for c in ("pruner", "model"))

    def own() -> np.ndarray:
        return generator.normal(size=count)[algorithm] + 0.5 * generator.normal(size=(count, 2))[algorithm, model]

    reasons = own()
    noise = 0.3 * generator.normal(size=(3, len(table)))
    return table.assign(drop=reasons + noise[0], one=effect * reasons + own() + noise[1], other=own() + noise[2])


@pytest.mark.slow
def test_metrics_that_follow_algorithms_by_chance_differ_no_more_often_than_stated():
    """Algorithms are the units: folds that hold the same algorithms agree with each other, and would claim too much."""
    claims = {"algorithms": 0, "folds": 0}
    for seed in range(80):
        table = independent(seed)
        first, second = (held_out(table, [c], by="dataset", model="ols", within=GROUPS) for c in ("one", "other"))
        claims["algorithms"] += paired_difference(first, second)["p"] < 0.05
        claims["folds"] += paired_difference(*(p.drop(columns="algorithm") for p in (first, second)))["p"] < 0.05
    assert claims["algorithms"] <= 0.05 * 80 and claims["folds"] > 0.07 * 80


def test_a_planted_difference_is_found():
    table = independent(1, effect=20.0, count=12)
    first, second = (held_out(table, [c], by="dataset", model="ols", within=GROUPS) for c in ("one", "other"))
    found = paired_difference(first, second)
    assert found["p"] < 0.05 and found["difference"] > 0.5


def test_what_models_and_datasets_do_to_all_algorithms_alike_is_no_evidence():
    """Pooled, a gain that every algorithm has alike, and that differs between datasets and models, is not clear."""
    units = grid(pruners=tuple("abcdefg"), models=2, seeds=1)
    units = units.assign(algorithm=units["pruner"], pair=units.groupby(["dataset", "model"]).ngroup())
    gains = np.array([0.5, -0.1, 0.4, -0.2])[units["pair"]] + 0.01 * np.random.default_rng(0).normal(size=len(units))
    assert mean_gain(gains, units.drop(columns="pair"))["p"] < 0.001 and mean_gain(gains, units)["p"] > 0.4


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    generator = np.random.default_rng(0)
    errors = [(6, 1.0), (3, 0.6)]
    true = detectable(errors, alpha=0.01)
    found = np.ones(20_000, dtype=bool)
    for df, error in errors:
        mean = true + error * generator.normal(size=len(found))
        found &= np.abs(mean) / (error * np.sqrt(generator.chisquare(df, len(found)) / df)) > stats.t.ppf(0.995, df)
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert detectable([]) == detectable([(4, 0.0)]) == 0


@pytest.mark.parametrize("count, words", [(3, "fewer than 4 algorithms"), (1, "fewer than 4 algorithms")])
def test_too_few_algorithms_have_no_test(count, words):
    units = pd.DataFrame({"algorithm": [f"p{i % count}" for i in range(12)]})
    gain = mean_gain(np.arange(12.0), units)
    assert gain["reason"] == words and np.isnan(gain["p"]) and gain["difference"] == 5.5


def test_a_set_against_itself_differs_by_nothing():
    one = held_out(grid(), ["signal"], by="model", model="ols")
    difference = paired_difference(one, one)
    assert (difference["difference"], difference["p"]) == (0.0, 1.0)


def test_unpaired_predictions_are_refused():
    table = grid()
    one = held_out(table, ["signal"], by="model", model="ols")
    with pytest.raises(InputError, match="not of the same rows"):
        paired_difference(one, held_out(table, ["signal"], by="dataset", model="ols"))
    with pytest.raises(InputError, match="not of the same rows"):
        paired_difference(one, one.iloc[1:])
    with pytest.raises(InputError, match="different targets"):
        paired_difference(one, one.assign(actual=0.0))


def test_the_table_pairs_sets_of_equal_model_and_groups_and_adjusts_for_all_tests():
    table = grid(3, effect=1.5, models=6)
    sets = {"mean": [], "signal": ["signal"], "blank": ["blank"]}
    predictions = regression_table(table, sets, by=["model", "seed"], models=["ols"])[1]
    comparison = comparison_table(predictions)
    assert len(comparison) == 2 * 3 and (comparison["q"] >= comparison["p"]).all()
    rows = comparison.set_index(["held_out", "first", "second"])
    assert rows.loc[("model", "mean", "signal"), "high"] < 0 < rows.loc[("model", "signal", "blank"), "low"]
    assert len(comparison_table(predictions, [("signal", "nothing")])) == 0
