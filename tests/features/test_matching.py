from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

import topo
from tests.features.graphs import layers, random_graph
from topo.encoding.graph import BipartiteGraph
from topo.features import measure


@given(layers)
def test_it_is_the_matching_of_networkx_and_the_rank_of_random_weights(graph: BipartiteGraph) -> None:
    plain = nx.Graph(graph.to_networkx())
    left = range(graph.parts[0].size)
    plain.add_nodes_from(range(graph.n_nodes))
    expected = len(nx.bipartite.hopcroft_karp_matching(plain, top_nodes=left)) // 2
    row = measure(graph, metrics="width")
    assert row["matching"] == expected
    assert row["matching_share"] == expected / min(graph.parts[0].size, graph.parts[1].size)
    source, target, _ = graph.edges()
    matrix = np.zeros((graph.parts[0].size, graph.parts[1].size))
    matrix[source, target - graph.parts[0].size] = np.random.default_rng(0).random(len(source)) + 0.5
    assert np.linalg.matrix_rank(matrix) == expected


def test_it_is_of_layers() -> None:
    row = measure(random_graph([3, 3, 3], 0.5, 0), metrics="matching")
    assert "of layers" in row.attrs["undefined"]["matching"]
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), widths=(6, 4))
    row = measure(topo.encode(net, example=(1, 8, 8), encoding="rolled"), metrics="width")
    assert row[["matching_min", "matching_max", "matching_share_min"]].tolist() == [4, 6, 1]
    assert row["matching_mean"] == pytest.approx((6 + 4 + 4) / 3)
