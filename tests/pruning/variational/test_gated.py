"""A network that runs with gates."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.pruning.variational.nets import draw, gated_output, prepared
from topo.errors import InputError
from topo.pruning.variational.gated import GatedModel


def gated_of(name):
    model, x, gates = prepared(name)
    return GatedModel(copy.deepcopy(model), gates).eval(), x, gates


@pytest.mark.parametrize("name", ["basic", "vit", "densenet"])
def test_open_gates_change_nothing(name):
    gated, x, _ = gated_of(name)
    assert torch.equal(gated(x), prepared(name)[0](x))


def test_evaluation_takes_the_fixed_gates_and_training_draws():
    gated, x, gates = gated_of("skips")
    fixed, drawn = draw(gates, 0), draw(gates, 1)
    gated.fixed, gated.draw = fixed, lambda: drawn
    assert torch.equal(gated(x), gated_output(gated.model, gates, fixed, x))
    assert gated.xi is None
    gated.train()
    assert torch.equal(gated(x), gated_output(gated.model, gates, drawn, x))
    assert torch.equal(gated.xi, drawn) and gated.xi.requires_grad and gated.xi is not drawn
    known = gated.xi
    assert torch.equal(gated.forward_with(fixed, x), gated_output(gated.model, gates, fixed, x))
    assert gated.xi is known


def test_without_a_draw_training_takes_the_fixed_gates():
    gated, x, gates = gated_of("skips")
    gated.fixed = draw(gates, 2)
    assert torch.equal(gated.train()(x), gated_output(gated.model, gates, gated.fixed, x))


@pytest.mark.parametrize("name", ["skips", "basic", "vit", "dense", "nested"])
def test_the_derivative_of_the_loss_in_each_gate(name):
    """Against central differences, the networks in evaluation mode so that the loss is a function of gates alone."""
    gated, x, gates = gated_of(name)
    xi = torch.rand(gates.count, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gated.draw = lambda: xi
    gated.training = True
    target = torch.zeros(len(x), dtype=torch.int64)
    loss = nn.functional.cross_entropy(gated(x), target)
    loss.backward()
    assert all(p.grad is not None for p in gated.parameters() if p.requires_grad)
    step = 1e-5
    for gate in range(gates.count):
        ends = [xi.clone().index_add_(0, torch.tensor([gate]), torch.tensor([h]).double()) for h in (step, -step)]
        with torch.no_grad():
            up, down = (nn.functional.cross_entropy(gated.forward_with(end, x), target) for end in ends)
        assert float((up - down) / (2 * step)) == pytest.approx(float(gated.xi.grad[gate]), rel=1e-4, abs=1e-8)


def test_weights_in_front_of_a_closed_gate_get_no_gradient_and_those_behind_an_open_one_do():
    gated, x, gates = gated_of("bottleneck")
    xi = torch.ones(gates.count, dtype=torch.float64)
    xi[0], xi[-1] = 0, 0
    gated.draw = lambda: xi
    gated.train()(x).square().sum().backward()
    first = gated.model.blocks[0][0].weight.grad.flatten(1).abs().sum(1)
    assert first[0] == 0 and (first[1:] > 0).all()
    assert not gated.model.blocks[1][0].weight.grad.any()
    assert not gated.model.blocks[1][7].bias.grad.any()


def test_gates_work_in_single_precision_and_are_no_part_of_the_state():
    gated, x, gates = gated_of("skips")
    gated = gated.float()
    assert gated.fixed.dtype == torch.float32
    gated.draw = lambda: torch.ones(gates.count)
    assert gated.train()(x.float()).dtype == torch.float32
    assert set(gated.state_dict()) == {f"model.{name}" for name in gated.model.state_dict()}


def test_norms_follow_the_weights():
    gated, _, gates = gated_of("skips")
    before = gated.norms()
    assert before.shape == (gates.count,) and not before.requires_grad
    with torch.no_grad():
        gated.model.down[0].weight.mul_(2)
    torch.testing.assert_close(gated.norms()[:3], 2 * before[:3])
    torch.testing.assert_close(before[:3], gated.model.down[0].weight.norm(dim=0) / 2)


def test_wrapped_models_are_refused():
    model, _, gates = prepared("mlp")
    with pytest.raises(InputError, match="DataParallel"):
        GatedModel(nn.DataParallel(model), gates)
