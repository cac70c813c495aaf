"""Taking closed gates out: the network, its gates and the optimiser's memory stay what they were."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

import topo
from tests.dag.nets import lively, normal
from topo.models import build
from topo.prune.structured.variational.carry import shrink
from topo.prune.structured.variational.complexity import Complexity
from topo.prune.structured.variational.gated import Gated
from topo.prune.structured.variational.gates import gates

from .nets import NETS, Basic, draw, prepared

# A large eps, for Adam makes steps of the rounding of gradients that are zero.
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adamw": partial(torch.optim.AdamW, lr=0.01, weight_decay=1e-2, eps=1e-3),
}


def gated_of(name, alive):
    """A copy of a network in evaluation mode, what is not alive closed."""
    model, x, found = prepared(name)
    gated = Gated(copy.deepcopy(model), found).eval()
    gated.fixed = alive.double()
    return gated, x


def choose(name, seed, chance=0.7):
    found = prepared(name)[2]
    return found.closure(draw(found, seed, chance).bool())


def plain_sgd(gated):
    return torch.optim.SGD(gated.parameters(), lr=0.1)


def train_step(gated, x, optimizer):
    optimizer.zero_grad()
    out = gated(x)
    nn.functional.cross_entropy(out, torch.arange(len(x)) % out.shape[1]).backward()
    optimizer.step()


def same_state(left, right):
    assert left.state_dict().keys() == right.state_dict().keys()
    for key, value in left.state_dict().items():
        torch.testing.assert_close(value, right.state_dict()[key], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_output_is_exact_and_every_gate_finds_its_place(name, seed):
    alive = choose(name, seed)
    gated, x = gated_of(name, alive)
    before = copy.deepcopy(gated.state_dict())
    small, kept, _ = shrink(gated, alive, plain_sgd(gated))
    old, new = gated.gates, small.gates
    # Nothing closed is among them, everything open is, and each once.
    assert torch.equal(kept.sort().values, alive.nonzero().flatten())
    assert torch.equal(old.is_layer[kept], new.is_layer)
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated(x), rtol=1e-10, atol=1e-10)
        # Gates stand where they stood: that shows at any values of them.
        for again in range(3):
            xi = torch.rand(old.count, generator=torch.Generator().manual_seed(again), dtype=torch.float64) * alive
            torch.testing.assert_close(small.at(xi[kept], x), gated.at(xi, x), rtol=1e-10, atol=1e-10)
    left = Complexity(old).expected(alive.double()), Complexity(old).expected(alive.double(), "macs")
    assert list(Complexity(new).whole.values()) == [float(v) for v in left]
    assert all(torch.equal(value, before[key]) for key, value in gated.state_dict().items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["skips", "basic", "bottleneck", "inverted", "dense", "densenet", "vit"])
def test_training_on_is_training_the_masked_network(name, optimizer):
    """Steps before and after: shrinking first or last gives the same weights, statistics and memory. Norms are in
    training mode."""
    alive = choose(name, 4)
    assert not alive.all()
    gated, x = gated_of(name, alive)
    gated.draw = lambda: alive.double()
    gated.train()
    memory = OPTIMIZERS[optimizer](gated.parameters())
    train_step(gated, x, memory)
    small, _, carried = shrink(gated, alive, memory)
    for _ in range(2):
        train_step(small, x, carried)
        train_step(gated, x, memory)
    late, _, late_memory = shrink(gated, alive, memory)
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
    small, _, new_sgd = shrink(gated, alive, sgd)
    for parameter in small.parameters():
        assert torch.equal(new_sgd.state[parameter]["momentum_buffer"], 3 * parameter)
    small, _, new_adam = shrink(gated, alive, adam)
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
    small, _, new = shrink(gated, alive, optimizer)
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
    small, _, _ = shrink(gated, alive, plain_sgd(gated))
    assert small.training and not small.model.stem.weight.requires_grad
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert small.model.norm.running_mean.dtype == torch.float32
    assert small.model.norm.num_batches_tracked.dtype == torch.int64
    assert torch.equal(small.model.norm.running_var, gated.model.norm.running_var)


@pytest.mark.parametrize("name", ["basic", "bottleneck", "densenet", "vit", "nested"])
def test_shrinking_again_is_shrinking_at_once(name):
    found = prepared(name)[2]
    first, second = choose(name, 0, 0.8), choose(name, 5, 0.7)
    try:
        both = found.closure(first & second)
    except topo.InputError:
        pytest.skip("no path is left")
    gated, x = gated_of(name, both)
    step, kept, optimizer = shrink(gated, first, plain_sgd(gated))
    again, kept_again, _ = shrink(step, step.gates.closure(both[kept]), optimizer)
    at_once, kept_at_once, _ = shrink(gated, both, plain_sgd(gated))
    assert set(kept[kept_again].tolist()) == set(kept_at_once.tolist())
    with torch.no_grad():
        torch.testing.assert_close(again(x), gated(x), rtol=1e-10, atol=1e-10)
    assert sorted(p.shape for p in again.parameters()) == sorted(p.shape for p in at_once.parameters())


def test_a_whole_branch_leaves_nothing_behind():
    for name, gone in (
        ("basic", "blocks.1."),
        ("densenet", "features.denseblock1.denselayer1."),
        ("vit", "encoder.layers.encoder_layer_0.self_attention."),
        ("inverted", "first."),
    ):
        found = prepared(name)[2]
        alive = torch.ones(found.count, dtype=torch.bool)
        number = next(i for i, layer in enumerate(found.layers) if layer.name.startswith(gone))
        alive[len(found.units) + number] = False
        alive = found.closure(alive)
        gated, _ = gated_of(name, alive)
        small, _, _ = shrink(gated, alive, plain_sgd(gated))
        assert any(n.startswith(gone) for n, _ in gated.model.named_parameters())
        assert not any(n.startswith(gone) for n, _ in small.model.named_parameters())


def test_all_gates_of_branches_closed_leaves_a_network_without_gates():
    found = prepared("skips")[2]
    alive = torch.zeros(found.count, dtype=torch.bool)
    gated, x = gated_of("skips", alive)
    small, kept, optimizer = shrink(gated, alive, plain_sgd(gated))
    assert small.gates.count == len(kept) == len(small.gates.table()) == 0
    model = gated.model
    with torch.no_grad():
        torch.testing.assert_close(small(x), model.head(torch.relu(model.enter(x))))
    assert small.norms().shape == (0,)
    assert Complexity(small.gates).gradient(torch.ones(0), 0.5).shape == (0,)
    train_step(small.train(), x, optimizer)


def test_the_last_unit_of_a_layer_that_every_path_needs_loses_its_gate():
    alive = torch.ones(9, dtype=torch.bool)
    alive[:3] = False
    gated, x = gated_of("mlp", alive)
    small, kept, _ = shrink(gated, alive, plain_sgd(gated))
    assert kept.tolist() == [4, 5, 6, 7, 8]
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated(x))


def test_the_gates_that_a_branch_had_are_its_gates_when_its_skip_is_the_larger_way():
    """A projection is smaller than the block that it goes round, until that has shrunk: the block keeps the gate."""
    model, x = lively(Basic((20, 24), 1, "project")), normal(2, 2, 4, 4)
    found = gates(model, x[:1])
    assert [layer.name for layer in found.layers] == ["blocks.0.conv2", "blocks.1.conv2"]
    alive = torch.ones(found.count, dtype=torch.bool)
    # One unit is left in the block with the projection: 446 parameters, against 528.
    alive[21 : len(found.units)] = False
    gated = Gated(model, found)
    small, kept, optimizer = shrink(gated, alive, plain_sgd(gated))
    assert [layer.name for layer in gates(small.model, x[:1]).layers] == ["blocks.0.conv2", "blocks.1.projection.0"]
    assert [layer.name for layer in small.gates.layers] == ["blocks.0.conv2", "blocks.1.conv2"]
    again, kept_again, _ = shrink(small, torch.ones(len(kept), dtype=torch.bool), optimizer)
    assert torch.equal(kept_again, torch.arange(len(kept))) and again.gates.layers[1].name == "blocks.1.conv2"


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
    found = gates(model, x[:1])
    alive = found.closure(draw(found, 0, 0.7).bool())
    gated = Gated(model, found)
    gated.fixed = alive.double()
    small, kept, _ = shrink(gated.eval(), alive, plain_sgd(gated))
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated(x), rtol=1e-10, atol=1e-10)
        xi = torch.rand(found.count, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * alive
        torch.testing.assert_close(small.at(xi[kept], x), gated.at(xi, x), rtol=1e-10, atol=1e-10)
    assert torch.equal(kept.sort().values, alive.nonzero().flatten())
    assert Complexity(small.gates).whole == topo.cost(small.model, x[:1])
