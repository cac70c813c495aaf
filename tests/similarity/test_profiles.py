from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.similarity.profiles import layer_profile, profile_distances, rank_scaled


def test_ranks_do_not_depend_on_the_scale():
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(12, 4)))
    np.testing.assert_allclose(rank_scaled(table), rank_scaled(np.exp(3 * table)))
    assert rank_scaled(table).min().eq(0).all() and rank_scaled(table).max().eq(1).all()


def test_against_a_loop_over_pairs():
    generator = np.random.default_rng(1)
    blocks = [pd.DataFrame(generator.normal(size=(6, k))) for k in (1, 5)]
    blocks[1].iloc[2, 3] = np.inf
    blocks[1].iloc[4] = np.nan
    distances = profile_distances(blocks)
    scaled = [rank_scaled(b).to_numpy() for b in blocks]
    for i in range(6):
        for j in range(6):
            each = [np.abs(s[i] - s[j]).mean() for k, s in enumerate(scaled) if not (k == 1 and 4 in (i, j))]
            assert distances[i, j] == pytest.approx(np.mean(each))


def test_distances_are_a_metric_within_bounds():
    generator = np.random.default_rng(2)
    distances = profile_distances([pd.DataFrame(generator.integers(0, 4, (20, 3)))])
    assert (np.diag(distances) == 0).all() and (distances <= 1).all()
    np.testing.assert_allclose(distances, distances.T)
    assert (distances[:, :, None] <= distances[:, None, :] + distances[None, :, :].transpose(0, 2, 1) + 1e-9).all()


def test_every_block_has_the_same_weight():
    one = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    many = pd.DataFrame({str(i): [0.0, 2.0, 1.0] for i in range(9)})
    assert profile_distances([one, many])[0].tolist() == [0, 0.75, 0.75]


def test_constant_columns_are_ignored():
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    np.testing.assert_array_equal(profile_distances([table]), profile_distances([table.assign(b=3.0)]))
    with pytest.raises(InputError, match="no profile differs"):
        profile_distances([pd.DataFrame({"a": [1.0, 1.0]})])


def test_networks_that_share_no_block_are_refused():
    first, second = pd.DataFrame({"a": [1.0, 2.0, np.nan]}), pd.DataFrame({"b": [np.nan, 2.0, 1.0]})
    with pytest.raises(InputError, match="share no part"):
        profile_distances([first, second])


def test_layers_become_columns():
    layers = pd.DataFrame({"seed": [1, 0, 0], "layer": [0, 0, 1], "k_core": [5.0, 1, 2], "motifs": [0.0, 3, 4]})
    profile = layer_profile(layers, ["seed"], ["k_core", "motifs"])
    assert profile.loc[0].tolist() == [1, 2, 3, 4]
    assert profile.loc[1, ("k_core", 0)] == 5 and np.isnan(profile.loc[1, ("motifs", 1)])
