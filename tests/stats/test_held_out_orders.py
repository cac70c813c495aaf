from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats.held_out_orders import Rankings, label_permutation_p
from topo.stats.rank_score import rank_model
from topo.stats.ranking import ranking_differences, ranking_table

KEYS = ["dataset", "model", "sparsity"]
SIX = tuple("abcdef")


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    """Takes less time; level and order of the scores hardly depend on the number of trees."""
    monkeypatch.setattr("topo.stats.rank_score.TREES", 60)


def table_of(seed: int = 0, *, effect: float = 0.0, size: float = 0.0, pruners: tuple[str, ...] = SIX) -> pd.DataFrame:
    """Every pruner has a level of topology, of size and of accuracy of its own, the same in all groups."""
    generator = np.random.default_rng(seed)
    table = grid(seed, models=3, datasets=2, seeds=1, pruners=pruners).assign(family="initial")
    level, edges, own = (
        table["pruner"].map(dict(zip(pruners, generator.normal(size=len(pruners)), strict=True))) for _ in range(3)
    )
    table["topology"], table["edges"] = (x + 0.3 * generator.normal(size=len(table)) for x in (level, edges))
    table["drop"] = effect * table["topology"] + size * table["edges"] + own + 0.3 * generator.normal(size=len(table))
    return table


def test_pairs_are_ordered_by_a_model_that_has_seen_neither():
    """Garbage in the results of two pruners changes nothing of what is said of them."""
    table = table_of(effect=1.0)
    rankings = Rankings.of(table, ["topology"])
    known = rankings.unseen_pairs(rankings.features(["topology"]), rank_model())
    garbage = table.assign(drop=table["drop"].where(~table["pruner"].isin(["b", "e"]), 99 * table["blank"]))
    changed = Rankings.of(garbage, ["topology"])
    other = changed.unseen_pairs(changed.features(["topology"]), rank_model())
    np.testing.assert_allclose(known[:, 1, 4], other[:, 1, 4])
    assert not np.allclose(known[:, 0, 4], other[:, 0, 4])
    np.testing.assert_allclose(known, -known.transpose(0, 2, 1))


@pytest.mark.parametrize("by", ["dataset", "model"])
def test_unseen_groups_are_ordered_by_a_model_that_has_seen_none_of_their_results(by):
    table = table_of(effect=1.0)
    mine = table[by] == table[by].iloc[0]
    garbage = table.assign(drop=table["drop"].where(~mine, 99 * table["blank"]))
    scores = []
    for one in (table, garbage):
        rankings = Rankings.of(one, ["topology"])
        scores.append(rankings.unseen_values(rankings.features(["topology"]), rank_model(), by))
    here = (rankings.groups[by] == table[by].iloc[0]).to_numpy()
    np.testing.assert_allclose(scores[0][here], scores[1][here])
    assert not np.allclose(scores[0][~here], scores[1][~here])


def test_a_model_that_predicts_the_mean_ranks_nothing():
    """Leaving pruners out one by one the mean of the others would rank them perfectly backwards."""
    rankings = Rankings.of(table_of(effect=1.0), ["topology"])
    assert not np.nan_to_num(rankings.unseen_pairs(np.zeros((len(rankings.means), 1)), rank_model())).any()


def test_permutations_learn_anew():
    table = table_of(3, effect=0.7, pruners=tuple("abcdef"))
    table = table[(table["model"] == "m0") & (table["dataset"] == "d0") & (table["sparsity"] == 0.9)]
    drops = table["drop"].to_numpy()
    orders = np.array(list(permutations(range(6)))[::150])
    by_hand = []
    for order in orders:
        summary, _, _ = ranking_table(table.assign(drop=drops[order]), {"s": ["topology"]}, by=["pruner"])
        by_hand.append(summary.set_index("features").loc["s", "tau"])
    rankings = Rankings.of(table, ["topology"])
    found = rankings._mean_taus(rankings.features(["topology"]), orders, 0)
    np.testing.assert_allclose(found, by_hand, atol=1e-12)
    assert np.ptp(by_hand) > 0


def test_groups_that_lack_a_pruner_are_permuted_among_those_they_have():
    table = table_of(3, effect=3.0, pruners=tuple("abcdef"))
    table = table.drop(table.index[(table["pruner"] == "c") & (table["sparsity"] == 0.8)])
    assert label_permutation_p(table, ["topology"]) < 0.05 < label_permutation_p(table, ["blank"])


def test_too_few_pruners_say_so():
    with pytest.raises(InputError, match="at least 6 of them; the table has 5 algorithms"):
        label_permutation_p(table_of(pruners=tuple("abcde")), ["topology"])


def claimed(seed: int, pruners: str, **effects: float) -> bool:
    """Whether topology is told from chance and from size alone."""
    table = table_of(seed, pruners=tuple(pruners), **effects)
    table = table[(table["dataset"] == "d0") & (table["sparsity"] == 0.9)]
    summary, _, orders = ranking_table(table, {"size": ["edges"], "topology": ["topology"]}, by=["pruner"])
    gain = ranking_differences(summary, orders, ["size"]).iloc[0]
    return bool(gain["low"] > 0 and label_permutation_p(table, ["topology"], permutations=39) < 0.05)


@pytest.mark.slow
def test_claims_hold_their_level_and_find_what_is_there():
    """Pruners with effects of their own, the same in all groups: what makes groups agree without any relation."""
    assert sum(claimed(seed, "abcdef") for seed in range(12)) <= 1
    # Ten pruners in three groups are few: even where topology decides nearly all, about half of such tables show it.
    assert any(claimed(seed, "abcdefghij", effect=4.0) for seed in (3, 4, 5))
    # Nothing but size matters, of which topology knows nothing here.
    assert not any(claimed(seed, "abcdef", size=4.0) for seed in range(6))
