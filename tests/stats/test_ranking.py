from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stats.grids import PRUNERS, grid
from topo.errors import InputError
from topo.stats.ranking import (
    perfect_tau,
    rank_agreement,
    rank_biased_overlap,
    ranking_differences,
    ranking_table,
)


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
        dataset="d", model="m", sparsity=0.9, family="f", drop=[0.1, 0.2, 0.4, 0.3, 0.4, 0.4], s=[2, 1, 3, 2, 1, 3]
    )
    agreement = rank_agreement(table, "s").iloc[0]
    assert agreement["tau"] == pytest.approx(1 / 3) and agreement["best"] == 0 and agreement["pruners"] == 3
    assert agreement["right"] == pytest.approx(2 / 3) and agreement["regret"] == pytest.approx(0.3 - 0.2)
    flat = rank_agreement(table.assign(s=1.0), "s").iloc[0]
    assert flat["tau"] == 0 and flat["right"] == 0.5 and np.isnan(flat[["rbo", "best", "regret"]].astype(float)).all()
    with pytest.raises(InputError, match="three pruners"):
        rank_agreement(table[table["pruner"] != "c"], "s")


def test_the_order_of_the_rows_does_not_matter():
    table = ranked().assign(s=lambda t: t["signal"].round())
    pd.testing.assert_frame_equal(rank_agreement(table, "s"), rank_agreement(table.sample(frac=1, random_state=1), "s"))


def test_random_orders_have_what_all_orders_have_on_average():
    orders = list(permutations(range(5)))
    names = [(f"m{i}", pruner, order[j]) for i, order in enumerate(orders) for j, pruner in enumerate("abcde")]
    table = pd.DataFrame(names, columns=["model", "pruner", "s"]).assign(dataset="d", sparsity=0.9, family="f")
    table["drop"] = table["pruner"].map(dict(zip("abcde", [0.5, 0.1, 0.2, 0.9, 0.4], strict=True)))
    average = rank_agreement(table, "s").mean(numeric_only=True)
    _, groups, _ = ranking_table(table[table["model"] == "m0"], {}, by=["dataset"])
    columns = ["tau", "right", "rbo", "best", "regret"]
    np.testing.assert_allclose(groups[columns].iloc[0].astype(float), average[columns], atol=1e-12)


def test_a_planted_score_ranks_what_it_has_not_seen_and_noise_does_not():
    table = ranked(pruners=tuple("abcdefgh"))
    summary, groups, orders = ranking_table(table, {"signal": ["signal"], "blank": ["blank"]})
    tau = summary.set_index(["held_out", "features"])["tau"]
    for hold in ("dataset", "model", "pruner"):
        assert tau[hold, "signal"] > 0.7
        assert abs(tau[hold, "blank"]) < 0.35
        assert tau[hold, "random"] == 0
    assert (summary["reason"] == "").all() and set(groups["features"]) >= {"signal", "random", "algorithm"}
    assert not {("pruner", name) for name in ("algorithm", "algorithm_model")} & set(tau.index)
    differences = ranking_differences(summary, orders, ["algorithm", "family", "family_setting", "blank"])
    unseen = differences.set_index(["held_out", "features"]).loc[("pruner", "signal")]
    assert unseen["difference"] > 0.5 and unseen["low"] > 0 and unseen["q"] < 0.05


def test_what_is_not_topology_but_known_is_not_beaten():
    """The signal says nothing but which pruner it is, and past results say that as well."""
    summary, _, orders = ranking_table(ranked(), {"signal": ["signal"]}, by=["dataset", "model"])
    tau = summary.set_index(["held_out", "features"])["tau"]
    assert tau["dataset", "algorithm"] > 0.9 and tau["model", "algorithm"] > 0.9
    differences = ranking_differences(summary, orders, [n for n in summary["features"] if n.startswith("algorithm")])
    assert (differences["low"] <= 0).all()


def test_past_results_are_mean_ranks_of_the_other_groups():
    table = ranked(seeds=1, effect=0.1)
    _, groups, orders = ranking_table(table, {}, by=["model"])
    of = groups[groups["features"] == "algorithm"].reset_index(drop=True)
    ranks = table.groupby(["dataset", "model", "sparsity"])["drop"].rank()
    for _, group in of.iterrows():
        inside = (table[["dataset", "model", "sparsity"]] == group[["dataset", "model", "sparsity"]].to_numpy()).all(
            axis=1
        )
        others = table["model"] != group["model"]
        past = table.assign(past=table["pruner"].map(ranks[others].groupby(table["pruner"]).mean()))[inside]
        assert group["tau"] == pytest.approx(rank_agreement(past, "past")["tau"].iloc[0])
    assert ("model", "algorithm_model") in orders and of["tau"].std() > 0


@pytest.mark.parametrize(("seeds", "spread"), [(2, 1.0), (3, 0.67), (5, 1.5)])
def test_a_perfect_score_gets_what_is_expected_of_it(seeds, spread):
    """The truth behind the seeds is known here: its tau with their means is what `perfect_tau` predicts from them."""
    generator = np.random.default_rng(seeds)
    names = [("d", f"m{i}", 0.9, p, "f", s) for i in range(150) for p in "abcdefg" for s in range(seeds)]
    table = pd.DataFrame(names, columns=["dataset", "model", "sparsity", "pruner", "family", "seed"])
    table["true"] = np.repeat(generator.normal(size=len(table) // seeds), seeds)
    table["drop"] = table["true"] + spread * generator.normal(size=len(table))
    assert perfect_tau(table) == pytest.approx(rank_agreement(table, "true")["tau"].mean(), abs=0.03)


def test_a_perfect_score_is_not_known_from_one_seed():
    assert np.isnan(perfect_tau(ranked(seeds=1)))
    assert perfect_tau(ranked(effect=50)) > 0.9


def test_an_empty_row_has_a_reason():
    summary, _, _ = ranking_table(ranked(models=1, pruners=PRUNERS[:4]), {"signal": ["signal"]})
    rows = summary.set_index(["held_out", "features"])["reason"]
    assert "one model" in rows["model", "signal"] and "one model" in rows["model", "algorithm"]
    assert "at least 6" in rows["pruner", "signal"] and rows["dataset", "signal"] == ""
    with pytest.raises(InputError, match="three pruners"):
        ranking_table(ranked(pruners=PRUNERS[:2]), {"signal": ["signal"]}, by=["dataset"])
