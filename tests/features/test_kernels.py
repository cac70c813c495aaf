"""Compiled kernels against igraph, and against the route that is taken without a compiler."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import igraph
import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import sparse
from torch import nn

import topo
from tests.features.graphs import graphs, layers, random_graph, random_layer
from tests.fresh import run_fresh
from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part
from topo.features import GraphView, measure, preparation
from topo.features.kernels import compiler
from topo.features.kernels.coreness import core_numbers
from topo.features.kernels.four_cycles import four_cycles_closed
from topo.features.kernels.low_points import low_points
from topo.features.kernels.two_hop import nodes_within_two_steps
from topo.features.positions import position_classes


def reference(graph: MultipartiteGraph) -> igraph.Graph:
    return graph.to_igraph().as_undirected(mode="each").simplify()


def edgeless(sizes: list[int]) -> MultipartiteGraph:
    return random_graph(sizes, 0.0, 0)


def backwards() -> MultipartiteGraph:
    """Node numbers fall along the edges: levels need not rise with the parts."""
    rng = np.random.default_rng(0)
    parts = [Part("out", (5,), 2, 0, "output"), Part("in", (6,), 0, 5, "input"), Part("mid", (4,), 1, 11)]
    shapes = {(1, 2): (6, 4), (2, 0): (4, 5), (1, 0): (6, 5)}
    blocks = [Block(*ends, sparse.csr_array((rng.random(s) < 0.5).astype(np.float32))) for ends, s in shapes.items()]
    return MultipartiteGraph(parts, blocks)


def assert_equals_igraph(graph: MultipartiteGraph) -> None:
    view, plain = GraphView(graph), reference(graph)
    indptr, indices = view.neighbours
    assert [indices[indptr[n] : indptr[n + 1]].tolist() for n in range(graph.n_nodes)] == plain.get_adjlist()
    assert (view.undirected.toarray() == (view.directed + view.directed.T).toarray()).all()
    n_components, component, colour, odd, cut_edges, cut_nodes = low_points(indptr, indices)
    assert component.tolist() == plain.connected_components().membership
    assert (cut_edges, cut_nodes) == (len(plain.bridges()), len(plain.articulation_points()))
    pieces = [plain.induced_subgraph(np.flatnonzero(component == c).tolist()) for c in range(n_components)]
    assert odd.tolist() == [not piece.is_bipartite() for piece in pieces]
    assert all(odd[component[a]] or colour[a] != colour[b] for a, b in plain.get_edgelist())
    assert core_numbers(indptr, indices).tolist() == plain.coreness()


@given(graphs)
def test_random_graphs(graph: MultipartiteGraph) -> None:
    assert_equals_igraph(graph)


@given(layers)
def test_random_layers(graph: BipartiteGraph) -> None:
    assert_equals_igraph(graph)


@pytest.mark.parametrize("graph", [edgeless([1, 1]), edgeless([3, 4, 2]), backwards()], ids=["two", "empty", "falling"])
def test_odd_graphs(graph: MultipartiteGraph) -> None:
    assert_equals_igraph(graph)
    assert_same_without_compiler(graph)


@pytest.mark.parametrize("seed", range(8))
def test_larger_graphs_near_the_threshold(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(10, 60, size=4).tolist()
    assert_equals_igraph(random_graph(sizes, [0.01, 0.02, 0.04, 0.08][seed % 4], seed))


def assert_same_without_compiler(graph: MultipartiteGraph) -> None:
    compiled = measure(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "available", lambda: False)
        plain = measure(graph)
    np.testing.assert_allclose(compiled.to_numpy(), plain.to_numpy(), rtol=1e-12, atol=1e-12)
    assert compiled.attrs == plain.attrs


@given(graphs)
def test_the_route_without_a_compiler_has_the_same_values(graph: MultipartiteGraph) -> None:
    assert_same_without_compiler(graph)


class Branches(nn.Module):
    """Strides, dilation, groups, odd sizes, a skip, a concatenation and a pooling in one small network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.strided = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.mixed = nn.Conv2d(8, 6, (1, 3), padding=(0, 1))
        self.head = nn.Linear(6 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.strided(torch.relu(self.first(x))))
        x = torch.cat([x, x + torch.relu(self.dilated(x))], dim=1)
        x = nn.functional.max_pool2d(torch.relu(self.mixed(x)), 2)
        return self.head(x.flatten(1))


def networks() -> Iterator[tuple[str, MultipartiteGraph]]:
    model, example = Branches(), torch.zeros(1, 2, 13, 12)
    dag = topo.trace(model, example)
    for sparsity in (0.3, 0.8):
        masks = topo.prune(model, "uniform", sparsity=sparsity, seed=0)
        for encoding in ("multipartite", "unrolled"):
            graph = topo.encode(dag, masks, encoding=encoding)
            pieces = {"whole": graph} if isinstance(graph, MultipartiteGraph) else graph
            for name, piece in pieces.items():
                yield f"{encoding} {name} {sparsity}", piece


def counts(graph: MultipartiteGraph, merged: bool) -> tuple[int, int, int]:
    """Sums for two-hop, 4-cycles, and the classes that they took: of positions, or (not `merged`) of single nodes."""
    view = GraphView(graph)
    single = np.arange(view.n_nodes), np.ones(view.n_nodes, np.int64)
    levels = -np.array([part.level for part in view.parts], np.int64)
    forward, joined = (view.directed.indptr, view.directed.indices), view.joined_parts
    classes = position_classes(view, *forward, levels, joined) if merged else single
    two_hop = nodes_within_two_steps(*forward, *classes)
    rank = np.random.default_rng(0).permutation(len(view.parts))
    closing = position_classes(view, *view.neighbours, rank, joined | joined.T) if merged else single
    closed = four_cycles_closed(*view.neighbours, view.part_of, view.part_stops, rank, *closing)
    return two_hop, closed, len(classes[0]) + len(closing[0])


@pytest.mark.slow
def test_positions_stand_for_each_other_in_convolutions() -> None:
    fewer = []
    for name, graph in networks():
        *of_classes, n_classes = counts(graph, merged=True)
        *of_nodes, n_nodes = counts(graph, merged=False)
        assert of_classes == of_nodes, name
        fewer.append(n_classes / n_nodes)
    assert min(fewer) < 0.4


@given(graphs)
def test_classes_of_random_graphs_change_no_count(graph: MultipartiteGraph) -> None:
    assert counts(graph, merged=True)[:2] == counts(graph, merged=False)[:2]


def test_classes_keep_apart_what_differs_in_one_edge() -> None:
    band = sparse.csr_array(
        sparse.diags_array([np.ones(40), np.ones(40)], offsets=[0, 1], shape=(40, 40), dtype=np.float32)
    )
    broken = band.toarray()
    broken[20, 35] = 1.0
    for matrix in (band, sparse.csr_array(broken)):
        graph = BipartiteGraph(matrix, left_shape=(1, 40), right_shape=(1, 40))
        assert counts(graph, merged=True)[:2] == counts(graph, merged=False)[:2]
    assert counts(BipartiteGraph(band, left_shape=(1, 40), right_shape=(1, 40)), merged=True)[2] < 20


def test_without_numba_this_is_said_once_and_values_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph([6, 8, 5], 0.4, 1)
    expected = measure(graph)
    monkeypatch.setitem(sys.modules, "numba", None)
    compiler.available.cache_clear()
    try:
        with pytest.warns(UserWarning, match="numba does not load") as said:
            first = measure(graph)
            measure(graph)
        assert len(said) == 1
        np.testing.assert_allclose(first.to_numpy(), expected.to_numpy(), rtol=1e-12)
    finally:
        compiler.available.cache_clear()


def test_a_folder_that_can_not_be_written_only_costs_the_copy_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def without_disk(**options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", without_disk)
    assert compiler.njit(lambda x: x + 1)(1) == 2


def test_numba_is_loaded_when_a_kernel_is_needed_and_not_before(tmp_path: Path) -> None:
    code = "import sys, topo, topo.features, topo.cli, topo.features.measurement; assert 'numba' not in sys.modules"
    done = run_fresh(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_compiler_that_fails_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    def broken(**options: bool) -> object:
        def raising(*arguments: object) -> object:
            raise RuntimeError("LLVM has no such target")

        return lambda function: raising

    graph = random_graph([6, 8, 5], 0.4, 1)
    expected = measure(graph)
    monkeypatch.setattr(numba, "njit", broken)
    compiler.available.cache_clear()
    try:
        with pytest.warns(UserWarning, match="numba cannot compile .LLVM has no such target") as said:
            preparation.prepare_kernels.__wrapped__()
            first = measure(graph)
        assert len(said) == 1
        np.testing.assert_allclose(first.to_numpy(), expected.to_numpy(), rtol=1e-12)
    finally:
        compiler.available.cache_clear()


def test_kernels_do_not_run_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    compiler.available.cache_clear()
    try:
        with pytest.warns(UserWarning, match="numba does not compile .NUMBA_DISABLE_JIT is set"):
            assert not compiler.available()
    finally:
        compiler.available.cache_clear()


def test_compiling_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import numba

    def compiling(*_: object, **__: object) -> None:
        numba.njit(lambda x: x + 1)(1)
        numba.njit(lambda x: x + 2)(1)

    monkeypatch.setattr(preparation, "measure", compiling)
    with caplog.at_level("INFO", logger="topo"):
        preparation.prepare_kernels.__wrapped__()
        assert caplog.text.count("once on this machine") == 1
        caplog.clear()
        monkeypatch.undo()
        preparation.prepare_kernels()
        preparation.prepare_kernels.__wrapped__()
    assert caplog.text == ""


def test_once_prepared_nothing_waits_for_the_compiler() -> None:
    """Whatever kernels there are: neither a graph, small or large, nor the graphs of layers compile one."""
    preparation.prepare_kernels()
    with compiler.compilation_announced(lambda: pytest.fail("compiles")):
        measure(random_graph([20, 30, 20], 0.2, 0))
        measure(random_graph([150, 200, 120], 0.1, 0))
        measure(random_layer(150, 130, 0.1, 0))
        measure(next(networks())[1])
