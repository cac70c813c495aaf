"""Path counts against Python integers; effective edges against searching every path."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs
from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.features import count_paths, measure


def chain(depth: int, width: int) -> MultipartiteGraph:
    """`depth` complete layers between parts of the same width: width ** (depth + 1) paths."""
    roles = ["input", *["hidden"] * (depth - 1), "output"]
    parts = [Part(f"p{i}", (width,), i, i * width, role) for i, role in enumerate(roles)]
    ones = sparse.csr_array(np.ones((width, width), np.float32))
    return MultipartiteGraph(parts, [Block(i, i + 1, ones) for i in range(depth)])


@given(graphs)
def test_every_path_one_by_one(graph: MultipartiteGraph) -> None:
    plain = nx.DiGraph(graph.to_networkx())
    inputs, outputs = np.flatnonzero(graph.nodes_with_role("input")), np.flatnonzero(graph.nodes_with_role("output"))
    n_paths, used = 0, set()
    for start in inputs.tolist():
        for path in nx.all_simple_edge_paths(plain, start, outputs.tolist()) if start in plain else ():
            n_paths += 1
            used.update(path)
    # The search stops at the first output node; output parts have no edges out here.
    assert count_paths(graph) == n_paths
    assert measure(graph, metrics="effective_edges")["effective_edges"] == len(used)


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (3, 7), (30, 12), (60, 20), (200, 9)])
def test_exact_however_many(depth: int, width: int) -> None:
    assert count_paths(chain(depth, width)) == width ** (depth + 1)


def test_more_paths_than_a_float_holds() -> None:
    row = measure(chain(400, 8), metrics="paths")
    assert row["log10_paths"] == pytest.approx(401 * np.log10(8))
    assert "log10_paths" in row.attrs["undefined"]["n_paths"]


def test_no_path() -> None:
    parts = [Part("a", (1,), 0, 0, "input"), Part("b", (2,), 1, 1), Part("c", (1,), 2, 3, "output")]
    first, second = sparse.csr_array(np.float32([[1, 0]])), sparse.csr_array(np.float32([[0], [1]]))
    row = measure(MultipartiteGraph(parts, [Block(0, 1, first), Block(1, 2, second)]), metrics="paths")
    assert row["n_paths"] == row["effective_edges"] == 0
    assert row.attrs["undefined"] == {"log10_paths": "no path leads from the input to the output"}


def test_an_edge_of_weight_zero_is_a_path() -> None:
    zero = sparse.csr_array((np.float32([0.0]), np.int32([0]), np.int32([0, 1])), shape=(1, 1))
    assert measure(BipartiteGraph(zero), metrics="paths")[["n_paths", "effective_edges"]].tolist() == [1, 1]
