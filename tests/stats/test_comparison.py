from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.comparison import comparison_table, paired_difference
from topo.stats.regression import held_out, regression_table


def test_equals_the_formula_by_hand():
    """Twelve networks an algorithm and a pair: means of units, with Nadeau and Bengio's variance over algorithms."""
    table = grid(1, effect=1, models=3)
    first, second = (held_out(table, c, by="model", model="ols") for c in (["signal"], ["blank"]))
    error = [(p["predicted"] - p["actual"]) ** 2 for p in (first, second)]
    gains = (error[1] - error[0]) / table["drop"].var(ddof=0)
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


@pytest.mark.slow
def test_two_sets_of_noise_differ_no_more_often_than_stated():
    generator = np.random.default_rng(0)
    wrong = 0
    for seed in range(80):
        table = grid(seed, models=5, datasets=1)
        table["other"] = generator.normal(size=len(table))
        wrong += (
            paired_difference(*(held_out(table, [c], by="model", model="ols") for c in ("blank", "other")))["p"] < 0.05
        )
    assert wrong / 80 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 80)


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
