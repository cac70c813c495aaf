"""The path kernel against derivatives of every path, path norms against every path."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

import topo
from tests.features.graphs import graphs
from tests.features.test_path_metrics import chain
from topo.encoding.graph import Block, MultipartiteGraph
from topo.features import measure

COLUMNS = ["log10_path_kernel_trace", "log10_path_norm", "log10_squared_path_norm"]


def paths_of(graph: MultipartiteGraph) -> list[list[tuple[int, int]]]:
    """The edges of every path as (number of the block, number of the edge in it); parallel edges are different."""
    network = nx.MultiDiGraph()
    network.add_nodes_from(range(graph.n_nodes))
    for b, block in enumerate(graph.blocks):
        ends = block.matrix.tocoo()
        source, target = graph.parts[block.source].offset, graph.parts[block.target].offset
        for e, (row, column) in enumerate(zip(ends.row.tolist(), ends.col.tolist(), strict=True)):
            network.add_edge(row + source, column + target, key=(b, e))
    outputs = np.flatnonzero(graph.nodes_with_role("output")).tolist()
    return [
        [key for _, _, key in path]
        for start in np.flatnonzero(graph.nodes_with_role("input")).tolist()
        for path in nx.all_simple_edge_paths(network, start, outputs)
    ]


@given(graphs)
def test_against_every_path_and_autograd(graph: MultipartiteGraph) -> None:
    weights = [torch.from_numpy(b.matrix.tocoo().data.astype(np.float64)).requires_grad_() for b in graph.blocks]
    paths = paths_of(graph)[:400]
    if len(paths) == 400:
        return  # too many to go through
    carried = [torch.stack([weights[b][e] for b, e in path]).prod() for path in paths]
    trace = 0.0
    for value in carried:
        rows = torch.autograd.grad(value, weights, allow_unused=True, retain_graph=True)
        trace += sum(float((row**2).sum()) for row in rows if row is not None)
    norms = [sum(float(v.detach().abs() ** p) for v in carried) for p in (1, 2)]
    row = measure(graph, metrics="path-kernel")
    for column, expected in zip(COLUMNS, [trace, *norms], strict=True):
        if expected == 0:
            assert "no path" in row.attrs["undefined"][column]
        else:
            assert row[column] == pytest.approx(math.log10(expected), abs=1e-9)


def test_trace_of_a_convolutional_network_is_that_of_its_weights() -> None:
    """Weights are shared by positions; skips have none: derivatives of what each path carries by the parameters."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(1, 2, 2, bias=False), nn.Conv1d(2, 1, 1, bias=False)
            self.third, self.last = nn.Conv1d(1, 2, 1, bias=False), nn.Linear(4, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.last((x + self.third(self.second(x))).flatten(1))

    torch.manual_seed(0)
    net = Net().double()
    first, second, third = net.first.weight, net.second.weight, net.third.weight
    last = net.last.weight.view(2, 2)
    trace = 0.0
    parameters = list(net.parameters())
    for a in range(2):
        for b in range(2):
            for position in range(2):
                for k in range(2):
                    through = [first[a, 0, k] * second[0, a, 0] * third[b, 0, 0] * last[b, position]]
                    through += [first[a, 0, k] * last[a, position]] if b == a else []
                    for path in through:
                        rows = torch.autograd.grad(path, parameters, allow_unused=True, retain_graph=True)
                        trace += sum(float((row**2).sum()) for row in rows if row is not None)
    graph = topo.encode(net, example=torch.zeros(1, 1, 3, dtype=torch.float64))
    found = measure(graph, metrics="path_kernel")["log10_path_kernel_trace"]
    assert found == pytest.approx(math.log10(trace), abs=1e-6)


@pytest.mark.parametrize("weight", [1.0, 1e-4, 1e3])
def test_deep_networks_neither_overflow_nor_vanish(weight: float) -> None:
    plain = chain(300, 9)
    blocks = [Block(b.source, b.target, (b.matrix * np.float32(weight)).tocsr(), "layer") for b in plain.blocks]
    row = measure(MultipartiteGraph(list(plain.parts), blocks), metrics="path_kernel")
    paths, each = 301 * math.log10(9), 2 * math.log10(np.float32(weight))
    assert row["log10_path_norm"] == pytest.approx(paths + 150 * each)
    assert row["log10_squared_path_norm"] == pytest.approx(paths + 300 * each)
    assert row["log10_path_kernel_trace"] == pytest.approx(paths + 299 * each + math.log10(300))
