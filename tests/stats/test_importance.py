from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.importance import fold_agreement, permutation_importance, standardised_coefficients


@pytest.mark.parametrize("model", ["ols", "ridge", "forest"])
def test_the_planted_metric_comes_first_and_noise_is_worth_nothing(model):
    table = grid(1, effect=2, noise=0.3)
    importance, per_fold = permutation_importance(table, ["blank", "signal", "named"], by="model", model=model)
    assert importance["name"].iloc[0] == "signal" and importance["positive"].iloc[0] == 1 and per_fold.shape == (4, 3)
    assert importance.set_index("name").loc["blank", "importance"] < 0.1


def test_a_linear_effect_costs_twice_its_share_of_variance():
    """Permuting x in y = b x costs b^2 E(x - x')^2 = 2 b^2 var(x), in units of var(y)."""
    table = grid(2, effect=1, noise=0.5, seeds=12)
    importance = permutation_importance(table, ["signal"], by="seed", model="ols", repeats=20)[0]
    expected = 2 * table["signal"].var() / table["drop"].var()
    assert importance["importance"].iloc[0] == pytest.approx(expected, rel=0.1)


def test_a_metric_that_another_repeats_is_worth_more_with_it_than_alone():
    table = grid(3, effect=2, noise=0.3)
    table["kin"] = table["signal"]
    columns = ["signal", "kin", "blank"]
    alone = permutation_importance(table, columns, by="model")[0].set_index("name")["importance"]
    together = permutation_importance(
        table, columns, by="model", groups={"both": ["signal", "kin"], "blank": ["blank"]}
    )[0]
    both = together.set_index("name")["importance"]["both"]
    assert both > 3 * alone[["signal", "kin"]].max()  # half of a linear effect costs a quarter


def test_coefficients_find_sign_and_size():
    table = grid(4, effect=-1, noise=0.2).assign(signal=lambda t: 0.01 * t["signal"])
    table["drop"] = -100 * table["signal"] + 0.2 * table["blank"]
    coefficients = standardised_coefficients(table, ["blank", "signal"], by="model").set_index("metric")
    assert coefficients.index[0] == "signal" and coefficients.loc["signal", "same_sign"]
    assert coefficients.loc["signal", "coefficient"] < -0.8 and coefficients.loc["blank", "coefficient"] > 0
    assert (coefficients["low"] <= coefficients["coefficient"]).all() and (
        coefficients["coefficient"] <= coefficients["high"]
    ).all()


def test_agreement_of_folds():
    same = pd.DataFrame([[3.0, 2, 1]] * 4)
    turned = pd.DataFrame([[3.0, 2, 1], [1, 2, 3]])
    assert fold_agreement(same) == 1 and fold_agreement(turned) == 0
    # Ranks (1, 2, 3), (1, 3, 2), (2, 1, 3): sums 4, 6, 8, S = 8, W = 12 * 8 / (9 * 24).
    assert fold_agreement(pd.DataFrame([[1, 2, 3], [1, 3, 2], [2, 1, 3]])) == pytest.approx(96 / 216)
    assert np.isnan(fold_agreement(same.head(1))) and np.isnan(fold_agreement(pd.DataFrame([[1, 1], [2, 2]])))


def test_refusals_are_those_of_the_regression():
    with pytest.raises(InputError, match="'nothing'"):
        permutation_importance(grid(), ["nothing"], by="model")
    with pytest.raises(InputError, match="constant"):
        standardised_coefficients(grid().assign(drop=1.0), ["signal"], by="model")
