from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import topo.pruning
from tests.pruning.structured.conftest import find
from topo.errors import InputError
from topo.pruning.structured.l0 import (
    BETA,
    GAMMA,
    ZETA,
    Gated,
    GateTraining,
    hard_concrete,
    mean_gate,
    probability_open,
)

LOGITS = [-2.0, -0.3, 0.0, 1.0, 3.0]


def cumulative(s: torch.Tensor, log_alpha: float) -> torch.Tensor:
    """P(stretched concrete <= s), written out: P(sigmoid((logit u + log_alpha) / beta) <= t), t the shrunk s."""
    t = ((s - GAMMA) / (ZETA - GAMMA)).clamp(0, 1)
    return torch.sigmoid(BETA * t.logit() - log_alpha)


@pytest.mark.parametrize("log_alpha", LOGITS)
def test_sampled_gates_have_the_closed_form_of_mass_and_mean(log_alpha):
    # Evenly spaced noise makes the sample a quadrature: no chance is left in the test.
    count = 200_000
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    gates = hard_concrete(torch.tensor(log_alpha, dtype=torch.float64), uniform)
    grid = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    assert float((gates == 0).double().mean()) == pytest.approx(float(cumulative(grid[0], log_alpha)), abs=2e-5)
    assert float((gates < 1).double().mean()) == pytest.approx(float(cumulative(grid[-1], log_alpha)), abs=2e-5)
    # E[z] of a variable on [0, 1] is the integral of P(z > s).
    mean = torch.trapezoid(1 - cumulative(grid, log_alpha), grid)
    assert float(gates.mean()) == pytest.approx(float(mean), abs=1e-5)
    for s in (0.2, 0.5, 0.9):
        share = float((gates <= s).double().mean())
        assert share == pytest.approx(float(cumulative(torch.tensor(s, dtype=torch.float64), log_alpha)), abs=2e-5)
    assert float(probability_open(torch.tensor(log_alpha, dtype=torch.float64))) == pytest.approx(
        1 - float(cumulative(grid[0], log_alpha)), abs=1e-12
    )


def test_expected_norm_has_the_right_gradient():
    log_alpha = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: probability_open(a).sum(), log_alpha)
    uniform = torch.tensor([0.3, 0.6, 0.5, 0.4, 0.2], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: hard_concrete(a, uniform), log_alpha)


def test_the_gate_of_the_trained_network_closes_and_opens_for_good():
    gates = mean_gate(torch.tensor([-10.0, math.log(1 / 11), 0.0, 10.0]))
    torch.testing.assert_close(gates, torch.tensor([0.0, 0.0, 0.5, 1.0]), atol=1e-6, rtol=0)


def gated(model, log_alpha):
    channels = find(model)
    return channels, Gated(model, channels, log_alpha(channels), torch.ones(channels.count, dtype=torch.bool))


def test_open_gates_change_nothing_and_a_closed_one_removes_its_unit(exact, images):
    log_alpha = torch.full((22,), 50.0, dtype=torch.float64)
    channels, wrapped = gated(exact, lambda channels: log_alpha)
    assert channels.count == 22
    wrapped.eval()
    torch.testing.assert_close(wrapped(images[0]), exact(images[0]))
    unit = int(channels.axes["stem.weight"][0][1])
    log_alpha[unit] = -50.0
    alive = torch.ones(22, dtype=torch.bool)
    alive[unit] = False
    masked = topo.Masks(channels.masks(alive, ["conv1.weight", "wide.weight"])).apply(copy.deepcopy(exact))
    torch.testing.assert_close(wrapped(images[0]), masked(images[0]), rtol=1e-12, atol=1e-12)


def test_a_gate_multiplies_what_the_unit_passes_on_behind_its_norm(exact, images):
    channels, wrapped = gated(exact, lambda channels: torch.linspace(-1, 1, channels.count, dtype=torch.float64))
    wrapped.eval()
    gates = mean_gate(wrapped.log_alpha)

    def behind(layer, axes=(1, -1, 1, 1)):
        return gates[channels.axes[f"{layer}.weight"][0]].view(axes)

    x = torch.relu(exact.stem_norm(exact.stem(images[0])))
    inner = torch.relu(exact.norm1(exact.conv1(x * behind("stem", (-1, 1, 1))))) * behind("conv1", (-1, 1, 1))
    stream = torch.relu(x + exact.norm2(exact.conv2(inner))) * behind("stem", (-1, 1, 1))
    deep = torch.relu(exact.depthwise(torch.relu(exact.wide(stream)))) * behind("wide", (-1, 1, 1))
    hidden = torch.relu(exact.hidden(deep.mean((2, 3)))) * behind("hidden", (-1,))
    torch.testing.assert_close(wrapped(images[0]), exact.head(hidden))


def test_penalty_is_the_expected_share_of_parameters(exact):
    channels = find(exact)
    log_alpha = torch.randn(channels.count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    training = GateTraining(exact, channels, log_alpha.requires_grad_(), 2.0, 0.1)
    held = []
    for unit in range(channels.count):
        alone = torch.zeros(channels.count)
        alone[unit] = 1
        held.append(
            sum(
                float((axis == unit).sum() * exact.get_parameter(name).numel() / len(axis))
                for name, axes in channels.axes.items()
                if name in dict(exact.named_parameters())
                for axis in axes
            )
        )
    held = torch.tensor(held, dtype=torch.float64)
    expected = 2.0 * (held / held.sum() * probability_open(log_alpha)).sum()
    torch.testing.assert_close(training.penalty(None), expected)


def test_gates_train_towards_what_is_useful(few_digits, short):
    # Of two identical halves of hidden units the second is read by no class: its gates have nothing to stay open for.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    with torch.no_grad():
        net[3].weight[:, 6:] = 0.0
        net[1].bias[6:] = -100.0
    from topo.training import recipe

    masks = topo.prune(
        net,
        "l0",
        sparsity=0.5,
        data=few_digits,
        recipe=recipe("digits", epochs=30, batch_size=20),
        device="cpu",
    )
    assert masks["1.weight"].any(dim=1).tolist() == [True] * 6 + [False] * 6


def test_weights_go_along_with_their_gates_multiplied_in(little, few_digits, short):
    before = copy.deepcopy(little.state_dict())
    options = {"data": few_digits, "recipe": short, "device": "cpu"}
    masks = topo.prune(little, "l0", sparsity=0.0, **options)
    again = topo.prune(little, "l0", sparsity=0.0, **options)
    assert all(torch.equal(value, before[name]) for name, value in little.state_dict().items())
    assert all(torch.equal(value, again.state[name]) for name, value in masks.state.items())
    assert set(masks.state) == set(before)
    # A mean gate of drop_rate .3 lies near .74; that of a network whose gates start open at 1.
    wide = topo.prune(little, "l0", sparsity=0.0, drop_rate=1e-6, penalty=0, learning_rate=0.0, **options)
    ratio = masks.state["head.weight"].norm() / wide.state["head.weight"].norm()
    assert 0.6 < ratio < 0.9


def test_units_of_excluded_layers_have_no_gate(little, few_digits, short):
    masks = topo.prune(
        little,
        "l0",
        sparsity=0.3,
        data=few_digits,
        recipe=short,
        exclude=["stem.weight", "hidden.weight"],
        device="cpu",
    )
    assert masks["stem.weight"].all()
    assert masks["conv1.weight"].flatten(2).any(dim=2).any(dim=0).all()
    assert masks["hidden.weight"].flatten(1).any(dim=1).all()


def test_a_training_that_fails_leaves_a_clear_error(little, few_digits, short):
    with pytest.raises(InputError, match="recipe"):
        topo.prune(little, "l0", sparsity=0.3, data=few_digits)
    for setting in ({"drop_rate": 0}, {"penalty": -1}, {"learning_rate": "fast"}):
        with pytest.raises(InputError, match=next(iter(setting))):
            topo.prune(little, "l0", sparsity=0.3, data=few_digits, recipe=short, **setting)
    with pytest.raises(InputError, match="rounds"):
        topo.prune(little, "l0", sparsity=0.3, data=few_digits, recipe=short, rounds=2)
