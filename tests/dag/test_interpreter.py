"""The interpreter computes what torch computes, bit for bit, whatever is overridden, and drops what nothing reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from tests.zoo import SMALL, small
from topo.dag import Dag, Interpreter, Output, Step, coarsen
from topo.errors import InputError


def same(a: Any, b: Any) -> bool:
    """Whether two outputs are equal, bit for bit."""
    leaves = zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True)
    return pytree.tree_structure(a) == pytree.tree_structure(b) and all(x is y or torch.equal(x, y) for x, y in leaves)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_equal_to_the_model(name: str) -> None:
    model, inputs = small(name)
    model.eval()
    dag = topo.trace(model, tuple(x[:1] for x in inputs))
    for view in (dag, coarsen(dag)):
        for collect in (True, False):
            interpreter = Interpreter(view.for_inputs(*inputs), garbage_collect_values=collect)
            assert same(interpreter.run(*inputs), model(*inputs))
            assert (len(interpreter.node_values) == len(interpreter.dag.nodes)) or collect


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Networks whose operations read any of the tensors before them and meet in sums, concatenations and products."""
    plan = draw(
        st.lists(
            st.tuples(st.sampled_from(["linear", "relu", "add", "cat", "mul"]), st.integers(0, 9), st.integers(0, 9)),
            min_size=1,
            max_size=8,
        )
    )

    class Drawn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in plan)
            self.narrow = nn.ModuleList(nn.Linear(8, 4) for _ in plan)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            values = [x]
            for number, (kind, first, second) in enumerate(plan):
                a, b = values[first % len(values)], values[second % len(values)]
                if kind == "linear":
                    values.append(self.layers[number](a))
                elif kind == "relu":
                    values.append(torch.relu(a))
                elif kind == "add":
                    values.append(a + b)
                elif kind == "mul":
                    values.append(a * b)
                else:
                    values.append(self.narrow[number](torch.cat([a, b], dim=1)))
            return values[-1], values[len(values) // 2]

    return Drawn().eval()


@settings(max_examples=10, deadline=None)
@given(networks(), st.integers(1, 4))
def test_equal_to_drawn_modules(model: nn.Module, samples: int) -> None:
    x = torch.randn(samples, 4, generator=torch.Generator().manual_seed(samples))
    dag = topo.trace(model, (4,))
    expected = model(x)
    assert same(dag(x), expected) and same(coarsen(dag)(x), expected)
    assert same(topo.lift(dag)(x), expected)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, image: Tensor, extra: Tensor) -> dict[str, Tensor]:
        return {"sum": self.a(image) + self.b(extra), "twice": extra * 2}


def test_several_inputs_and_inputs_by_name() -> None:
    model, values = TwoInputs(), {"extra": torch.randn(5, 2), "image": torch.randn(5, 3)}
    by_place = topo.trace(model, ((3,), (2,)))
    by_name = topo.trace(model, {"extra": (2,), "image": (3,)})
    expected = model(**values)
    assert same(by_place(values["image"], values["extra"]), expected)
    assert same(by_name(**values), expected)
    assert same(topo.lift(by_name)(**values), expected)
    assert same(topo.lift(model, {"image": (3,), "extra": (2,)})(**values), expected)
    with pytest.raises(InputError, match="traced with the keywords extra, image"):
        by_name(values["image"], values["extra"])
    with pytest.raises(InputError, match="positional arguments"):
        by_place(**values)
    with pytest.raises(InputError, match=r"input 'extra' has shape \(5, 3\); expected \(N, 2\)"):
        by_name(image=values["image"], extra=values["image"])


class Recorder(Interpreter):
    """Notes all that can be overridden."""

    def __init__(self, dag: Dag) -> None:
        super().__init__(dag)
        self.steps: list[str] = []
        self.joined: list[int] = []
        self.summed: list[int] = []
        self.outputs: list[Output] = []
        self.most = 0

    def step(self, step: Step, operands: tuple[Any, ...]) -> Any:
        self.steps.append(step.name)
        return super().step(step, operands)

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        self.joined.append(node)
        self.most = max(self.most, len(self.node_values))
        return super().join(node, arrived)

    def add(self, values: Sequence[Any]) -> Any:
        self.summed.append(len(values))
        return super().add(values)

    def output(self, output: Output) -> Any:
        self.outputs.append(output)
        return super().output(output)


def test_what_is_overridden_is_asked() -> None:
    model, inputs = small("u-net")
    dag = topo.trace(model, tuple(x[:1] for x in inputs))
    recorder = Recorder(dag)
    assert same(recorder.run(*inputs), model.eval()(*inputs))
    combined = [node.combine.name for node in dag.nodes if node.combine is not None]
    assert sorted(recorder.steps) == sorted([step.name for arc in dag.arcs for step in arc.steps] + combined)
    assert recorder.joined == [i for i, node in enumerate(dag.nodes) if node.kind != "input"]
    assert recorder.summed == [len(dag.arcs_into[i]) for i in recorder.joined if dag.nodes[i].kind == "sum"]
    assert recorder.outputs == list(dag.outputs)


def test_values_are_dropped_when_nothing_reads_them() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))
    recorder = Recorder(topo.trace(model, (3,)))
    recorder.run(torch.zeros(2, 3))
    assert recorder.most <= 1 and list(recorder.node_values) == [20]


def test_arcs_that_are_not_followed() -> None:
    class Skipping(Interpreter):
        def places_into(self, node: int) -> Sequence[int]:
            places = super().places_into(node)
            return places[:1] if self.dag.nodes[node].kind == "sum" else places

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.f(x) + x

    model, x = Residual(), torch.randn(2, 3)
    dag = coarsen(topo.trace(model, (3,)))
    assert same(Skipping(dag).run(x), model.f(x))


def test_other_parameters() -> None:
    model, (x,) = small("mlp")
    dag = topo.trace(model, x)
    zeros = {name: torch.zeros_like(value) for name, value in dag.state.items()}
    assert torch.equal(Interpreter(dag, state=zeros).run(x), torch.full((3, 5), 0.2))


def test_every_verb_takes_a_traced_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = torch.randn(2, 1, 8, 8)
    dag = topo.trace(model, (1, 8, 8))
    masks = {"4.weight": torch.arange(144).repeat(3, 1) >= 36}
    assert topo.trace(dag) is dag and dag.model is model
    assert same(topo.lift(dag)(x), model(x))
    assert topo.cost(dag) == topo.cost(model, (1, 8, 8))
    assert topo.dag.cost_table(dag).equals(topo.dag.cost_table(model, x))
    assert topo.encode(dag, masks).n_edges == topo.encode(model, masks, example=x).n_edges
    small_one, other = topo.compact(dag, masks), topo.compact(model, masks, (1, 8, 8))
    assert small_one.get_submodule("0").out_channels == 3 and same(small_one(x), other(x))
    bound = dag.bind(nn.Sequential(*model).eval())
    assert bound.model is not model and same(topo.compact(bound, masks)(x), other(x))
    with pytest.raises(
        InputError, match=r"topo\.compact works on the modules of the model, which a coarse Dag does not hold"
    ):
        topo.compact(coarsen(dag), masks)
    for verb in (topo.lift, topo.cost, topo.trace):
        with pytest.raises(InputError, match=r"topo\.\w+ needs an nn\.Module or a traced network; got int"):
            verb(3)


def test_keywords_that_do_not_fit_the_model_are_said():
    class Named(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(
        InputError, match=r"inputs x, z by keyword do not fit .* forward\(x, y\): .*; a model whose one"
    ):
        topo.trace(Named(), {"x": torch.zeros(1, 4), "z": torch.zeros(1, 4)})


def test_a_shape_with_its_batch_axis_is_said():
    for verb in (topo.trace, lambda net, shape: topo.prune(net, "synflow", sparsity=0.5, example=shape)):
        with pytest.raises(InputError, match="leave the batch axis out"):
            verb(nn.Sequential(nn.Conv2d(3, 2, 3)), (1, 3, 8, 8))


def test_a_traced_network_brings_its_example():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    dag = topo.trace(net, torch.randn(3, 6))
    assert dag.example[0].shape == (3, 6) and not dag.example[0].any()
    for pruner in ("synflow", "l1-filter", "phew"):
        masks = topo.prune(dag, pruner, sparsity=0.5, device="cpu")
        again = topo.prune(net, pruner, sparsity=0.5, device="cpu", example=torch.zeros(3, 6))
        assert all(torch.equal(masks[name], again[name]) for name in again)


def test_views_of_inputs_in_another_memory_format():
    class Flattened(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu().contiguous().view(len(x), -1)

    dag = topo.trace(Flattened(), torch.zeros(1, 2, 3, 3))
    x = torch.randn(2, 2, 3, 3).to(memory_format=torch.channels_last)
    assert torch.equal(dag(x), x.relu().flatten(1))
