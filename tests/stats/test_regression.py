from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GroupKFold

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.predictors import PREDICTORS, Fill, GroupRidge, SignedLog, trees
from topo.stats.regression import centred, folds, held_out, regression_table, same_rows, score

GROUPS = ("dataset", "model", "sparsity")


@pytest.mark.parametrize("by", ["dataset", "model", "pruner", "seed"])
def test_no_group_is_on_both_sides_and_every_row_is_predicted_once(by):
    table = grid(effect=1)
    for fold in folds(table, ["signal"], by=by, model="ols", target="drop"):
        assert not set(table[by].iloc[fold.train]) & set(table[by].iloc[fold.test])
    predictions = held_out(table, ["signal"], by=by, model="ols")
    assert predictions.index.equals(table.index) and predictions["predicted"].notna().all()
    assert predictions["fold"].nunique() == table[by].nunique()
    np.testing.assert_array_equal(predictions["actual"], table["drop"])


def test_many_groups_share_folds_and_are_not_split():
    table = grid(seeds=30, models=2)
    predictions = held_out(table, ["signal"], by="seed", model="ols", max_folds=5)
    assert predictions["fold"].nunique() == 5 and len(predictions.drop_duplicates(["group", "fold"])) == 30


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ols", "ridge", "lasso", "forest", "boosting"])
def test_a_planted_effect_is_found_and_pure_noise_explains_nothing(model):
    table = grid(1, effect=2.0, noise=0.5)
    assert score(held_out(table, ["signal", "blank"], by="model", model=model))["r2"] > 0.75
    assert score(held_out(table, ["blank"], by="model", model=model))["r2"] < 0.05


def test_a_planted_confounder_is_exposed_by_leaving_models_out():
    """A column that only says which model it is predicts other seeds, no other model, and nothing within cells."""
    table = grid(0, level=4.0, noise=0.3)
    assert score(held_out(table, ["named"], by="seed", model="forest"))["r2"] > 0.8
    twisted = table.assign(named=table["named"] * np.where(table["model"].isin(["m0", "m1"]), 1, -1))
    assert score(held_out(twisted, ["named"], by="model", model="ols"))["r2"] < 0.2
    assert score(held_out(table, ["named"], by="seed", model="ols", within=GROUPS))["r2"] < 0.1


def test_least_squares_equals_the_closed_form():
    table = grid(3, effect=1)
    predictions = held_out(table, ["signal", "blank"], by="dataset", model="ols")
    for name in ("d0", "d1"):
        train, test = table[table["dataset"] != name], table[table["dataset"] == name]
        x = np.column_stack([np.ones(len(train)), train[["signal", "blank"]]])
        beta = np.linalg.lstsq(x, train["drop"].to_numpy(), rcond=None)[0]
        expected = np.column_stack([np.ones(len(test)), test[["signal", "blank"]]]) @ beta
        expected = np.clip(expected, train["drop"].min(), train["drop"].max())
        np.testing.assert_allclose(predictions.loc[test.index, "predicted"], expected, atol=1e-10)


@pytest.mark.slow
def test_no_held_out_value_enters_a_fit():
    """Changing the rows of one group changes no prediction of that group's own targets, whatever they were."""
    table = grid(2, effect=1)
    other = table.copy()
    mine = table["pruner"] == "er"
    other.loc[mine, "drop"] = 50 + np.arange(mine.sum())
    for within in ((), GROUPS):
        for model in ("ridge", "forest"):
            options = {"by": "pruner", "model": model, "within": within}
            before, after = (held_out(t, ["signal", "blank"], **options) for t in (table, other))
            np.testing.assert_allclose(before.loc[mine, "predicted"], after.loc[mine, "predicted"])


def test_centring_takes_out_the_means_of_training_rows():
    table = grid(4, level=3)
    everything = np.arange(len(table))
    x, y = centred(table, ["signal"], "drop", GROUPS, everything)
    keys = [table[c] for c in GROUPS]
    np.testing.assert_allclose(x["signal"].groupby(keys).mean(), 0, atol=1e-12)
    np.testing.assert_allclose(y, table["drop"] - table.groupby(list(GROUPS))["drop"].transform("mean"))
    train = np.flatnonzero(table["pruner"] != "er")
    _, y = centred(table, ["signal"], "drop", GROUPS, train)
    means = table.iloc[train].groupby(list(GROUPS))["drop"].mean()
    expected = table["drop"] - means.loc[pd.MultiIndex.from_frame(table[list(GROUPS)])].to_numpy()
    np.testing.assert_allclose(y, expected)
    with pytest.raises(InputError, match="text columns"):
        centred(table, ["model"], "drop", GROUPS, everything)


def test_scores_equal_scikit_learn():
    table = grid(5, effect=1)
    predictions = held_out(table, ["signal"], by="seed", model="ols")
    scores = score(predictions)
    assert scores["r2"] == pytest.approx(r2_score(predictions["actual"], predictions["predicted"]))
    assert scores["mae"] == pytest.approx(mean_absolute_error(predictions["actual"], predictions["predicted"]))
    large = predictions[predictions["actual"] >= 0.01]
    assert scores["mape"] == pytest.approx((abs(large["actual"] - large["predicted"]) / large["actual"]).mean())


def test_gaps_infinities_and_text():
    table = grid(6, effect=2, noise=0.2)
    table.loc[::7, "signal"] = np.nan
    table.loc[3::11, "signal"] = np.inf
    table["none"] = np.nan
    for model in PREDICTORS:
        assert np.isfinite(held_out(table, ["signal", "none", "model"], by="seed", model=model)["predicted"]).all()
    assert Fill().fit([[np.nan], [np.nan]]).transform([[np.nan]]).tolist() == [[0.0]]
    assert SignedLog().fit([[0.0], [0.0]]).transform([[0.0]]).tolist() == [[0.0]]


def test_more_columns_than_rows_still_give_a_ridge_and_a_reason_for_least_squares():
    table = grid(7, models=2, datasets=1, seeds=1)
    wide = [f"x{i}" for i in range(40)]
    table[wide] = np.random.default_rng(0).normal(size=(len(table), 40))
    scores, _ = regression_table(table, {"mean": [], "wide": wide}, by=["model"], models=["ols", "ridge"])
    rows = scores.set_index(["features", "model"])
    assert np.isnan(rows.loc[("wide", "ols"), "r2"]) and "too few" in rows.loc[("wide", "ols"), "reason"]
    assert np.isfinite(rows.loc[("wide", "ridge"), "r2"])


def test_the_table_has_every_combination_on_the_same_rows_and_reasons_for_empty_rows():
    table = grid(8, datasets=1)
    table.loc[:9, "signal"] = np.nan
    scores, predictions = regression_table(
        table, {"mean": [], "signal": ["signal"]}, by=["dataset", "model"], models=["ols", "forest"]
    )
    assert len(scores) == 2 * (1 + 2)
    assert set(scores["n"]) == {len(table) - 10}
    empty = scores[scores["held_out"] == "dataset"]
    assert empty["r2"].isna().all() and empty["reason"].str.contains("one dataset only").all()
    assert set(predictions) == {("model", "mean", "mean"), ("model", "signal", "ols"), ("model", "signal", "forest")}


def test_a_third_of_the_columns_of_every_set_must_be_there():
    table = grid(9).iloc[:4].assign(a=[1, np.nan, np.nan, 1], b=[1, 1, np.nan, 1], c=np.nan, drop=[1, 2, 3, np.nan])
    assert same_rows(table, {"abc": ["a", "b", "c"], "mean": []}).index.tolist() == [0, 1]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.drop(columns="signal"), "no column 'signal'"),
        (lambda t: t.assign(drop=np.nan), "no network of the table has a value of its accuracy drop"),
        (lambda t: t.assign(drop=1.0), "the accuracy drop is constant"),
        (lambda t: t.assign(model="one"), "one model only"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.groupby("model").head(1), "leaves 3 rows to learn from"),
        (lambda t: pd.concat([t, t[["signal"]]], axis=1), "several columns named 'signal'"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        held_out(change(grid()), ["signal"], by="model")


def test_forests_have_more_trees_where_rows_are_few(monkeypatch):
    monkeypatch.setattr("topo.stats.predictors.TREES", 200)
    assert [trees(n) for n in (0, 300, 1200, 100_000)] == [200, 200, 100, 30]


def test_unknown_model():
    with pytest.raises(InputError, match="did you mean 'ridge'"):
        regression_table(grid(), {"s": ["signal"]}, models=["rigde"])


@pytest.mark.slow
def test_a_hundred_thousand_rows():
    generator = np.random.default_rng(0)
    n = 100_000
    table = pd.DataFrame({"x": generator.normal(size=n), "z": generator.normal(size=n), "model": np.arange(n) % 3})
    table["drop"] = table["x"] + 0.1 * generator.normal(size=n)
    for model in ("ridge", "forest"):
        assert score(held_out(table, ["x", "z"], by="model", model=model, max_folds=2))["r2"] > 0.8


def test_the_penalty_is_that_of_scikit_learn_with_whole_groups_left_out():
    table = grid(10, effect=0.3, models=5)
    x, y = table[["signal", "blank", "named"]].to_numpy(), table["drop"].to_numpy()
    splits = list(GroupKFold(5).split(x, groups=table["model"]))
    ours = GroupRidge(cv=splits).fit(x, y)
    theirs = RidgeCV(np.logspace(-2, 4, 13), cv=splits, scoring="neg_mean_squared_error").fit(x, y)
    assert ours.alpha_ == theirs.alpha_
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize("by", ["dataset", "model", "pruner", "seed"])
def test_no_group_is_on_two_sides_of_a_fold_nor_of_the_folds_that_choose_the_penalty(by):
    table = grid(11, models=3)
    for fold in folds(table, ["signal"], by=by, model="ridge", target="drop"):
        assert not set(table[by].iloc[fold.train]) & set(table[by].iloc[fold.test])
        groups = table.iloc[fold.train][by].to_numpy()
        for train, test in fold.fitted[-1].cv:
            if len(set(groups)) > 1:
                assert not set(groups[train]) & set(groups[test])
            else:  # one dataset or seed to learn from: whole algorithms
                names = table.iloc[fold.train]["pruner"].to_numpy()
                assert not set(names[train]) & set(names[test])
