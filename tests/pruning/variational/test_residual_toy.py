"""A small residual network under gates: what each estimator sees, and where it takes theta for fixed weights."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor

from tests.pruning.variational.toys import Residual, probabilities
from topo.pruning.variational.estimators import StraightThrough, Trapezoid

SEEDS = range(4)
THETA = 0.9
METHODS = {"straight-through": StraightThrough(), "trapezoid": Trapezoid(0.02)}


@functools.cache
def trained(seed: int) -> Residual:
    """Two blocks of three units; the loss falls from chance, ln 4 = 1.39 and more, to about a quarter of it."""
    net = Residual(blocks=2, units=3, seed=seed)
    net.train_weights(400, THETA, rate=0.05)
    return net


@functools.cache
def enumerated(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return trained(seed).everywhere()


def drift(seed: int, theta: Tensor, method: str) -> Tensor:
    """Delta, or the mean of what a method takes for it, over all gates that can be drawn."""
    xi, loss, g = enumerated(seed)
    theta = theta.clamp(1e-9, 1 - 1e-9)
    weight = probabilities(xi, theta)
    if method == "exact":
        return (weight * loss) @ (xi / theta - (1 - xi) / (1 - theta))
    estimate, _ = METHODS[method].delta(theta, xi, g, torch.ones_like(xi, dtype=torch.bool))
    return weight @ estimate


def against_delta(method: str, layers: bool) -> tuple[float, int, int]:
    """Slope of the regression on Delta through the origin, flipped signs, number of gates; all seeds."""
    of_kind = trained(0).is_layer == layers
    theta = torch.full((8,), THETA, dtype=torch.float64)
    delta, estimate = (torch.cat([drift(s, theta, m)[of_kind] for s in SEEDS]) for m in ("exact", method))
    return float(estimate @ delta / (delta @ delta)), int((estimate * delta < 0).sum()), len(delta)


@pytest.mark.slow
def test_the_toy_has_learnt_and_its_layers_matter():
    for seed in SEEDS:
        assert float(enumerated(seed)[1][-1]) < 0.5 * math.log(4)
        delta = drift(seed, torch.full((8,), THETA, dtype=torch.float64), "exact")
        assert bool((delta[trained(seed).is_layer] < -0.001).all())


def test_straight_through_sees_a_fraction_of_delta_and_the_trapezoid_most_of_it():
    for layers in (False, True):
        slope, flips, gates = against_delta("straight-through", layers)
        assert 0 < slope < 0.6
        assert 0 < flips < gates / 2
        better, few, _ = against_delta("trapezoid", layers)
        assert 0.7 < better < 1.3
        assert few < flips


@pytest.mark.parametrize("seed", SEEDS)
def test_an_open_gate_has_the_slope_of_its_weights(seed):
    # xi g = <w, dloss/dw>: of weights at rest the mean is -lambda |w|^2, whatever the gate is worth.
    net, theta = trained(seed), torch.full((8,), THETA, dtype=torch.float64)
    xi, _, g = enumerated(seed)
    weight = probabilities(xi, theta)
    (slope,) = torch.autograd.grad(weight @ net.loss(xi), net.outer)
    along = (net.outer * slope).detach().sum(2)
    torch.testing.assert_close(weight @ (xi * g), torch.cat([along.flatten(), along.sum(1)]))


def descend(seed: int, method: str, eta: float) -> Tensor:
    theta = torch.full((8,), THETA, dtype=torch.float64)
    for _ in range(600):
        theta = (theta - 0.02 / eta * (drift(seed, theta, method) + eta)).clamp(0, 1)
    return theta


def test_only_straight_through_rests_between_open_and_closed():
    eta, resting = 0.01, 0
    for seed in SEEDS:
        ends = {method: descend(seed, method, eta) for method in ("exact", "trapezoid", "straight-through")}
        assert bool(((ends["exact"] == 0) | (ends["exact"] == 1)).all())
        # The trapezoid may hover where its floor moves it to the slope of open gates, close to the ends.
        inner = {method: (theta > 0.1) & (theta < 0.9) for method, theta in ends.items()}
        assert not inner["trapezoid"].any()
        theta = ends["straight-through"]
        at_rest = (drift(seed, theta, "straight-through") + eta).abs() < 0.01 * eta
        # There the drift of the objective goes on.
        goes_on = (drift(seed, theta, "exact") + eta).abs() > 0.05 * eta
        resting += int((inner["straight-through"] & at_rest & goes_on).sum())
    assert resting >= 5
