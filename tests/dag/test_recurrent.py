"""Recurrent layers, unrolled in time: they compute what torch's do, and join what the derivatives join."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils import _pytree as pytree

import topo
from tests.jacobians import Reference
from topo.encoding import MultipartiteGraph
from topo.errors import InputError
from topo.pruning.linearized_model import LinearizedOperations, linearize_parameters

TIME, FEATURES, HIDDEN = 3, 2, 3


class Sequence(nn.Module):
    """A recurrent layer between linear ones, of which the last reads the last time step or the last hidden state."""

    def __init__(self, layer: type[nn.RNNBase], of_state: bool = False, **settings):
        super().__init__()
        self.of_state = of_state
        self.embed = nn.Linear(FEATURES, 4)
        self.recurrent = layer(4, HIDDEN, batch_first=True, **settings)
        width = (settings.get("proj_size") or HIDDEN) * (2 if settings.get("bidirectional") else 1)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs, states = self.recurrent(self.embed(x))
        if self.of_state:
            return (self.head(states[-1]),)
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
    "two-layers": lambda: Sequence(nn.GRU, of_state=True, num_layers=2),
    "rnn": lambda: Sequence(nn.RNN, nonlinearity="relu", bidirectional=True),
    "projected": lambda: Sequence(nn.LSTM, num_layers=2, proj_size=2, bias=False),
    "both-ways": lambda: Sequence(nn.GRU, num_layers=2, bidirectional=True, bias=False, dropout=0.5),
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


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "cells"])
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


def test_parts_are_gates_and_states_at_every_time_step():
    _, dag = traced("lstm")
    graph = topo.encode(dag)
    names = [part.name for part in graph.parts if part.name.startswith("recurrent") and "[1]" in part.name]
    assert names == [f"recurrent.{what}_l0[1]" for what in ("gates", "cell", "hidden")]
    assert [part_of(graph, name) for name in names] == sorted(part_of(graph, name) for name in names)
    gates, cell, hidden = (part_of(graph, name) for name in names)
    before = part_of(graph, "recurrent.hidden_l0[0]")
    assert (graph.parts[gates].size, graph.parts[cell].size) == (4 * HIDDEN, HIDDEN)
    assert dense(graph, before, gates).astype(bool).all()
    # The cell reads three of the gates, what is hidden the fourth and the cell, element by element.
    eye, none = np.eye(HIDDEN), np.zeros((HIDDEN, HIDDEN))
    assert np.array_equal(dense(graph, gates, cell), np.vstack([eye, eye, eye, none]))
    assert np.array_equal(dense(graph, gates, hidden), np.vstack([none, none, none, eye]))
    assert np.array_equal(dense(graph, cell, hidden), eye)


def test_one_graph_a_weight_and_one_a_time_step():
    _, dag = traced("gru")
    rolled = topo.encode(dag, encoding="rolled")
    names = ["embed", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0", "head"]
    assert sorted(rolled) == sorted(names)
    unrolled = topo.encode(dag, encoding="unrolled")
    # The states begin with zeros, which nothing is computed from.
    counts = [sum(graph.partition("#")[0] == name for graph in unrolled) for name in names]
    assert counts == [1, TIME, TIME - 1, 1]


def test_weights_cost_what_every_time_step_multiplies():
    net, dag = traced("lstm")
    weights = {"embed": 8, "ih": 4 * HIDDEN * 4, "hh": 4 * HIDDEN * HIDDEN, "head": 2 * HIDDEN}
    macs = TIME * weights["embed"] + TIME * weights["ih"] + (TIME - 1) * weights["hh"] + weights["head"]
    assert topo.cost(dag) == {"parameters": sum(p.numel() for p in net.parameters()), "macs": macs}


def test_a_unit_is_a_row_of_every_gate_and_a_column_of_what_reads_it():
    net, dag = traced("lstm")
    channels = topo.dag.coupled_channels(topo.trace(Last(net), (TIME, FEATURES)))
    (rows, embedded), (again, columns) = (channels.axes[f"net.recurrent.weight_{kind}_l0"] for kind in ("ih", "hh"))
    assert torch.equal(rows, columns.repeat(4)) and torch.equal(rows, again)
    assert torch.equal(channels.axes["net.recurrent.bias_hh_l0"][0], rows)
    assert torch.equal(embedded, channels.axes["net.embed.weight"][0])
    assert torch.equal(channels.axes["net.head.weight"][1], columns) and channels.count == 4 + HIDDEN
    # States that the network returns stay, and so does what they are made of.
    assert topo.dag.coupled_channels(dag).count == 4


class Last(nn.Module):
    """What a network returns first."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return pytree.tree_leaves(self.net(x))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two-layers", "projected", "cells"])
def test_compaction_is_exact(name):
    torch.manual_seed(0)
    net = Last(NETS[name]()).double().eval()
    dag = topo.trace(net, (TIME, FEATURES))
    channels = topo.dag.coupled_channels(dag.single())
    alive = torch.rand(channels.count, generator=torch.Generator().manual_seed(1)) < 0.5
    group = channels.groups()
    alive |= group != torch.cat([torch.tensor([-1]), group[:-1]])  # one of each group stays in any case
    masks = channels.masks(alive, topo.masks.prunable_parameters(net))
    small = topo.compact(dag, masks, sequences(1))
    masked = topo.masks.Masks(masks).apply(copy.deepcopy(net))
    torch.testing.assert_close(small(sequences(4)), masked(sequences(4)), rtol=0, atol=1e-12)
    parameters = sum(p.numel() for p in small.parameters())
    assert parameters == channels.costs(alive)["parameters"] < sum(p.numel() for p in net.parameters())
    if name == "two-layers":
        again = topo.trace(small, (TIME, FEATURES))
        torch.testing.assert_close(again(sequences(4)), masked(sequences(4)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "forward, shapes, sentence",
    [
        (lambda net, x: net(x), (5, 1, 4), r"module 'net' \(GRU\): it goes through time along the first axis"),
        (lambda net, x: net(x), (5, 4), "goes through time along the first axis of its input, along which samples"),
        (lambda net, x: net(x.reshape(len(x), 1, 4)), (5, 4), "through time along the first axis"),
        (
            lambda net, x: pad_packed_sequence(net(pack_padded_sequence(x, torch.tensor([1, 1])))[0])[0],
            (2, 2, 4),
            r"module 'net' \(GRU\): it reads a packed sequence, .* leave pack_padded_sequence out",
        ),
    ],
)
def test_refusals(forward, shapes, sentence):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.GRU(4, HIDDEN)

        def forward(self, x):
            return forward(self.net, x)

    with pytest.raises(InputError, match=sentence):
        topo.trace(Net(), torch.zeros(shapes))


def test_a_layer_whose_time_comes_first_inside_the_model():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.start = nn.LSTM(FEATURES, HIDDEN), nn.Parameter(torch.randn(1, 1, HIDDEN))

        def forward(self, x, cell):
            start = self.start.expand(-1, x.shape[0], -1).contiguous()
            return self.recurrent(x.transpose(0, 1), (start, cell.transpose(0, 1)))[0][-1]

    net = Turned().double()
    dag = topo.trace(net, ((TIME, FEATURES), (1, HIDDEN)))
    x, cell = sequences(4), torch.randn(4, 1, HIDDEN, dtype=torch.float64)
    torch.testing.assert_close(dag(x, cell), net(x, cell), rtol=0, atol=1e-12)
    assert sum(part.role == "input" for part in topo.encode(dag).parts) == 2


def test_linearised_recurrent_networks_are_linear():
    torch.manual_seed(0)
    net = Last(NETS["both-ways"]()).eval()
    linearize_parameters(net)
    x, y = (torch.rand(2, TIME, FEATURES, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with LinearizedOperations():
        torch.testing.assert_close(net(2 * x + 3 * y), 2 * net(x) + 3 * net(y))
        net(x).sum().backward()
    assert all((p.grad > 0).all() for name, p in net.named_parameters() if "weight" in name and "l1_rev" not in name)


@pytest.mark.slow
def test_pruners_of_weights_and_of_units():
    torch.manual_seed(0)
    net = Last(Sequence(nn.GRU))
    x = torch.randn(24, TIME, FEATURES)
    data = (x, (x.sum((1, 2)) > 0).long())
    total = sum(p.numel() for p in topo.masks.prunable_parameters(net).values())
    for pruner in ("snip", "erk", "synflow", "phew", "wanda", "sparsegpt"):
        masks = topo.prune(net, pruner, sparsity=0.5, data=data, seed=0)
        assert abs(sum(int(mask.sum()) for mask in masks.values()) - total / 2) <= 4, pruner
        assert "net.recurrent.weight_hh_l0" in masks
    for pruner in ("l1-filter", "dag"):
        masks = topo.prune(net, pruner, sparsity=0.4, data=data, seed=0)
        small = topo.compact(net, masks, x[:1])
        masked = masks.install(copy.deepcopy(net)).eval()
        torch.testing.assert_close(small.eval()(x), masked(x), rtol=0, atol=1e-6)
    masks = topo.prune(net, "variational", sparsity=0.5, data=data, recipe=topo.training.Recipe(epochs=1))
    assert masks.sparsity >= 0.5 and "net.recurrent.weight_hh_l0" in masks


def test_a_compacted_network_refuses_sequences_of_other_lengths(tmp_path):
    net, x = Last(Sequence(nn.GRU)).double(), torch.randn(3, TIME, FEATURES, dtype=torch.float64)
    masks = topo.prune(net, "l1-filter", sparsity=0.4, example=x[:1], device="cpu")
    small = topo.compact(net, masks, x[:1])
    for other in (x[:, :-1], torch.cat([x, x], dim=1)):
        with pytest.raises(InputError, match=rf"unrolled here for inputs of shape \(N, {TIME}, {FEATURES}\)"):
            small(other)
    again = copy.deepcopy(small)
    assert torch.equal(again(x), small(x))
    assert torch.equal(torch.jit.trace(small, x[:1])(x), small(x))
    program = torch.export.export(small, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    assert torch.equal(program.module()(x[:2]), small(x[:2]))
    assert topo.trace(small, x[:1])(x).shape == small(x).shape
