"""Sums over paths are exact: un-rectified networks at an input, Jacobians always."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import topo
from tests.dag.nets import ConstantSlot, DenseBlock, PlainReluNet, Tower, Worked, lively, normal
from tests.zoo import small
from topo.decomposition import (
    Linearisation,
    jacobian_by_block,
    jacobian_by_branches,
    paths,
    residual_blocks,
    unrectified_terms,
)
from topo.errors import InputError
from topo.models.resnet import resnet

DIFFERENTIABLE = ["mlp", "u-net", "gate", "attention", "explicit-attention", "two-in-two-out", "shared", "doubling"]


def double(name: str) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
    model, inputs = small(name)
    return model.double().eval(), tuple(x.double() for x in inputs)


def autograd(model: torch.nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """For every input, derivatives (outputs, samples, ...) of each sample's flattened outputs by that sample."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    flat = torch.cat([y.flatten(1) for y in pytree.tree_leaves(model(*leaves))], dim=1)
    rows = [torch.autograd.grad(flat[:, o].sum(), leaves, retain_graph=True) for o in range(flat.shape[1])]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [PlainReluNet, Worked, lambda: Tower(4), lambda: DenseBlock(2), ConstantSlot])
def test_the_output_is_the_sum_over_paths(make) -> None:
    model = lively(make())
    x = (
        normal(3, 2, 4, 4)
        if isinstance(model, PlainReluNet)
        else normal(3, 3 - isinstance(model, DenseBlock | ConstantSlot))
    )
    lifting = topo.lift(model, x[:1])
    terms = unrectified_terms(lifting, x)
    torch.testing.assert_close(sum(t.value for t in terms), model(x).detach(), rtol=1e-10, atol=1e-10)
    from_input = [t.arcs for t in terms if t.origin == "input"]
    assert sorted(from_input) == sorted(paths(lifting.dag))
    tails = defaultdict(int)
    for path in paths(lifting.dag):
        for i in range(len(path)):
            tails[path[i:]] += 1
    constants = [t.arcs for t in terms if t.origin == "constant"]
    assert len(set(constants)) == len(constants) and set(constants) <= set(tails)


def test_terms_of_a_tower_by_hand() -> None:
    """x + relu(A x + a) at x: relu is the diagonal matrix of its signs."""
    model = lively(Tower(1))
    x = normal(1, 3)
    layer = model.layers[0]
    signs = (layer(x) > 0).double()
    assert 0 < signs.sum() < 3, "some are on and some are off"
    lifting = topo.lift(model, x)
    terms = {(t.arcs, t.origin): t.value for t in unrectified_terms(lifting, x)}
    skip, branch = (block := residual_blocks(lifting.dag)[0]).skips, block.branches
    torch.testing.assert_close(terms[skip, "input"], x)
    torch.testing.assert_close(terms[branch, "input"], signs * (x @ layer.weight.T).detach())
    torch.testing.assert_close(terms[branch, "constant"], signs * layer.bias.detach())
    assert len(terms) == 3


def test_several_outputs_and_in_place_networks() -> None:
    model, inputs = double("in-place")
    lifting = topo.lift(model, inputs[0][:1])
    terms = unrectified_terms(lifting, *inputs)
    torch.testing.assert_close(sum(t.value for t in terms), model(*inputs).detach())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "gate", "attention", "doubling", "two-in-two-out"])
def test_what_is_not_piecewise_linear_is_refused(name: str) -> None:
    model, inputs = double(name)
    with pytest.raises(InputError, match="is not piecewise linear"):
        unrectified_terms(topo.lift(model, tuple(x[:1] for x in inputs)), *inputs)


@pytest.mark.slow
def test_too_many_terms_are_refused() -> None:
    lifting = topo.lift(Tower(6), torch.zeros(1, 3))
    with pytest.raises(InputError, match=r"sum of \d+ path terms, more than 60"):
        unrectified_terms(lifting, torch.ones(1, 3), limit=60)


def test_division_by_the_input_is_refused() -> None:
    class Reciprocal(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2.0 / x

    class Halved(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2.0

    x = normal(2, 3)
    assert len(unrectified_terms(topo.lift(Halved(), x), x)) == 1
    with pytest.raises(InputError, match="not piecewise linear"):
        unrectified_terms(topo.lift(Reciprocal(), x), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_jacobian_is_the_sum_over_paths(name: str) -> None:
    model, inputs = double(name)
    lifting = topo.lift(model, tuple(x[:1] for x in inputs))
    at = Linearisation(lifting, *inputs)
    expected = autograd(model, inputs)
    weight = dict.fromkeys(range(0, len(lifting.dag.arcs), 2), 1)
    parts = at.jacobians_by_count(weight)
    for i, jacobian in enumerate(expected):
        torch.testing.assert_close(sum(p[i] for p in parts.values()), jacobian, rtol=1e-9, atol=1e-10)
    # The parts are the sums over the paths of each count, walked one by one along a direction.
    directions = tuple(normal(*x.shape, seed=i) for i, x in enumerate(inputs))
    along = dict.fromkeys(parts, 0.0)
    if name not in ("attention",):  # the attention kernel has no forward derivative
        for path in paths(lifting.dag):
            start = lifting.dag.inputs.index(lifting.dag.arcs[path[0]].source)
            moved = pytree.tree_leaves(at.along(path, directions[start]))
            count = sum(weight.get(arc, 0) for arc in path)
            along[count] = along[count] + torch.cat([m.flatten(1) for m in moved], dim=1)
        for count, part in parts.items():
            swept = sum((p * d).flatten(2).sum(2) for p, d in zip(part, directions, strict=True))
            torch.testing.assert_close(along[count].T, swept, rtol=1e-9, atol=1e-10)


def test_some_outputs_and_some_arcs() -> None:
    model, inputs = double("gate")
    lifting = topo.lift(model, inputs[0][:1])
    at = Linearisation(lifting, *inputs)
    (chosen,) = at.jacobians_by_count({}, outputs=[2, 0])[0]
    torch.testing.assert_close(chosen, autograd(model, inputs)[0][[2, 0]])
    with pytest.raises(InputError, match="no output 3"):
        at.jacobians_by_count({}, outputs=[3])
    tower = lively(Tower(2))
    lifting = topo.lift(tower, torch.zeros(1, 3, dtype=torch.float64))
    skips = [arc for block in residual_blocks(lifting.dag) for arc in block.skips]
    (identity,) = Linearisation(lifting, normal(2, 3)).jacobians_by_count({}, live=skips)[0]
    torch.testing.assert_close(identity[:, 1], torch.eye(3, dtype=torch.float64))


def test_branches_of_a_tower() -> None:
    model = lively(Tower(3, torch.tanh))
    x = normal(5, 3)
    lifting = topo.lift(model, x[:1])
    table = jacobian_by_branches(lifting, x)
    assert table["branches"].tolist() == [0, 1, 2, 3] and table["paths"].tolist() == [1, 3, 3, 1]
    assert table["share"].sum() == pytest.approx(1)
    norm = autograd(model, (x,))[0].transpose(0, 1).flatten(1).norm(dim=1)
    assert table["norm"][0] == pytest.approx(float((3**0.5 / norm).mean()))
    blocks = jacobian_by_block(lifting, x)
    assert len(blocks) == 3 and (blocks["branch_paths"] == 4).all() and (blocks["skip_paths"] == 4).all()
    assert (blocks["branch_share"] + blocks["skip_share"]).tolist() == pytest.approx([1] * 3)
    # What takes a branch at least once, counted with its number of branches, is every block's branch part together.
    counted = (table["branches"] * table["share"]).sum()
    assert counted == pytest.approx(blocks["branch_share"].sum())


@pytest.mark.slow
def test_blocks_of_resnet14() -> None:
    model = resnet(14, (3, 16, 16), 10).double().eval()
    x = normal(2, 3, 16, 16)
    lifting = topo.lift(model, x[:1])
    parts = Linearisation(lifting, x).jacobians_by_count(
        {arc: 1 for block in residual_blocks(lifting.dag) for arc in block.branches}
    )
    torch.testing.assert_close(sum(p[0] for p in parts.values()), autograd(model, (x,))[0], rtol=1e-8, atol=1e-9)
    assert jacobian_by_branches(lifting, x)["paths"].tolist() == [1, 6, 15, 20, 15, 6, 1]
    blocks = jacobian_by_block(lifting, x)
    assert len(blocks) == 6 and (blocks["branch_paths"] == 32).all()
    terms = unrectified_terms(lifting, x)
    torch.testing.assert_close(sum(t.value for t in terms), model(x).detach(), rtol=1e-8, atol=1e-9)


def test_bad_input() -> None:
    lifting = topo.lift(torch.nn.Linear(3, 300), torch.zeros(1, 3))
    with pytest.raises(InputError, match="300 outputs a sample"):
        jacobian_by_branches(lifting, torch.zeros(1, 3))
    with pytest.raises(InputError, match="no residual blocks"):
        jacobian_by_block(lifting, torch.zeros(1, 3))
