from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topo.errors import InputError
from topo.pruning.variational.gate_updates import GateUpdates


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def every(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.bool)


def test_steps_worked_by_hand():
    steps = GateUpdates(real(1.0, 1.0), horizon=10, ema_decay=0.5, square_decay=0.75)
    eta = real(1.0, 0.5)
    theta = steps(real(0.5, 0.5), real(3.0, 0.0), every(2), eta)
    # b = 1 / (10 max(1, 3)) and 1 / 10
    torch.testing.assert_close(theta, real(0.5 - 4 / 30, 0.5 - 0.05))
    theta = steps(theta, real(-1.0, 2.0), every(2), eta)
    torch.testing.assert_close(steps.mean, real(1.0, 1.0))
    torch.testing.assert_close(steps.square, real(5.0, 2.0))
    torch.testing.assert_close(steps.step_sizes, real(0.1 / 5**0.5, 0.1 / 2**0.5))
    torch.testing.assert_close(theta, real(0.5 - 4 / 30 - 0.2 / 5**0.5, 0.45 - 0.15 / 2**0.5))
    theta = steps(theta, real(5.0, 5.0), every(2), eta)
    # From here on the mean forgets a half; the square is a plain average for two estimates more.
    torch.testing.assert_close(steps.mean, real(3.0, 3.0))
    torch.testing.assert_close(steps.square, real(35 / 3, 29 / 3))


def test_worthless_gates_close_in_the_same_time_whatever_they_cost():
    # A filter of ResNet-56 may cost a sixteenth of what its layer does.
    scale = real(1.0, 1 / 16, 3.0, 1e-9)
    steps, theta = GateUpdates(scale, horizon=40), torch.ones(4, dtype=torch.float64)
    for _ in range(39):
        theta = steps(theta, torch.zeros(4), every(4), scale)
    torch.testing.assert_close(theta, torch.full((4,), 1 / 40, dtype=torch.float64))
    theta = steps(theta, torch.zeros(4), every(4), scale)
    assert float(theta.abs().max()) < 1e-12
    # A coefficient that has fallen to half its value closes gates half as fast.
    slower = GateUpdates(scale, horizon=40)
    torch.testing.assert_close(slower(torch.ones(4), torch.zeros(4), every(4), scale / 2), torch.full((4,), 79 / 80))


def test_theta_stays_between_its_ends_and_keeps_its_type():
    steps = GateUpdates(real(1.0, 1.0), horizon=0.5)
    theta = torch.tensor([0.9, 0.1])
    moved = steps(theta, torch.tensor([-9.0, 9.0]), every(2), real(1.0, 1.0))
    assert moved.tolist() == [1.0, 0.0] and moved.dtype == torch.float32
    assert theta.tolist() == pytest.approx([0.9, 0.1])


def test_gates_rest_until_their_first_estimate_and_then_drift_at_the_held_one():
    steps, theta = GateUpdates(real(1.0, 1.0), horizon=100), real(0.9, 0.9)
    nothing = real(math.nan, math.inf)  # means nothing where it is not known
    theta = steps(theta, nothing, torch.tensor([False, False]), real(1.0, 1.0))
    assert theta.tolist() == [0.9, 0.9]
    theta = steps(theta, real(0.5, math.nan), torch.tensor([True, False]), real(1.0, 1.0))
    torch.testing.assert_close(theta, real(0.9 - 0.015, 0.9))
    for _ in range(10):
        theta = steps(theta, nothing, torch.tensor([False, False]), real(1.0, 1.0))
    torch.testing.assert_close(theta, real(0.9 - 11 * 0.015, 0.9))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_gates_that_are_rarely_estimated_drift_like_the_others(ema_decay):
    count, generator = 4000, torch.Generator().manual_seed(0)
    often = torch.arange(count) % 2 == 0
    steps = GateUpdates(torch.ones(count), horizon=400, ema_decay=ema_decay)
    theta = start = torch.full((count,), 0.6, dtype=torch.float64)
    for step in range(200):
        known = often | (torch.rand(count, generator=generator) < 1 / 15) | (step == 0)
        theta = steps(theta, -2 + 0.5 * torch.randn(count, generator=generator), known, torch.ones(count))
    drift = theta - start
    assert float(drift[often].mean()) == pytest.approx(200 / 400 / (4.25**0.5) * 1.0, rel=0.25)
    error = float(drift[~often].std()) / (count / 2) ** 0.5
    assert float(drift[~often].mean()) == pytest.approx(float(drift[often].mean()), abs=4 * error + 0.01)


def walk(
    steps: GateUpdates | None, mean: float, noise: float, updates: int, horizon: float, count: int = 400
) -> Tensor:
    """Theta at the end, of gates with noisy estimates; by plain steps of 1 / horizon where `steps` is None."""
    generator = torch.Generator().manual_seed(1)
    theta = torch.full((count,), 0.9, dtype=torch.float64)
    lowest = theta
    for _ in range(updates):
        delta = mean + noise * torch.randn(count, generator=generator, dtype=torch.float64)
        if steps is None:
            theta = (theta - (delta + 1) / horizon).clamp(0, 1)
        else:
            theta = steps(theta, delta, every(count), torch.ones(count))
        lowest = torch.minimum(lowest, theta)
    return lowest


def test_noise_does_not_close_gates_that_are_worth_more_than_they_cost():
    horizon = 200
    needed = walk(GateUpdates(torch.ones(400), horizon), -1.5, 20.0, 2000, horizon)
    assert float(needed.min()) > 0.2
    plain = walk(None, -1.5, 20.0, 2000, horizon)
    assert float((plain < 0.01).double().mean()) > 0.9
    useless = walk(GateUpdates(torch.ones(400), horizon), 0.0, 1.0, 2 * horizon, horizon)
    assert float(useless.max()) == 0
    # Noisy and useless ones go too, in a time that the noise sets.
    noisy = walk(GateUpdates(torch.ones(400), horizon), 0.0, 5.0, 8 * horizon, horizon)
    assert float((noisy < 0.01).double().mean()) > 0.95


def test_points_of_rest_are_those_of_the_drift():
    # Whatever the noise or the scale, the sign of Delta + eta decides.
    generator = torch.Generator().manual_seed(2)
    scale, delta, eta = torch.rand(3, 50, generator=generator, dtype=torch.float64)
    delta = -2 * delta * eta
    steps, theta = GateUpdates(scale, horizon=0.05), torch.full((50,), 0.5, dtype=torch.float64)
    for _ in range(500):
        theta = steps(theta, delta, every(50), eta)
    assert torch.equal(theta, (delta + eta < 0).double())


def test_a_gate_without_cost_and_effect_rests():
    steps = GateUpdates(real(0.0, 0.0), horizon=10)
    assert steps.step_sizes.tolist() == [0.0, 0.0]
    assert steps(real(0.4, 0.4), real(0.0, -0.1), every(2), real(0.0, 0.0)).tolist() == [0.4, 0.5]


def test_state_goes_over_a_checkpoint():
    generator = torch.Generator().manual_seed(0)

    def advance(updates: GateUpdates, theta: Tensor, count: int) -> Tensor:
        for _ in range(count):
            delta, known, eta = torch.rand(3, 4, generator=generator, dtype=torch.float64)
            theta = updates(theta, delta - 0.5, known > 0.4, 0.1 * eta)
        return theta

    scale = real(0.1, 0.2, 0.3, 0.4)
    uninterrupted = GateUpdates(scale, horizon=50)
    theta = advance(uninterrupted, torch.full((4,), 0.5, dtype=torch.float64), 30)
    state, seed = uninterrupted.state_dict(), generator.get_state()
    end = advance(uninterrupted, theta, 30)
    resumed = GateUpdates(scale, horizon=50)
    resumed.load_state_dict(state)
    generator.set_state(seed)
    assert torch.equal(advance(resumed, theta, 30), end)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, uninterrupted.state_dict()[name]), name


def test_settings_are_shown():
    assert (
        repr(GateUpdates(real(1.0), horizon=1200))
        == "GateUpdates(1 gate, horizon=1200, ema_decay=0.9, square_decay=0.99)"
    )


def test_bad_input():
    for horizon in (0, -1, math.inf, math.nan, True, None):
        with pytest.raises(InputError, match="horizon"):
            GateUpdates(real(1.0), horizon)
    for name in ("ema_decay", "square_decay"):
        for value in (1, -0.1, True, None):
            with pytest.raises(InputError, match=name):
                GateUpdates(real(1.0), 10, **{name: value})
    for value in (math.nan, math.inf):
        with pytest.raises(InputError, match="not finite; lower the learning rate"):
            GateUpdates(real(1.0, 1.0), 10)(real(0.5, 0.5), real(0.1, value), every(2), real(0.1, 0.1))
