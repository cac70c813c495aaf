"""Effective nodes, channels and the balance of paths against going through every path."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs
from tests.features.test_path_metrics import chain
from topo.encoding.graph import Block, MultipartiteGraph, Part
from topo.features import measure


@given(graphs)
def test_against_every_path(graph: MultipartiteGraph) -> None:
    plain = nx.DiGraph(graph.to_networkx())
    outputs = np.flatnonzero(graph.nodes_with_role("output")).tolist()
    through = np.zeros(graph.n_nodes)
    for start in np.flatnonzero(graph.nodes_with_role("input")).tolist():
        for path in nx.all_simple_paths(plain, start, outputs) if start in plain else ():
            through[path] += 1
    row = measure(graph, metrics="effective")
    assert row["effective_nodes"] == (through > 0).sum()
    # One node a channel here.
    assert row["effective_channels"] == row["effective_nodes"]
    assert row["effective_channels_least_share"] == min((through[p.nodes] > 0).mean() for p in graph.parts)
    shares = [
        through[p.nodes] / max(through[p.nodes].sum(), 1) for p in graph.parts if p.role == "hidden" and p.size > 1
    ]
    expected = [-sum(s * np.log(s) for s in part if s) / np.log(len(part)) for part in shares if part.any()]
    if expected:
        assert row["path_balance"] == pytest.approx(np.mean(expected), abs=1e-12)
    else:
        assert "no path passes" in row.attrs["undefined"]["path_balance"]


def test_a_channel_is_effective_when_one_of_its_elements_is() -> None:
    parts = [Part("in", (1,), 0, 0, "input"), Part("map", (2, 3), 1, 1), Part("out", (2,), 2, 7, "output")]
    first = sparse.csr_array(np.float32([[1, 1, 0, 0, 1, 0]]))
    second = sparse.csr_array(np.float32([[1, 0], [1, 1], [1, 0], [0, 0], [0, 0], [1, 0]]))
    row = measure(MultipartiteGraph(parts, [Block(0, 1, first), Block(1, 2, second)]), metrics="effective")
    assert row["effective_nodes"] == 5 and row["effective_nodes_norm"] == 5 / 9
    assert row["effective_channels"] == 4 and row["effective_channels_share"] == 4 / 5
    assert row["effective_channels_least_share"] == 1 / 2
    # One path through the first of six elements and two through the second.
    assert row["path_balance"] == pytest.approx((np.log(3) - 2 / 3 * np.log(2)) / np.log(6))


def test_complete_layers_are_balanced_however_deep() -> None:
    row = measure(chain(600, 7), metrics="effective")
    assert row["path_balance"] == pytest.approx(1) and row["effective_nodes_norm"] == 1
