from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.stats.grids import PRUNERS, grid
from topo.errors import InputError
from topo.stats.ranking import (
    another_seed,
    kendall,
    past_results,
    random_order,
    rank_agreement,
    rank_biased_overlap,
    ranking_table,
)

levels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)


@given(levels)
def test_kendall_equals_scipy(pairs):
    x, y = np.array(pairs).T
    expected = stats.kendalltau(x, y).statistic
    assert kendall(x, y) == pytest.approx(0.0 if np.isnan(expected) else expected)


def test_overlap_by_hand():
    # Agreement at depths 1, 2, 3 of abc and bac: 0, 1, 1; p = .5: .5^3 + (0 + 1 * .25 + 1 * .125) = .5.
    assert rank_biased_overlap("abc", "bac", p=0.5) == pytest.approx(0.5)
    # abcd and dcba: 0, 0, 2/3, 1; p = .8: .8^4 + .25 (2/3 * .512 + .4096).
    assert rank_biased_overlap("abcd", "dcba", p=0.8) == pytest.approx(0.4096 + 0.25 * (2 / 3 * 0.512 + 0.4096))


@given(st.permutations(range(7)), st.permutations(range(7)), st.floats(0.1, 0.95))
def test_overlap_equals_sets_depth_by_depth(first, second, p):
    k = len(first)
    common = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, k + 1)]
    expected = common[-1] * p**k + (1 - p) / p * sum(a * p**d for d, a in enumerate(common, 1))
    overlap = rank_biased_overlap(first, second, p)
    assert overlap == pytest.approx(expected) == pytest.approx(rank_biased_overlap(second, first, p))
    assert 0 <= overlap <= 1 + 1e-12 and rank_biased_overlap(first, first, p) == pytest.approx(1)


def test_overlap_gives_the_top_the_largest_weight():
    assert rank_biased_overlap("abcde", "abced") > rank_biased_overlap("abcde", "bacde")


@pytest.mark.parametrize("pair", [("ab", "abc"), ("aab", "aba"), ("ab", "cd"), ("", "")])
def test_rankings_of_other_items_are_refused(pair):
    with pytest.raises(InputError, match="same items"):
        rank_biased_overlap(*pair)
    with pytest.raises(InputError, match="between 0 and 1"):
        rank_biased_overlap("a", "a", p=1.0)


def ranked(effect: float = 1.0, seed: int = 0, **settings) -> pd.DataFrame:
    """The drop of a network depends on its pruner, through a signal that every pruner has its own level of."""
    table = grid(seed, noise=0.1, **settings)
    own = np.random.default_rng(seed + 99).normal(size=50)
    level = table["pruner"].map({p: own[i] for i, p in enumerate(dict.fromkeys(table["pruner"]))})
    table["signal"] = level + 0.05 * table["signal"]
    table["drop"] += effect * table["signal"]
    return table


def test_agreement_of_a_group_by_hand():
    table = pd.DataFrame({"pruner": list("abcabc"), "seed": [0, 0, 0, 1, 1, 1]}).assign(
        dataset="d", model="m", sparsity=0.9, drop=[0.1, 0.2, 0.4, 0.3, 0.4, 0.4], s=[2, 1, 3, 2, 1, 3]
    )
    agreement = rank_agreement(table, "s").iloc[0]
    assert agreement["tau"] == pytest.approx(1 / 3) and agreement["best"] == 0 and agreement["pruners"] == 3
    assert agreement["regret"] == pytest.approx(0.3 - 0.2)
    assert len(rank_agreement(table[table["pruner"] != "c"], "s")) == 0
    flat = rank_agreement(table.assign(s=1.0), "s").iloc[0]
    assert flat["tau"] == 0 and np.isnan([flat["rbo"], flat["best"], flat["regret"]]).all()


def test_the_order_of_the_rows_does_not_matter():
    table = ranked().assign(s=lambda t: t["signal"].round())
    pd.testing.assert_frame_equal(rank_agreement(table, "s"), rank_agreement(table.sample(frac=1, random_state=1), "s"))


@pytest.mark.slow
def test_a_planted_score_ranks_unseen_groups_and_noise_does_not():
    table = ranked(pruners=tuple("abcdefghij"))
    summary, cells = ranking_table(table, {"signal": ["signal"], "blank": ["blank"]}, model="ridge")
    tau = summary.set_index(["held_out", "features"])["tau"]
    for hold in ("dataset", "model", "pruner"):
        assert tau[hold, "signal"] > 0.8
        assert abs(tau[hold, "blank"]) < 0.3
        assert abs(tau[hold, "random"]) < 0.1
    assert (summary["reason"] == "").all() and set(cells["features"]) >= {"signal", "random", "past", "another seed"}
    assert ("pruner", "past") not in tau.index


def test_the_training_mean_ranks_nothing_among_unseen_pruners():
    """Leaving algorithms out one by one the mean of the others would rank perfectly backwards."""
    summary, _ = ranking_table(ranked(), {"mean": []}, by=["pruner"])
    assert abs(summary.set_index("features").loc["mean", "tau"]) < 0.1


def test_past_results_use_other_groups_only():
    table = ranked()
    before = past_results(table, "model")
    mine = table["model"] == "m0"
    changed = table.assign(drop=table["drop"].where(~mine, 99 * table["blank"]))
    np.testing.assert_allclose(past_results(changed, "model")[mine], before[mine])
    one = table[~mine & (table["pruner"] == "er")]
    cell = table.groupby(["dataset", "model", "sparsity"])["drop"].transform("mean")
    expected = (one["drop"] - cell[one.index]).mean()
    assert before[mine & (table["pruner"] == "er")].tolist() == pytest.approx([expected] * 8)


def test_another_seed_agrees_most_and_random_orders_have_tau_zero():
    assert another_seed(ranked(effect=3))["tau"].mean() > 0.8
    assert abs(another_seed(ranked(effect=0))["tau"].mean()) < 0.25
    assert another_seed(ranked(seeds=1)).empty
    chance = random_order(ranked())
    assert abs(chance["tau"].mean()) < 0.05 and 0.3 < chance["rbo"].mean() < 0.7


@pytest.mark.slow
def test_an_empty_row_has_a_reason():
    summary, cells = ranking_table(ranked(models=1, pruners=PRUNERS[:4]), {"signal": ["signal"]}, model="ols")
    rows = summary.set_index(["held_out", "features"])["reason"]
    assert "1 value of 'model'" in rows["model", "signal"] and "one value of 'model'" in rows["model", "past"]
    assert "at least six" in rows["pruner", "signal"] and rows["dataset", "signal"] == ""
    few, cells = ranking_table(ranked(pruners=PRUNERS[:2]), {"signal": ["signal"]}, by=["dataset"], model="ols")
    assert few["reason"].str.contains("three pruners").all() and cells.empty


@pytest.mark.slow
def test_intervals_need_three_pairs_of_dataset_and_model():
    wide = ranking_table(ranked(), {"signal": ["signal"]}, by=["dataset"], model="ols")[0].set_index("features")
    assert wide.loc["signal", "tau_low"] <= wide.loc["signal", "tau"] <= wide.loc["signal", "tau_high"]
    thin = ranking_table(ranked(models=1), {"signal": ["signal"]}, by=["dataset"], model="ols")[0]
    assert thin["tau"].notna().all() and thin["tau_low"].isna().all()
