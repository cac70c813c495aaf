from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs
from topo.encoding.graph import BipartiteGraph, MultipartiteGraph
from topo.features import GraphView, measure


@given(graphs)
def test_gini_is_half_the_mean_difference_over_the_mean(graph: MultipartiteGraph) -> None:
    degree = GraphView(graph).degree
    row = measure(graph, metrics="degree_gini")
    if not degree.any():
        assert "no edge" in row.attrs["undefined"]["degree_gini"]
        return
    differences = abs(degree[:, None] - degree[None]).mean()
    assert row["degree_gini"] == pytest.approx(differences / 2 / degree.mean(), abs=1e-12)


def test_exponent_by_hand() -> None:
    """Of 23 nodes with edges the three largest degrees count, 8, 4 and 4, next to the fourth, 2."""
    pattern = np.zeros((5, 18), np.float32)
    for row, columns in enumerate([range(8), range(8, 12), range(12, 16), range(16, 18), []]):
        pattern[row, columns] = 1
    pattern[4, 17] = 1
    graph = BipartiteGraph(sparse.csr_array(pattern))
    assert (GraphView(graph).degree > 0).sum() == 23
    found = measure(graph, metrics="degree_tail_exponent")["degree_tail_exponent"]
    assert found == pytest.approx(1 + 3 / np.log(8 * 4 * 4 / 2**3))


def test_equal_degrees_have_no_tail() -> None:
    row = measure(BipartiteGraph(sparse.csr_array(np.ones((3, 3), np.float32))), metrics="degree-shape")
    assert row["degree_gini"] == 0 and "equal" in row.attrs["undefined"]["degree_tail_exponent"]


@given(graphs)
def test_active_nodes_one_by_one(graph: MultipartiteGraph) -> None:
    source, target, _ = graph.edges()
    roles = np.concatenate([np.repeat(part.role, part.size) for part in graph.parts])
    active = 0
    for node in range(graph.n_nodes):
        into, out = node in target, node in source
        wanted = {"input": out, "output": into, "hidden": into and out}
        active += wanted[roles[node]]
    assert measure(graph, metrics="active_nodes")["active_nodes"] == pytest.approx(active / graph.n_nodes)
