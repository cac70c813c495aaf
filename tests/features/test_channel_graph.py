"""Metrics of the channel graph against networkx, brute force and graphs worked by hand."""

from __future__ import annotations

from itertools import combinations, permutations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs
from topo.encoding.graph import Block, MultipartiteGraph, Part
from topo.features import GraphView, measure
from topo.features.channel_graph import channel_edges


@given(graphs)
def test_against_networkx_and_brute_force(graph: MultipartiteGraph) -> None:
    row = measure(graph, metrics="channels")
    plain = nx.Graph(graph.to_networkx())  # one node a channel
    plain.add_nodes_from(range(graph.n_nodes))
    if not plain.number_of_edges():
        assert "no edge" in row.attrs["undefined"]["channel_clustering"]
        return
    assert row["channel_clustering"] == pytest.approx(nx.average_clustering(plain))
    lengths = [d for node, found in nx.all_pairs_shortest_path_length(plain) for other, d in found.items() if d]
    assert row["channel_path_length"] == pytest.approx(np.mean(lengths))
    directed = nx.DiGraph(graph.to_networkx())
    directed.add_nodes_from(range(graph.n_nodes))
    inputs, outputs = (np.flatnonzero(graph.nodes_with_role(role)).tolist() for role in ("input", "output"))
    if any(directed.has_edge(a, b) for a in inputs for b in outputs):
        assert "directly" in row.attrs["undefined"]["narrowest_channels"]
    else:
        directed.add_edges_from([("s", a) for a in inputs] + [(b, "t") for b in outputs])
        joined = nx.DiGraph(directed)
        for ends, name in ((inputs, "s"), (outputs, "t")):  # the ends cannot be cut
            joined = nx.relabel_nodes(joined, dict.fromkeys(ends, name))
        joined.remove_edges_from(nx.selfloop_edges(joined))
        assert row["narrowest_channels"] == nx.node_connectivity(joined, "s", "t")


@pytest.mark.parametrize("seed", range(6))
def test_squares_against_counting_walks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts, blocks = [Part(str(i), (3,), i, 3 * i, "hidden") for i in range(3)], []
    for i, j in combinations(range(3), 2):
        blocks.append(Block(i, j, sparse.csr_array((rng.random((3, 3)) < 0.5).astype(np.float32))))
    graph = MultipartiteGraph(parts, blocks)
    plain = nx.Graph(graph.to_networkx())
    walks = closed = 0
    for a, b, c, d in permutations(plain, 4):
        if plain.has_edge(a, b) and plain.has_edge(b, c) and plain.has_edge(c, d):
            walks += 1
            closed += plain.has_edge(d, a)
    assert measure(graph, metrics="channel_clustering")["channel_square_clustering"] == pytest.approx(closed / walks)


def test_modules_and_elements_of_channels() -> None:
    """Two complete pairs of channels, joined by one element, worked by hand: 9 edges between 8 channels."""
    parts = [Part("a", (4, 2), 0, 0, "input"), Part("b", (4,), 1, 8), Part("c", (1,), 2, 12, "output")]
    first = np.zeros((4, 2, 4), np.float32)
    first[:2, 0, :2] = first[:2, 1, :2] = first[2:, 1, 2:] = first[0, 1, 3] = 1
    blocks = [
        Block(0, 1, sparse.csr_array(first.reshape(8, 4))),
        Block(1, 2, sparse.csr_array((4, 1), dtype=np.float32)),
    ]
    graph = MultipartiteGraph(parts, blocks)
    count, edges = channel_edges(GraphView(graph))
    assert count == 9
    expected = (
        {(i, 4 + j) for i in range(2) for j in range(2)} | {(i, 4 + j) for i in (2, 3) for j in (2, 3)} | {(0, 7)}
    )
    assert set(map(tuple, edges.tolist())) == expected and len(edges) == 9
    row = measure(graph, metrics="channels")
    # Each module has four edges inside and degrees that sum to nine, of nine edges and eighteen ends in all.
    assert row["channel_modularity"] == pytest.approx(2 * (4 / 9 - (9 / 18) ** 2))
    assert row["narrowest_channels"] == 0 and row["channel_clustering"] == 0
