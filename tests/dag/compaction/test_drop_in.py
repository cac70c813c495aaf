"""A smaller network takes the place of the model: exported, traced by torch, called at other batch sizes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

import topo
from tests.dag.compaction.test_compactor import flat, lively
from tests.zoo import small
from topo.dag import compact, coupled_channels, trace
from topo.masks import prunable_parameters


@cache
def halved(name: str) -> tuple[nn.Module, fx.GraphModule, Callable[[int], tuple[Tensor, ...]]]:
    """A network of the zoo under masks of half of its units, the smaller network, and inputs of any batch size."""
    model, inputs = small(name)
    model = lively(model)
    channels = coupled_channels(trace(model, tuple(x[:1].double() for x in inputs)))
    alive = torch.arange(channels.count) % 2 == 0
    masks = channels.masks(alive, prunable_parameters(channels.dag))
    smaller = compact(model, masks, channels=channels)
    return (
        topo.Masks(masks).apply(copy.deepcopy(model)),
        smaller,
        lambda n: tuple(torch.randn(n, *x.shape[1:], dtype=torch.float64) for x in inputs),
    )


FREE_SIZES = ("attention", "doubling", "in-place", "mixer")


@pytest.mark.parametrize("name", FREE_SIZES)
def test_torch_traces_it_for_every_batch_size(name: str):
    masked, smaller, inputs = halved(name)
    traced = torch.jit.trace(smaller, inputs(2), check_trace=False)
    for n in (1, 3):
        x = inputs(n)
        assert torch.allclose(flat(traced(*x)), flat(masked(*x)), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", FREE_SIZES)
def test_torch_exports_it_for_every_batch_size(name: str):
    masked, smaller, inputs = halved(name)
    free = tuple({0: torch.export.Dim("samples")} for _ in inputs(1))
    program = torch.export.export(smaller, inputs(2), dynamic_shapes=free).module()
    x = inputs(3)
    assert torch.allclose(flat(program(*x)), flat(masked(*x)), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_onnx_runs_it_for_another_batch_size():
    reference = pytest.importorskip("onnx.reference")
    masked, smaller, inputs = halved("attention")
    free = tuple({0: torch.export.Dim("samples")} for _ in inputs(1))
    program = torch.onnx.export(smaller, inputs(2), dynamo=True, dynamic_shapes=free, verbose=False)
    x = inputs(3)
    names = [given.name for given in program.model_proto.graph.input]
    run = reference.ReferenceEvaluator(program.model_proto)
    (got,) = run.run(None, {name: value.numpy() for name, value in zip(names, x, strict=True)})
    assert torch.allclose(torch.from_numpy(got), masked(*x), rtol=0, atol=1e-6)


@dataclass
class Prediction:
    logits: Tensor
    hidden: Tensor


torch.export.register_dataclass(Prediction)


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, scale: Any = None, *, gate: Tensor | None = None, double: bool = False) -> Prediction:
        hidden = torch.relu(self.first(x if scale is None else x * scale))
        hidden = hidden if gate is None else hidden * gate
        return Prediction(self.second(hidden) * (2 if double else 1), hidden.mean(1))


def optional(example: Any) -> tuple[nn.Module, fx.GraphModule]:
    torch.manual_seed(0)
    model = Optional().double()
    masks = {"second.weight": (torch.arange(6) % 2 == 0).expand(3, 6)}
    return topo.Masks(masks).apply(model), compact(model, masks, example)


@pytest.mark.parametrize("names", [("x",), ("gate", "x")])
def test_inputs_by_keyword_and_a_result_of_the_models_own_class(names: tuple[str, ...]):
    x = {"x": torch.randn(2, 4).double(), "gate": torch.randn(2, 1).double()}
    model, smaller = optional({name: x[name] for name in names})
    given = {name: x[name] for name in names}
    wanted = model(**given)
    for network in (smaller, pickle.loads(pickle.dumps(smaller))):
        got = network(**given, double=False, scale=None)
        assert isinstance(got, Prediction)
        assert torch.equal(got.logits, wanted.logits) and torch.equal(got.hidden, wanted.hidden)
    again = torch.export.export(smaller, (), {"x": given["x"], **given}).module()(**{"x": given["x"], **given})
    assert torch.equal(pytree.tree_leaves(again)[0], wanted.logits)
    with pytest.raises(AssertionError, match="made smaller for double=False; make it smaller again for another value"):
        smaller(**given, double=True)


def test_a_keyword_that_was_not_traced_is_refused():
    x = torch.randn(2, 4).double()
    _, smaller = optional((x,))
    with pytest.raises(AssertionError, match="made smaller for gate=None"):
        smaller(x, gate=torch.ones(2, 1).double())
