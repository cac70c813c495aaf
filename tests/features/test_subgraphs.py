"""Motifs and the subgraph counts behind them, against trying every set of nodes."""

from __future__ import annotations

from itertools import combinations
from math import comb

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.features.graphs import graphs, random_graph, random_layer
from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.features import GraphView, measure, subgraphs
from topo.features.kernels import compiler


def simple(graph: MultipartiteGraph) -> nx.Graph:
    return nx.Graph(graph.to_networkx())


def complete_multipartite(sizes: list[int]) -> MultipartiteGraph:
    offsets = np.cumsum([0, *sizes])
    parts = [Part(f"p{i}", (size,), i, int(offsets[i])) for i, size in enumerate(sizes)]
    blocks = [
        Block(i, j, sparse.csr_array(np.ones((sizes[i], sizes[j]), np.float32)))
        for i, j in combinations(range(len(sizes)), 2)
    ]
    return MultipartiteGraph(parts, blocks)


def count_all(graph: nx.Graph) -> dict[str, int]:
    """Non-induced counts from the induced type of every set of four nodes."""
    totals = {"motifs": 0, "four_cycles": 0, "paws": 0, "diamonds": 0, "cliques": 0}
    # Spanning 4-cycles, paws, diamonds and cliques in a graph on four nodes with these sorted degrees.
    spanning = {
        (1, 1, 1, 3): (0, 0, 0, 0),
        (1, 1, 2, 2): (0, 0, 0, 0),
        (2, 2, 2, 2): (1, 0, 0, 0),
        (1, 2, 2, 3): (0, 1, 0, 0),
        (2, 2, 3, 3): (1, 4, 1, 0),
        (3, 3, 3, 3): (3, 12, 6, 1),
    }
    for nodes in combinations(graph, 4):
        part = graph.subgraph(nodes)
        if nx.is_connected(part):
            totals["motifs"] += 1
            counts = spanning[tuple(sorted(d for _, d in part.degree()))]
            for name, count in zip(list(totals)[1:], counts, strict=True):
                totals[name] += count
    return totals


@given(graphs)
def test_every_count_on_random_graphs(graph: MultipartiteGraph) -> None:
    view, plain = GraphView(graph), simple(graph)
    expected = count_all(plain)
    triangles, paws, diamonds, cliques = subgraphs.triangle_family(view)
    assert triangles == sum(nx.triangles(plain).values()) // 3
    assert (paws, diamonds, cliques) == (expected["paws"], expected["diamonds"], expected["cliques"])
    assert subgraphs.four_cycles(view) == expected["four_cycles"]
    assert measure(graph, metrics="motifs")["motifs"] == expected["motifs"]


def test_triangles_are_the_same_however_few_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph([9] * 4, 0.6, 2)
    expected = subgraphs.triangle_family(GraphView(graph))
    monkeypatch.setattr(subgraphs, "WEDGES_AT_ONCE", 1)
    assert subgraphs.triangle_family(GraphView(graph)) == expected


def test_random_graphs_hold_triangles_and_cliques() -> None:
    family = np.array([subgraphs.triangle_family(GraphView(random_graph([6] * 5, 0.5, seed))) for seed in range(5)])
    assert (family.sum(axis=0) > 0).all()


@pytest.mark.parametrize("sizes", [[3, 4], [2, 3, 4], [2, 2, 3, 2], [1, 1, 1, 1, 2]])
def test_complete_multipartite_graphs(sizes: list[int]) -> None:
    graph = complete_multipartite(sizes)
    # Four nodes of a complete multipartite graph are connected unless they lie in one part.
    expected = comb(sum(sizes), 4) - sum(comb(size, 4) for size in sizes)
    assert measure(graph, metrics="motifs")["motifs"] == expected


def test_bounded_memory_gives_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph([30, 40, 30, 20], 0.3, 5)
    at_once = subgraphs.four_cycles(GraphView(graph)), subgraphs.triangle_family(GraphView(graph))
    monkeypatch.setattr(compiler, "available", lambda: False)
    monkeypatch.setattr(subgraphs, "WEDGES_AT_ONCE", 50)
    assert (subgraphs.four_cycles(GraphView(graph)), subgraphs.triangle_family(GraphView(graph))) == at_once


def test_complete_layer_by_formula() -> None:
    layer = BipartiteGraph(sparse.csr_array(np.ones((40, 50), np.float32)))
    assert subgraphs.four_cycles(GraphView(layer)) == comb(40, 2) * comb(50, 2)


def test_counts_beyond_32_bits() -> None:
    star = BipartiteGraph(sparse.csr_array(np.ones((1, 30_000), np.float32)))
    assert measure(star, metrics="motifs")["motifs"] == comb(30_000, 3)


@given(graphs)
def test_two_hop_is_the_size_of_the_ball(graph: MultipartiteGraph) -> None:
    directed = nx.DiGraph(graph.to_networkx())
    sizes = [len(nx.single_source_shortest_path_length(directed, node, cutoff=2)) for node in directed]
    assert measure(graph, metrics="two_hop")["two_hop"] == pytest.approx(np.mean(sizes))


def test_two_hop_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from topo.features import neighbourhood

    layer = random_graph([30, 40, 30, 20], 0.3, 5)
    at_once = measure(layer, metrics="two_hop")
    monkeypatch.setattr(compiler, "available", lambda: False)
    monkeypatch.setattr(neighbourhood, "WEDGES_AT_ONCE", 50)
    assert measure(layer, metrics="two_hop").equals(at_once)
    assert measure(random_layer(9, 9, 0.5, 0), metrics="two_hop")["two_hop"] == pytest.approx(
        measure(random_layer(9, 9, 0.5, 0), metrics="one_hop")["one_hop"]
    )
