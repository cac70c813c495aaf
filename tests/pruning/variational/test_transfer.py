"""Taking closed gates out: the network, its gates and the optimiser's memory stay what they were."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

import topo
from tests.pruning.variational.nets import NETS, cost_by_torch, draw, prepared
from topo.models import build
from topo.pruning.variational.complexity import Complexity
from topo.pruning.variational.gated import GatedModel, shrink
from topo.pruning.variational.gates import find_gates

# A large eps, for Adam makes steps of the rounding of gradients that are zero.
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": partial(torch.optim.AdamW, lr=0.01, weight_decay=1e-2, eps=1e-3),
}


def gated_of(name, alive):
    """A copy of a network in evaluation mode, what is not alive closed."""
    model, x, gates = prepared(name)
    gated = GatedModel(copy.deepcopy(model), gates).eval()
    gated.fixed = alive.double()
    return gated, x


def choose(name, seed, probability=0.7):
    gates = prepared(name)[2]
    return gates.closure(draw(gates, seed, probability).bool())


def plain_sgd(gated):
    return torch.optim.SGD(gated.parameters(), lr=0.1)


def train_step(gated, x, optimizer):
    optimizer.zero_grad()
    out = gated(x)
    nn.functional.cross_entropy(out, torch.arange(len(x)) % out.shape[1]).backward()
    optimizer.step()


def same_state(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key], rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_output_is_exact_and_every_gate_finds_its_place(name, seed):
    alive = choose(name, seed)
    gated, x = gated_of(name, alive)
    before = copy.deepcopy(gated.state_dict())
    small, _ = shrink(gated, alive, plain_sgd(gated))
    gates = gated.gates
    assert small.gates is gates
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated(x), rtol=1e-10, atol=1e-10)
        # Gates stand where they stood: that shows at any values of them.
        for again in range(3):
            xi = torch.rand(gates.count, generator=torch.Generator().manual_seed(again), dtype=torch.float64) * alive
            torch.testing.assert_close(small.forward_with(xi, x), gated.forward_with(xi, x), rtol=1e-10, atol=1e-10)
    expected = [float(Complexity(gates).expected(alive.double(), budget)) for budget in ("parameters", "macs")]
    assert list(cost_by_torch(small.model, x[:1]).values()) == expected
    assert all(torch.equal(value, before[key]) for key, value in gated.state_dict().items())
    # Closed gates no longer multiply anything; those that stay multiply what they did, except for what was removed.
    norms = small.norms()
    assert not norms[~alive].any() and (norms[alive] <= gated.norms()[alive] * (1 + 1e-12)).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["skips", "basic", "bottleneck", "inverted", "dense", "densenet", "vit"])
def test_training_on_is_training_the_masked_network(name, optimizer):
    """GateUpdates before and after: shrinking first or last gives the same weights, statistics and memory. Norms are in
    training mode."""
    alive = choose(name, 4)
    assert not alive.all()
    gated, x = gated_of(name, alive)
    gated.draw = lambda: alive.double()
    gated.train()
    memory = OPTIMIZERS[optimizer](gated.parameters())
    train_step(gated, x, memory)
    small, carried = shrink(gated, alive, memory)
    for _ in range(2):
        train_step(small, x, carried)
        train_step(gated, x, memory)
    late, late_memory = shrink(gated, alive, memory)
    same_state(small, late)
    assert type(carried) is type(memory)
    held, late_held = carried.state_dict()["state"], late_memory.state_dict()["state"]
    assert held.keys() == late_held.keys() and held
    for number, state in held.items():
        for key, value in state.items():
            torch.testing.assert_close(
                torch.as_tensor(value), torch.as_tensor(late_held[number][key]), rtol=1e-8, atol=1e-9
            )
    torch.testing.assert_close(small.eval()(x), gated_output_of(gated, alive, x), rtol=1e-9, atol=1e-9)


def gated_output_of(gated, alive, x):
    gated.eval().fixed = alive.double()
    return gated(x)


def test_memory_goes_with_its_element():
    """Momentum that is three times the weight still is, and a step count is what it was."""
    alive = choose("inverted", 1, 0.5)
    gated, _ = gated_of("inverted", alive)
    sgd, adam = plain_sgd(gated), OPTIMIZERS["adamw"](gated.parameters())
    for parameter in gated.parameters():
        sgd.state[parameter]["momentum_buffer"] = 3 * parameter.detach()
        adam.state[parameter] = {
            "step": torch.tensor(7.0),
            "exp_avg": 2 * parameter.detach(),
            "exp_avg_sq": parameter.detach().square(),
        }
    small, new_sgd = shrink(gated, alive, sgd)
    for parameter in small.parameters():
        assert torch.equal(new_sgd.state[parameter]["momentum_buffer"], 3 * parameter)
    small, new_adam = shrink(gated, alive, adam)
    for parameter in small.parameters():
        state = new_adam.state[parameter]
        assert torch.equal(state["exp_avg"], 2 * parameter)
        assert torch.equal(state["exp_avg_sq"], parameter.square())
        assert float(state["step"]) == 7
    held = next(iter(new_adam.state.values()))["step"]
    held += 1
    assert all(float(adam.state[p]["step"]) == 7 for p in gated.parameters())


def test_groups_and_their_settings_stay():
    alive = torch.ones(8, dtype=torch.bool)
    alive[[1, 6]] = False
    alive = prepared("skips")[2].closure(alive)
    gated, x = gated_of("skips", alive)
    own = nn.Parameter(torch.ones(2))
    model = gated.model
    groups = [
        {"params": [model.up[0].weight, model.up[0].bias], "lr": 0.5},
        {"params": [p for name, p in model.named_parameters() if not name.startswith("up.0")], "weight_decay": 0.25},
        {"params": [own], "initial_lr": 0.125},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.5)
    optimizer.state[own]["momentum_buffer"] = torch.full((2,), 2.0)
    small, new = shrink(gated, alive, optimizer)
    # The branch of the first group is closed.
    assert [len(group["params"]) for group in new.param_groups] == [0, 8, 1]
    assert [group["lr"] for group in new.param_groups] == [0.5, 0.1, 0.1]
    assert [group["weight_decay"] for group in new.param_groups] == [0, 0.25, 0]
    assert new.param_groups[2]["initial_lr"] == 0.125 and new.param_groups[2]["params"][0] is own
    assert {id(p) for p in new.param_groups[1]["params"]} == {id(p) for p in small.parameters()}
    train_step(small, x, new)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 10, 1]
    scheduler = torch.optim.lr_scheduler.StepLR(new, 1)
    new.step()
    scheduler.step()
    assert new.param_groups[0]["lr"] == pytest.approx(0.05)


def test_frozen_parameters_stay_frozen_and_buffers_keep_their_type():
    alive = choose("basic", 0)
    gated, x = gated_of("basic", alive)
    gated.model.stem.weight.requires_grad_(False)
    gated = gated.float().train()
    gated(x.float())
    small, _ = shrink(gated, alive, plain_sgd(gated))
    assert small.training and not small.model.stem.weight.requires_grad
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert small.model.norm.running_mean.dtype == torch.float32
    assert small.model.norm.num_batches_tracked.dtype == torch.int64
    assert torch.equal(small.model.norm.running_var, gated.model.norm.running_var)


@pytest.mark.parametrize("name", ["basic", "bottleneck", "densenet", "vit", "nested"])
def test_shrinking_again_is_shrinking_at_once(name):
    gates = prepared(name)[2]
    first, second = choose(name, 0, 0.8), choose(name, 5, 0.7)
    try:
        both = gates.closure(first & second)
    except topo.InputError:
        pytest.skip("no path is left")
    gated, x = gated_of(name, both)
    step, optimizer = shrink(gated, first, plain_sgd(gated))
    again, _ = shrink(step, both, optimizer)
    other, _ = gated_of(name, both)
    at_once, _ = shrink(other, both, plain_sgd(other))
    with torch.no_grad():
        torch.testing.assert_close(again(x), gated(x), rtol=1e-10, atol=1e-10)
    same_state(again, at_once)


def test_a_whole_branch_leaves_nothing_behind():
    for name, gone in (
        ("basic", "blocks.1."),
        ("densenet", "features.denseblock1.denselayer1."),
        ("vit", "encoder.layers.encoder_layer_0.self_attention."),
        ("inverted", "first."),
    ):
        gates = prepared(name)[2]
        alive = torch.ones(gates.count, dtype=torch.bool)
        number = next(i for i, layer in enumerate(gates.layers) if layer.name.startswith(gone))
        alive[len(gates.units) + number] = False
        alive = gates.closure(alive)
        gated, _ = gated_of(name, alive)
        small, _ = shrink(gated, alive, plain_sgd(gated))
        assert any(n.startswith(gone) for n, _ in gated.model.named_parameters())
        assert not any(n.startswith(gone) for n, _ in small.model.named_parameters())


def test_all_gates_of_branches_closed_leaves_a_network_without_gates():
    gates = prepared("skips")[2]
    alive = torch.zeros(gates.count, dtype=torch.bool)
    gated, x = gated_of("skips", alive)
    small, optimizer = shrink(gated, alive, plain_sgd(gated))
    model = gated.model
    with torch.no_grad():
        torch.testing.assert_close(small(x), model.head(torch.relu(model.enter(x))))
    assert not small.norms().any()
    train_step(small.train(), x, optimizer)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_has_been_trained_goes_back_to_its_place(layout):
    alive = choose("bottleneck", 0)
    gated, x = gated_of("bottleneck", alive)
    gated.full_model.to(memory_format=layout)
    small, optimizer = shrink(gated.train(), alive, plain_sgd(gated))
    train_step(small, x, optimizer)
    before = copy.deepcopy(gated.full_model.state_dict())
    full_model = small.write_back()
    assert full_model is gated.full_model is small.full_model
    assert any(not torch.equal(value, before[key]) for key, value in full_model.state_dict().items())
    masks = gated.gates.masks(alive)
    with torch.no_grad():
        for name, parameter in full_model.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
        torch.testing.assert_close(full_model.eval()(x), small.eval()(x), rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_published_networks(name):
    model = build(name).double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
                module.bias.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gates = find_gates(model, x[:1])
    alive = gates.closure(draw(gates, 0, 0.7).bool())
    gated = GatedModel(model, gates)
    gated.fixed = alive.double()
    small, _ = shrink(gated.eval(), alive, plain_sgd(gated))
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated(x), rtol=1e-10, atol=1e-10)
        xi = torch.rand(gates.count, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * alive
        torch.testing.assert_close(small.forward_with(xi, x), gated.forward_with(xi, x), rtol=1e-10, atol=1e-10)
    expected = [float(Complexity(gates).expected(alive.double(), budget)) for budget in ("parameters", "macs")]
    assert list(cost_by_torch(small.model, x[:1]).values()) == expected
