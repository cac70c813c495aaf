"""Recurrent layers, unrolled in time: they compute what torch's do, and join what the derivatives join."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from tests.jacobians import Reference
from topo.encoding import MultipartiteGraph

TIME, FEATURES, HIDDEN = 3, 2, 3


class Sequence(nn.Module):
    """A recurrent layer between linear ones, of which the last reads the last time step and the last states."""

    def __init__(self, layer: type[nn.RNNBase], **settings):
        super().__init__()
        self.embed = nn.Linear(FEATURES, 4)
        self.recurrent = layer(4, HIDDEN, batch_first=True, **settings)
        width = (settings.get("proj_size") or HIDDEN) * (2 if settings.get("bidirectional") else 1)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs, states = self.recurrent(self.embed(x))
        return self.head(outputs[:, -1]), *(states if isinstance(states, tuple) else (states,))


class Cells(nn.Module):
    """The three cells, side by side, in a loop."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList(
            [nn.LSTMCell(FEATURES, HIDDEN), nn.GRUCell(FEATURES, HIDDEN, bias=False), nn.RNNCell(FEATURES, HIDDEN)]
        )
        self.head = nn.Linear(3 * HIDDEN, 2)

    def forward(self, x: Tensor) -> Tensor:
        states = [None] * 3
        for moment in x.unbind(1):
            states = [cell(moment, state) for cell, state in zip(self.cells, states, strict=True)]
        return self.head(torch.cat([states[0][0], *states[1:]], -1))


NETS = {
    "lstm": lambda: Sequence(nn.LSTM),
    "gru": lambda: Sequence(nn.GRU),
    "rnn": lambda: Sequence(nn.RNN, nonlinearity="relu", bidirectional=True),
    "projected": lambda: Sequence(nn.LSTM, num_layers=2, proj_size=2),
    "both-ways": lambda: Sequence(nn.LSTM, num_layers=2, bidirectional=True, bias=False),
    "both-ways-gru": lambda: Sequence(nn.GRU, num_layers=2, bidirectional=True, bias=False, dropout=0.5),
    "cells": Cells,
}


@cache
def traced(name: str) -> tuple[nn.Module, topo.dag.Dag]:
    torch.manual_seed(0)
    net = NETS[name]().double().eval()
    return net, topo.trace(net, (TIME, FEATURES))


def sequences(count: int) -> Tensor:
    return torch.randn(count, TIME, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


def masks_of(net: nn.Module, density: float = 0.6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(parameter.shape, generator=generator) < density
        for name, parameter in topo.masks.prunable_parameters(net).items()
    }


@pytest.mark.parametrize("name", NETS)
def test_the_network_equals_the_model_for_any_number_of_samples(name):
    net, dag = traced(name)
    assert dag.symbols
    for count in (1, 4):
        x = sequences(count)
        for mine, own in zip(pytree.tree_leaves(dag(x)), pytree.tree_leaves(net(x)), strict=True):
            torch.testing.assert_close(mine, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_edges_are_the_nonzero_derivatives(name):
    net, dag = traced(name)
    masks = masks_of(net)
    graph = topo.encode(dag, masks)
    reference = Reference(dag, masks, graph)
    for target, result in reference.results.items():
        for source, jacobian in reference.rows(target, list(range(len(result)))).items():
            assert np.array_equal(dense(graph, source, target) != 0, jacobian.numpy().T != 0)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "projected", "cells"])
def test_paths_are_the_nonzero_derivatives_of_the_masked_model(name):
    net, dag = traced(name)
    masks = masks_of(net)
    graph = topo.encode(dag, masks)
    masked = topo.masks.Masks(masks).apply(copy.deepcopy(net))
    (jacobian,) = [
        torch.autograd.functional.jacobian(lambda x: pytree.tree_leaves(masked(x))[0], sequences(1)).flatten(0, 1)
    ]
    reached = reachable(graph, len(graph.parts) - 1 if name == "cells" else part_of(graph, "head"))
    assert np.array_equal(reached, jacobian.reshape(2, -1).numpy().T != 0)


def dense(graph: MultipartiteGraph, source: int, target: int) -> np.ndarray:
    shape = (graph.parts[source].size, graph.parts[target].size)
    return sum((b.matrix.toarray() for b in graph.blocks if (b.source, b.target) == (source, target)), np.zeros(shape))


def part_of(graph: MultipartiteGraph, name: str) -> int:
    return next(number for number, part in enumerate(graph.parts) if part.name == name)


def reachable(graph: MultipartiteGraph, target: int) -> np.ndarray:
    """Which inputs reach which elements of a part: (inputs, elements)."""
    starts = np.cumsum([0, *(part.size for part in graph.parts)])
    total = sparse.lil_array((starts[-1], starts[-1]))
    for b in graph.blocks:
        total[starts[b.source] : starts[b.source + 1], starts[b.target] : starts[b.target + 1]] += b.matrix
    total, reached = (total != 0).astype(float).tocsr(), np.eye(starts[1], starts[-1])
    for _ in graph.parts:
        reached = ((reached @ total + np.eye(starts[1], starts[-1])) > 0).astype(float)
    return reached[:, starts[target] : starts[target + 1]] > 0
