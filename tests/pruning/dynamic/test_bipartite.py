from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from topo.pruning.dynamic import bipartite
from topo.pruning.dynamic.bipartite import ch2_l3n, ch3_l3p, link_scores

MATRICES = hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)))


def by_enumeration(links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CH3-L3 and CH2-L3n from the definition on a graph: all paths of length three, communities, links in and out."""
    graph = nx.Graph()
    rows, columns = links.shape
    graph.add_nodes_from([("r", i) for i in range(rows)] + [("c", j) for j in range(columns)])
    graph.add_edges_from((("r", i), ("c", j)) for i, j in zip(*links.nonzero(), strict=True))
    by_path, by_node = np.zeros(links.shape), np.zeros(links.shape)
    for i, j in itertools.product(range(rows), range(columns)):
        u, v = ("r", i), ("c", j)
        if graph.has_edge(u, v):
            continue
        paths = [path[1:3] for path in nx.all_simple_paths(graph, u, v, cutoff=3) if len(path) == 4]
        community = {node for pair in paths for node in pair}

        def external(z, u=u, v=v, community=community):
            return sum(n not in community and n not in (u, v) for n in graph[z])

        def internal(z, community=community):
            return sum(n in community for n in graph[z])

        by_path[i, j] = sum(((1 + external(a)) * (1 + external(b))) ** -0.5 for a, b in paths)
        by_node[i, j] = sum((1 + internal(z)) / (1 + external(z)) for z in community)
    return by_path, by_node


@settings(max_examples=60)
@given(MATRICES)
def test_both_scores_equal_enumeration(links):
    by_path, by_node = by_enumeration(links)
    matrix = torch.from_numpy(links).double()
    np.testing.assert_allclose(ch3_l3p(matrix).numpy(), by_path, atol=1e-12)
    np.testing.assert_allclose(ch2_l3n(matrix).numpy(), by_node, atol=1e-12)


@given(MATRICES, st.randoms())
def test_names_of_nodes_and_sides_do_not_matter(links, random):
    matrix = torch.from_numpy(links).double()
    rows, columns = (random.sample(range(n), n) for n in links.shape)
    for score in (ch3_l3p, ch2_l3n):
        torch.testing.assert_close(score(matrix.T), score(matrix).T)
        torch.testing.assert_close(score(matrix[rows][:, columns]), score(matrix)[rows][:, columns])


def test_chunks_do_not_change_the_scores(monkeypatch):
    matrix = (torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) < 0.2).double()
    at_once = ch3_l3p(matrix)
    monkeypatch.setattr(bipartite, "CHUNK", 100)
    torch.testing.assert_close(ch3_l3p(matrix), at_once)


def test_a_convolution_is_outputs_against_positions_and_groups_stand_alone():
    mask = torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(1)) < 0.4
    scores = link_scores(mask, ch3_l3p)
    assert scores.shape == mask.shape and not torch.any(scores[mask])
    torch.testing.assert_close(scores.flatten(1), ch3_l3p(mask.flatten(1).float()))
    halves = link_scores(mask, ch3_l3p, groups=2)
    torch.testing.assert_close(halves[:3].flatten(1), ch3_l3p(mask[:3].flatten(1).float()))
    assert not torch.any(link_scores(mask, ch3_l3p, groups=6))  # one output: no path of length three


def test_empty_and_full_layers_have_no_scores():
    for matrix in (torch.zeros(4, 5), torch.ones(4, 5)):
        assert not torch.any(ch3_l3p(matrix)) and not torch.any(ch2_l3n(matrix))
