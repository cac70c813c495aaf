"""Graphs as arrays: numbering, conversions, files, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import topo
from tests.zoo import small
from topo.encoding import BipartiteGraph, Block, LayerGraphs, MultipartiteGraph, Part
from topo.errors import InputError


@pytest.fixture(scope="module")
def graph() -> MultipartiteGraph:
    model, _ = small("u-net")
    return topo.encode(model, example=(2, 6, 6))


@pytest.mark.slow
def test_conversions_agree(graph: MultipartiteGraph) -> None:
    source, target, weight = graph.edges()
    adjacency = graph.adjacency()
    assert adjacency.shape == (graph.n_nodes, graph.n_nodes) and adjacency.nnz == graph.n_edges == len(source)
    assert np.array_equal(adjacency[source, target], weight)
    ig = graph.to_igraph()
    assert ig.is_directed() and ig.vcount() == graph.n_nodes
    assert np.array_equal(np.array(ig.get_edgelist()), np.stack([source, target], 1))
    assert [graph.parts[p].name for p in ig.vs["part"]].count("input") == 72
    nx = graph.to_networkx()
    assert nx.number_of_edges() == graph.n_edges
    assert sum(w for _, _, w in nx.edges(data="weight")) == pytest.approx(weight.sum(dtype=float))


def test_roles(graph: MultipartiteGraph) -> None:
    assert graph.nodes_with_role("input").sum() == 72
    assert np.flatnonzero(graph.nodes_with_role("output")).tolist() == list(range(graph.n_nodes - 36, graph.n_nodes))


def test_round_trip(graph: MultipartiteGraph, tmp_path) -> None:
    loaded = MultipartiteGraph.load(graph.save(tmp_path / "graph.safetensors"))
    assert loaded.parts == graph.parts and loaded.attributes == graph.attributes
    for a, b in zip(graph.blocks, loaded.blocks, strict=True):
        assert (a.source, a.target, a.name) == (b.source, b.target, b.name)
        assert b.matrix.indices.dtype == np.int32 and b.matrix.data.dtype == np.float32
        assert (a.matrix != b.matrix).nnz == 0


def test_damaged_files(graph: MultipartiteGraph, tmp_path) -> None:
    path = graph.save(tmp_path / "graph.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        MultipartiteGraph.load(path)
    with pytest.raises(InputError, match="does not exist"):
        MultipartiteGraph.load(tmp_path / "none")
    with pytest.raises(InputError, match="cannot write"):
        graph.save(path / "below-a-file.safetensors")
    masks = topo.Masks.dense(small("u-net")[0])
    masks.save(tmp_path / "masks.safetensors")
    with pytest.raises(InputError, match="holds no graph"):
        MultipartiteGraph.load(tmp_path / "masks.safetensors")


def test_impossible_graphs() -> None:
    parts = [Part("a", (2,), 0, 0, "input"), Part("b", (3,), 1, 2, "output")]
    with pytest.raises(InputError, match=r"shape \(2, 2\); its parts have 2 and 3 nodes"):
        MultipartiteGraph(parts, [Block(0, 1, sparse.csr_array((2, 2)))])
    with pytest.raises(InputError, match="does not rise in level"):
        MultipartiteGraph(parts, [Block(1, 0, sparse.csr_array((3, 2)))])
    with pytest.raises(InputError, match="part 'b' starts at node 2; expected 1"):
        MultipartiteGraph([Part("a", (1,), 0, 0), parts[1]], [])


def test_layers_count_their_nodes_and_edges_together() -> None:
    layers = [BipartiteGraph(sparse.csr_array(m.astype(np.float32))) for m in (np.eye(2, 3), np.ones((3, 4)))]
    graphs = LayerGraphs(dict(zip("ab", layers, strict=True)))
    assert (graphs.n_nodes, graphs.n_edges) == (2 + 3 + 3 + 4, 2 + 12)
    assert (LayerGraphs({}).n_nodes, LayerGraphs({}).n_edges) == (0, 0)
