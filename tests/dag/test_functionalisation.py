"""Graphs freed of in-place operations compute what the model computes, or are left to torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import topo
from tests.zoo import NAMED, SMALL, small
from topo.dag import export, kept_traces
from topo.dag.functionalisation import functionalised


class Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def graph_of(model: nn.Module, *inputs: Tensor) -> torch.fx.Graph:
    with torch.no_grad():
        return torch.export.export(model.eval(), inputs, strict=False).graph


def mutations(graph: torch.fx.Graph) -> list[str]:
    schemas = [(n.target, n.target._schema) for n in graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    return [str(target) for target, schema in schemas if schema.is_mutable]


def same_without(model: nn.Module, inputs: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The Dag and the graph of a model are those that the decompositions of torch lead to."""
    fast = topo.trace(model, inputs)
    with monkeypatch.context() as patch:
        patch.setattr(export, "functionalised", lambda graph: False)
        patch.setattr(kept_traces, "_kept", OrderedDict())  # else it would be the trace of before
        slow = topo.trace(model, inputs)
    assert slow.nodes is not fast.nodes
    # With gradients, as without them attention takes a kernel that rounds otherwise; recurrent layers have no other.
    fused = any(isinstance(module, nn.RNNBase) for module in model.modules())
    expected = slow(*inputs) if fused else model.eval()(*inputs)
    for dag in (fast, slow):
        results = dag(*inputs)
        pairs = zip(results, expected, strict=True) if isinstance(expected, tuple) else [(results, expected)]
        assert all(torch.equal(a, b) for a, b in pairs)
    ours, theirs = topo.encode(fast), topo.encode(slow)
    assert [part.size for part in ours.parts] == [part.size for part in theirs.parts]
    for a, b in zip(ours.blocks, theirs.blocks, strict=True):
        assert (a.source, a.target) == (b.source, b.target)
        assert np.array_equal(a.matrix.indices, b.matrix.indices)
        assert np.array_equal(a.matrix.data, b.matrix.data)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = small(name)
    same_without(model, inputs, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "shufflenet_v2"])
def test_published_networks_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = NAMED[name]()
    assert functionalised(graph_of(model, torch.zeros(2, 3, 32, 32)))
    same_without(model, (torch.randn(2, 3, 32, 32),), monkeypatch)


WEIGHT = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))

REPLACED: dict[str, Callable[[Tensor], Tensor]] = {
    "activation": lambda x: F.relu(F.linear(x, WEIGHT), inplace=True),
    "read before": lambda x: (lambda y: torch.sigmoid(y) * y.relu_())(F.linear(x, WEIGHT)),
    "read after under the old name": lambda x: (lambda y: (y.relu_(), y * 2)[1])(F.linear(x, WEIGHT)),
    "twice": lambda x: (lambda y: (y.add_(1), y.mul_(x), y * y)[2])(F.linear(x, WEIGHT)),
    "of a sum": lambda x: (x + 1).relu_() + x,
}
LEFT: dict[str, Callable[[Tensor], Tensor]] = {
    "the input": lambda x: x.relu_() + 1,
    "a view": lambda x: (lambda y: (y.flatten()[:2].zero_(), y)[1])(F.linear(x, WEIGHT)),
    "under a view": lambda x: (lambda y: (lambda v: (y.relu_(), v)[1])(y.view(-1)))(F.linear(x, WEIGHT)),
    "under a dropout that does nothing": lambda x: (lambda y: (F.dropout(y, training=False).relu_(), y)[1])(
        F.linear(x, WEIGHT)
    ),
    "a power, whose overloads differ": lambda x: F.linear(x, WEIGHT).pow_(2),
    "a comparison, which keeps its type in place": lambda x: F.linear(x, WEIGHT).gt_(0) * x,
    "of integers": lambda x: (x > 0).to(torch.int32).cumsum_(1),
    "under a view that is not said to be one": lambda x: (
        lambda y: (lambda v: (y.relu_(), v * 1)[1])(torch.ops.aten._unsafe_view(y, [-1]))
    )(F.linear(x, WEIGHT)),
    "of another type": lambda x: F.linear(x, WEIGHT).half().add_(x),
}


@pytest.mark.parametrize("name", REPLACED)
def test_in_place_operations_on_memory_of_their_own_are_replaced(name: str) -> None:
    graph = graph_of(Function(REPLACED[name]), torch.randn(3, 4))
    assert mutations(graph)
    assert functionalised(graph)
    assert not mutations(graph)


COMPOSITE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "unflatten": lambda x, y: F.linear(x, WEIGHT).unflatten(-1, (2, -1)).transpose(1, 2).flatten(1),
    "unflatten of the number of samples": lambda x, y: x.relu().unflatten(0, (-1, 1)).squeeze(1) + y,
    "view_as": lambda x, y: F.linear(x, WEIGHT).view_as(y),
    "atleast_2d": lambda x, y: torch.atleast_2d(x) * 2 + y,
    "expand_as": lambda x, y: x.mean(1, keepdim=True).expand_as(y) + y,
    "zeros": lambda x, y: torch.cat([x.relu(), torch.zeros(x.shape[0], 2), torch.arange(4.0) + y], 1),
}


@pytest.mark.parametrize("name", COMPOSITE)
def test_composite_operations_are_those_with_the_sizes_of_their_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the decompositions of torch, for any number of samples."""
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", None)
    model = Function(COMPOSITE[name])
    dag = topo.trace(model, (torch.zeros(2, 4), torch.zeros(2, 4)))
    assert dag.symbols
    assert not {step.name for arc in dag.arcs for step in arc.steps} & {"unflatten", "view_as", "expand_as"}
    x, y = torch.randn(2, 5, 4)
    assert torch.equal(dag(x, y), model(x, y))


def test_a_random_constant_is_left_to_torch() -> None:
    graph = graph_of(Function(lambda x: x + torch.rand(4)), torch.randn(3, 4))
    assert not functionalised(graph)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer", [nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), nn.LSTM(4, 3, batch_first=True)]
)
def test_layers_that_end_in_composite_operations_are_the_same(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Function(lambda x: layer(x)[0] if isinstance(layer, nn.LSTM) else layer(x))
    model.layer = layer
    same_without(model, (torch.randn(3, 5, 4),), monkeypatch)


@pytest.mark.parametrize("name", LEFT)
def test_what_others_may_see_is_left_to_torch(name: str) -> None:
    graph = graph_of(Function(LEFT[name]), torch.randn(3, 4))
    before = str(graph)
    assert not functionalised(graph)
    assert str(graph) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*REPLACED, *(n for n in LEFT if n not in ("the input", "of another type") and "dropout" not in n)]
)
def test_the_network_computes_the_same(name: str) -> None:
    function, x = (REPLACED | LEFT)[name], torch.randn(3, 4)
    assert torch.equal(topo.trace(Function(function), torch.zeros(2, 4))(x), function(x.clone()))


def test_batch_norm_without_statistics_is_left_to_torch() -> None:
    assert not functionalised(graph_of(nn.BatchNorm1d(4, track_running_stats=False), torch.randn(3, 4)))
    assert functionalised(graph_of(nn.BatchNorm1d(4), torch.randn(3, 4)))


STEPS: dict[str, Callable[[list[Tensor], int, int], Tensor]] = {
    "linear": lambda v, i, j: F.linear(v[i], WEIGHT),
    "relu": lambda v, i, j: torch.relu(v[i]),
    "relu_": lambda v, i, j: v[i].relu_(),
    "add_": lambda v, i, j: v[i].add_(v[j].detach().clone()),
    "add": lambda v, i, j: v[i] + v[j],
    "mul_": lambda v, i, j: v[i].mul_(2.0),
    "view": lambda v, i, j: v[i].view(-1).view(3, 4),
    "transpose": lambda v, i, j: v[i].t().contiguous().view(3, 4),
    "unflatten": lambda v, i, j: v[i].unflatten(1, (2, 2)).transpose(1, 2).flatten(1),
    "zeros": lambda v, i, j: torch.zeros(3, 4).add_(v[j]),
    "dropout": lambda v, i, j: F.dropout(v[i], training=False),
    "slice": lambda v, i, j: torch.cat([v[i][:, :2], v[j][:, 2:]], 1),
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=7)
)
def test_any_order_of_operations_in_and_out_of_place(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is written to and read under several names, the freed graph gives the bits of the program."""

    def function(x: Tensor) -> Tensor:
        values = [x * 1.5]
        for name, i, j in steps:
            values.append(STEPS[name](values, i % len(values), j % len(values)))
        return torch.stack(values).sum(0)

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        program = torch.export.export(Function(function), (x,), strict=False)
        if functionalised(program.graph):
            assert not mutations(program.graph)
            program.graph_module.recompile()
            program.graph.lint()
            assert torch.equal(program.module()(x.clone()), function(x.clone()))
