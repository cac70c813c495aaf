from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.stats.confounders import edge_spread, mean_absolute_weight, reached_gap, relative_to_group

TABLE = pd.DataFrame(
    {
        "dataset": "d", "model": ["a"] * 4 + ["b"], "sparsity": 0.9, "family": "initial",
        "pruner": ["snip", "snip", "er", "erk", "er"], "edges": [100.0, 120, 400, 200, 50],
        "reached_sparsity": [0.9, 0.905, 0.95, np.nan, 0.7],
    }
)  # fmt: skip


def test_mean_weight_of_a_graph_by_hand():
    # Three edges of weights .2, .4, .6 between four nodes: strength is 2 * 1.2 / 4 = .6.
    raw = pd.DataFrame({"nodes": [4], "strength_norm": [0.6 / 3], "strength": [0.6]})
    assert mean_absolute_weight(raw).tolist() == pytest.approx([0.4])
    published = pd.DataFrame({"nodes": [4], "strength": [0.6 / 3]})
    assert mean_absolute_weight(published).tolist() == pytest.approx([0.4])
    assert mean_absolute_weight(pd.DataFrame({"nodes": [4]})) is None


def test_spread_names_who_has_fewest_and_most():
    spread = edge_spread(TABLE)
    assert len(spread) == 1  # model b has one algorithm
    row = spread.iloc[0]
    assert row[["fewest_pruner", "most_pruner", "ratio", "networks", "algorithms"]].tolist() == [
        "snip",
        "er",
        4.0,
        4,
        3,
    ]
    with pytest.raises(InputError, match="no column 'edges'"):
        edge_spread(TABLE.drop(columns="edges"))


def test_each_algorithm_counts_once_in_the_middle_of_a_group():
    # Medians of algorithms 110, 400, 200: the middle is 200 however many seeds snip has.
    assert relative_to_group(TABLE, TABLE["edges"]).tolist() == pytest.approx([0.5, 0.6, 2, 1, 1])


def test_reached_sparsity():
    gap = reached_gap(TABLE).set_index("pruner")
    assert gap.loc["er", ["networks", "off"]].tolist() == [2, 2]
    assert gap.loc["snip", "highest"] == pytest.approx(0.005) and gap.loc["snip", "off"] == 0
    assert "erk" not in gap.index
    assert reached_gap(TABLE.drop(columns="reached_sparsity")) is None
