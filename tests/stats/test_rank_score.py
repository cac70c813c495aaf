from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomTreesEmbedding

from tests.stats.grids import grid
from topo.errors import InputError
from topo.stats import rank_score
from topo.stats.rank_score import group_means, predicted_ranks, rank_features, relative_ranks, shared_paths

GROUPS = ["dataset", "model", "sparsity"]


def test_relative_ranks_by_hand():
    values = pd.Series([5.0, 1.0, 1.0, np.nan, 7.0])
    groups = [pd.Series(["a", "a", "a", "a", "b"])]
    # Ranks 3, 1.5, 1.5 of three; alone in a group: the middle.
    expected = [2.5 / 3 - 0.5, 1 / 3 - 0.5, 1 / 3 - 0.5, np.nan, 0.0]
    np.testing.assert_allclose(relative_ranks(values, groups), expected)


def test_means_are_over_seeds_and_infinite_values_are_missing():
    table = grid(models=1, datasets=1, pruners=("er", "snip", "erk")).assign(blank=np.inf)
    means = group_means(table, ["drop", "blank"])
    assert len(means) == 6 and means["blank"].isna().all()
    expected = table.groupby(["sparsity", "pruner"])["drop"].mean()
    np.testing.assert_allclose(means.set_index(["sparsity", "pruner"])["drop"].sort_index(), expected)


def test_features_do_not_change_when_a_group_is_scaled_up():
    """A network a thousand times as large whose masks stand to each other as before reads the same."""
    means = group_means(grid(models=1, datasets=1), ["signal"])
    means["signal"] = means["signal"].abs() + 5
    small, large = (rank_features(m, ["signal"]) for m in (means, means.assign(signal=1e3 * means["signal"])))
    pd.testing.assert_frame_equal(small, large)
    assert np.isfinite(rank_features(means.assign(signal=np.nan), ["signal"])).all(axis=None)


def test_similarity_is_the_nodes_that_two_rows_pass(monkeypatch):
    """Counted node by node in every tree."""
    monkeypatch.setattr(rank_score, "TREES", 20)
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(15, 3))).assign(last=0.0)
    x.loc[1] = x.loc[0]
    trees = RandomTreesEmbedding(20, max_depth=None, min_samples_leaf=3, random_state=0).fit(x.to_numpy())
    counts, total = np.zeros((15, 15)), 0
    for tree in trees.estimators_:
        passed = [set(row.indices) for row in tree.decision_path(x.to_numpy())]
        counts += [[len(a & b) for b in passed] for a in passed]
        total += sum(map(len, passed))
    coordinates = shared_paths(x)
    np.testing.assert_allclose(coordinates @ coordinates.T, counts / (total / 15), atol=1e-8)
    np.testing.assert_allclose(counts[0], counts[1])
    np.testing.assert_allclose(shared_paths(x * 1e6), coordinates, atol=1e-8)


def planted(seed: int = 0) -> pd.DataFrame:
    """In a small and in a large model those lose most that have the most of a metric; the drops differ in size."""
    table = grid(seed, models=3, datasets=1, seeds=1, pruners=tuple("abcdefgh"), noise=0.1, level=5.0, effect=1.0)
    size = table["model"].map({"m0": 1.0, "m1": 100.0, "m2": 10_000.0})
    return table.assign(signal=size * np.exp(table["signal"]), drop=size * table["drop"])


def test_unknown_models_are_ranked():
    table = planted()
    hidden = table.assign(drop=table["drop"].where(table["model"] != "m2"))
    ranks = predicted_ranks(hidden, ["signal"])
    assert set(ranks["model"]) == {"m2"} and len(ranks) == 16
    both = ranks.merge(table, on=[*GROUPS, "pruner"])
    tau = both.groupby("sparsity")[["predicted", "drop"]].corr(method="kendall")["predicted"].xs("drop", level=1)
    assert (tau > 0.7).all()


def test_hidden_results_do_not_matter():
    table = planted()
    new = table["pruner"].isin(["a", "b"]) & (table["model"] == "m1")
    ranks = predicted_ranks(table.assign(drop=table["drop"].where(~new)), ["signal"])
    assert len(ranks) == 4 and set(ranks["pruner"]) == {"a", "b"}


def test_what_can_not_be_ranked_says_why():
    table = planted()
    with pytest.raises(InputError, match="none to rank"):
        predicted_ranks(table, ["signal"])
    with pytest.raises(InputError, match="no order to learn"):
        predicted_ranks(table.assign(drop=np.nan), ["signal"])
    with pytest.raises(InputError, match="no column 'nothing'"):
        predicted_ranks(table, ["nothing"])
    with pytest.raises(InputError, match="columns must be a list of columns"):
        predicted_ranks(table, "signal")
    with pytest.raises(
        InputError, match=r"no columns 'family' and 'drop'; topo.results.tidy_results adds the family; topo"
    ):
        predicted_ranks(table.drop(columns=["family", "drop"]), ["signal"])
    with pytest.raises(InputError, match="must be a pandas DataFrame, not dict"):
        predicted_ranks({"signal": [1]}, ["signal"])
