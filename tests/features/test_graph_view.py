"""The shared quantities: merged edges, certificate, colouring, coreness."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs, random_graph
from topo.encoding.graph import Block, MultipartiteGraph, Part
from topo.features import GraphView
from topo.features.cuts import certificate, connectivity_by_certificate
from topo.features.strength import coreness


def undirected(graph: MultipartiteGraph):
    plain = graph.to_igraph().as_undirected(mode="each")
    return plain.simplify()


def assert_certifies(graph: MultipartiteGraph) -> None:
    view, plain = GraphView(graph), undirected(graph)
    few = certificate(*view.neighbours)
    ends = [{tuple(sorted(g.es[edge].tuple)) for edge in g.bridges()} for g in (few, plain)]
    assert ends[0] == ends[1]
    assert set(few.articulation_points()) == set(plain.articulation_points())
    assert len(few.connected_components()) == len(plain.connected_components()) == view.components[0]
    assert few.ecount() <= min(2 * view.n_nodes, view.n_edges)
    assert few.is_simple()


@given(graphs)
def test_certificate_keeps_what_cuts(graph: MultipartiteGraph) -> None:
    assert_certifies(graph)


@pytest.mark.parametrize("seed", range(30))
def test_certificate_of_larger_graphs_near_the_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 60, size=4).tolist()
    assert_certifies(random_graph(sizes, float(rng.choice([0.01, 0.02, 0.04, 0.08])), seed))


@given(graphs)
def test_coreness(graph: MultipartiteGraph) -> None:
    plain = nx.Graph(graph.to_networkx())
    core_numbers = coreness(GraphView(graph))
    assert core_numbers.tolist() == [nx.core_number(plain)[node] for node in range(graph.n_nodes)]


@given(graphs)
def test_colour_separates_exactly_the_two_colourable(graph: MultipartiteGraph) -> None:
    view, plain = GraphView(graph), nx.Graph(graph.to_networkx())
    source, target, _ = graph.edges()
    for found in (view.connectivity, connectivity_by_certificate(*view.neighbours)):
        assert bool((found.colour[source] != found.colour[target]).all()) == nx.is_bipartite(plain)
        assert bool(found.odd.any()) != nx.is_bipartite(plain)


def test_parallel_edges_merge_and_zeros_stay() -> None:
    parts = [Part("a", (2,), 0, 0, "input"), Part("b", (2,), 1, 2, "output")]
    one = sparse.csr_array((np.float32([1.0, 0.0]), np.int32([0, 1]), np.int32([0, 2, 2])), shape=(2, 2))
    two = sparse.csr_array((np.float32([2.0, 0.0]), np.int32([0, 1]), np.int32([0, 1, 2])), shape=(2, 2))
    view = GraphView(MultipartiteGraph(parts, [Block(0, 1, one), Block(0, 1, two)]))
    assert view.n_edges == 3
    assert view.degree.tolist() == [2, 1, 1, 2]
    assert view.directed.nnz == 3 and view.directed[0, 2] == 3.0
    assert view.undirected.nnz == 6
    assert view.components[0] == 1
    assert one.data.tolist() == [1.0, 0.0]


def test_entries_repeated_within_a_block_are_one_edge() -> None:
    repeated = sparse.csr_array((np.float32([1.0, 2.0]), np.int32([1, 1]), np.int32([0, 2])), shape=(1, 2))
    parts = [Part("a", (1,), 0, 0, "input"), Part("b", (2,), 1, 1, "output")]
    view = GraphView(MultipartiteGraph(parts, [Block(0, 1, repeated)]))
    assert view.n_edges == 1 and view.directed[0, 2] == 3.0
