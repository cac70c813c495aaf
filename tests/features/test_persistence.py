from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs, layers
from topo.encoding.graph import BipartiteGraph, MultipartiteGraph
from topo.features import measure


def by_adding_edges(graph: MultipartiteGraph) -> float | None:
    """Persistence by union-find, edges in descending order of their summed weights, as the definition has it."""
    weights: dict[tuple[int, int], float] = {}
    for source, target, weight in zip(*(array.tolist() for array in graph.edges()), strict=True):
        weights[source, target] = weights.get((source, target), 0.0) + weight
    largest = max(weights.values(), default=0.0)
    if not largest or graph.n_nodes < 2:
        return None
    root = list(range(graph.n_nodes))

    def find(node: int) -> int:
        while root[node] != node:
            node = root[node]
        return node

    total, joined = 0.0, 0
    for (source, target), weight in sorted(weights.items(), key=lambda item: -item[1]):
        if find(source) != find(target):
            root[find(source)] = find(target)
            total += (1 - weight / largest) ** 2
            joined += 1
    return float(np.sqrt((total + graph.n_nodes - 1 - joined) / (graph.n_nodes - 1)))


@given(graphs)
def test_networks_against_union_find(graph: MultipartiteGraph) -> None:
    found = measure(graph, metrics="persistence")
    expected = by_adding_edges(graph)
    if expected is None:
        assert "neural_persistence" in found.attrs["undefined"]
    else:
        assert found["neural_persistence"] == pytest.approx(expected, abs=1e-6)
        assert 0 <= found["neural_persistence"] <= 1


@given(layers)
def test_layers_against_union_find(graph: BipartiteGraph) -> None:
    expected = by_adding_edges(graph)
    found = measure(graph, metrics="neural_persistence")["neural_persistence"]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-6)


def test_worked_by_hand() -> None:
    # Of [[4, 2], [0, 1]] the forest takes 4, 2 and 1: persistences 0, 1/2 and 3/4.
    graph = BipartiteGraph(sparse.csr_array(np.float32([[4, 2], [0, 1]])))
    expected = np.sqrt((0 + 1 / 4 + 9 / 16) / 3)
    assert measure(graph, metrics="persistence")["neural_persistence"] == pytest.approx(expected)
    equal = BipartiteGraph(sparse.csr_array(np.ones((2, 2), np.float32)))
    assert measure(equal, metrics="persistence")["neural_persistence"] == 0
