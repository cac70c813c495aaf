from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from tests.pruning.variational.toys import Blocks, differences, multilinear, probabilities, vertices
from topo.errors import InputError
from topo.pruning.variational.objective import (
    best_prior,
    check_knobs,
    coefficients,
    divergence,
    log_hyper_prior,
    minimum,
)

LOG_GAMMAS = [-3.0, -0.01, 0.0, 1e-9, 0.7, 5.0, 60.0, 2000.0]


def real(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("log_gamma", [a for a in LOG_GAMMAS if a < 100])
def test_the_hyper_prior_is_the_density_of_the_formula(log_gamma):
    # Substituted t = log(pi), because for a large gamma all mass lies close to 0.
    t = torch.linspace(-80, 0, 400_001, dtype=torch.float64)
    mass = torch.trapezoid((log_hyper_prior(t.exp(), real(log_gamma)) + t).exp(), t)
    assert float(mass) == pytest.approx(1, abs=1e-6)
    if abs(log_gamma) > 0.1:
        gamma, pi = math.exp(log_gamma), 0.37
        plain = (gamma - 1) / log_gamma / (1 + (gamma - 1) * pi)
        assert float(log_hyper_prior(real(pi), real(log_gamma))) == pytest.approx(math.log(plain), rel=1e-12)


@pytest.mark.parametrize("log_gamma", [-3.0, -0.01, 0.0, 0.7, 5.0, 9.0])
@pytest.mark.parametrize("theta", [0.01, 0.3, 0.9, 0.999])
def test_the_least_over_the_prior_is_linear_in_theta(theta, log_gamma):
    a = real(log_gamma)

    def value(logit: float) -> float:
        pi = torch.sigmoid(real(logit))
        return float(divergence(real(theta), pi) - log_hyper_prior(pi, a))

    best_logit = minimize_scalar(value, bounds=(-40, 20), method="bounded", options={"xatol": 1e-9})
    best = best_prior(real(theta), a)
    assert float(best.logit()) == pytest.approx(best_logit.x, abs=1e-5)
    assert float(minimum(real(theta), a)) == pytest.approx(best_logit.fun, abs=1e-10)
    slope = minimum(real(0.8), a) - minimum(real(0.3), a)
    assert float(slope) == pytest.approx(0.5 * log_gamma, abs=1e-12)


def test_the_formula_of_the_best_prior_is_where_the_derivative_vanishes():
    generator = torch.Generator().manual_seed(0)
    theta, u = torch.rand(2, 200, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    a = 12 * u - 3
    pi = best_prior(theta, a).requires_grad_()
    value = divergence(theta, pi) - log_hyper_prior(pi, a)
    slope = torch.autograd.grad(value.sum(), pi, create_graph=True)[0]
    curvature = torch.autograd.grad(slope.sum(), pi)[0]
    assert float((slope * pi * (1 - pi)).detach().abs().max()) < 1e-12
    assert bool((curvature > 0).all())


def test_extreme_gammas_and_ends_stay_finite():
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for log_gamma in LOG_GAMMAS:
        assert bool(minimum(ends, real(log_gamma)).isfinite().all())
        assert best_prior(ends, real(min(log_gamma, 600.0))).tolist() == [0.0, 1.0]
    assert float(minimum(real(0.0), real(0.0))) == 0
    # log((gamma - 1) / log gamma) = a/2 + a^2/24 + ...
    assert float(minimum(real(0.0), real(1e-9))) == pytest.approx(-5e-10, rel=1e-6)


def blocks(seed: int = 0, square: float = 0.0) -> tuple[Blocks, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    linear, quadratic = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    complexity = Blocks(4, 3, linear, square * quadratic)
    return complexity, torch.rand(15, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.5, 1.0])
def test_value_matching_of_basic_blocks_gives_nu_times_the_complexity(kappa):
    complexity, theta = blocks()
    eta = coefficients(complexity, theta, 0.7, kappa, 0.5, "value")
    gradient = complexity.gradient(theta, 0.5)
    layers = complexity.gates.is_layer
    torch.testing.assert_close(eta[layers], 0.7 * kappa * gradient[layers])
    torch.testing.assert_close(eta[~layers], 0.7 * (1 - kappa) * gradient[~layers])
    torch.testing.assert_close(torch.dot(eta, theta), 0.7 * (complexity.relative(theta, 0.5) - 0.3))


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.5, 1.0])
def test_value_matching_gives_nu_times_the_complexity_in_other_networks_too(kappa):
    # A bottleneck's middle convolution costs theta_l s s': nu w dC/dtheta would count its units twice.
    complexity, theta = blocks(square=1.0)
    gated = complexity.relative(theta, 0.5) - 0.3
    eta = coefficients(complexity, theta, 0.7, kappa, 0.5, "value")
    torch.testing.assert_close(torch.dot(eta, theta), 0.7 * gated)
    plain = coefficients(complexity, theta, 0.7, kappa, 0.5, "gradient") / 2
    ratio = eta / plain.where(plain > 0, 1.0)
    assert float(ratio[plain > 0].std()) < 1e-12
    if kappa < 1:
        assert float(torch.dot(plain, theta)) > 1.02 * 0.7 * float(gated)


def test_gradient_matching_is_the_gradient_of_the_complexity_balanced():
    complexity, theta = blocks(square=1.0)
    gradient, layers = complexity.gradient(theta, 0.5), complexity.gates.is_layer
    torch.testing.assert_close(coefficients(complexity, theta, 3.0, 0.5, 0.5), 3 * gradient)
    tilted = coefficients(complexity, theta, 3.0, 0.8, 0.5)
    torch.testing.assert_close(tilted[layers], 3 * 1.6 * gradient[layers])
    torch.testing.assert_close(tilted[~layers], 3 * 0.4 * gradient[~layers])
    assert not coefficients(complexity, theta, 3.0, 0.0, 0.5)[layers].any()
    assert not coefficients(complexity, theta, 3.0, 1.0, 0.5)[~layers].any()


@pytest.mark.slow
def test_at_a_vertex_a_gate_stays_if_closing_it_costs_more_than_its_complexity():
    complexity = Blocks(2, 2, real(0.4).expand(2), real(0.2).expand(2))
    loss = multilinear(6, seed=3)
    every = vertices(6)
    nu = 0.9
    cost = torch.stack([loss(v) + nu * complexity.relative(v, 0.5) for v in every])
    weights = 2 ** torch.arange(5, -1, -1)
    stays = 0
    for v in every:
        drift = differences(loss, v) + coefficients(complexity, v, nu, 0.5, 0.5)
        for gate in range(6):
            opened, closed = (cost[int(v.index_fill(0, torch.tensor(gate), x) @ weights.double())] for x in (1.0, 0.0))
            torch.testing.assert_close(drift[gate], opened - closed)
            stays += int(drift[gate] < 0)
    assert 0 < stays < 6 * len(every)


def test_toys_agree_with_their_own_definitions():
    theta = torch.rand(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(probabilities(vertices(5), theta).sum()) == pytest.approx(1)


def test_a_network_with_units_only_is_indifferent_to_kappa_under_value_matching():
    class Plain:
        gates = type("Gates", (), {"is_layer": torch.zeros(4, dtype=torch.bool)})

        def relative(self, theta, alpha):
            return 0.1 + theta[:2].sum() * theta[2:].sum()

        def gradient(self, theta, alpha):
            return torch.stack([theta[2:].sum()] * 2 + [theta[:2].sum()] * 2)

    theta = torch.tensor([0.2, 0.9, 0.5, 0.4], dtype=torch.float64)
    etas = [coefficients(Plain(), theta, 1.0, kappa, 0.5, "value") for kappa in (0.0, 0.5, 0.9)]
    torch.testing.assert_close(etas[0], etas[1])
    torch.testing.assert_close(etas[0], etas[2])
    assert not coefficients(Plain(), torch.zeros(4, dtype=torch.float64), 1.0, 0.5, 0.5, "value").any()


def test_bad_knobs_are_named():
    for knobs, name in (
        ((-1.0, 0.5, 0.5), "nu"),
        ((math.nan, 0.5, 0.5), "nu"),
        ((math.inf, 0.5, 0.5), "nu"),
        ((1.0, 1.01, 0.5), "kappa"),
        ((1.0, None, 0.5), "kappa"),
        ((1.0, 0.5, -0.1), "alpha"),
        ((1.0, 0.5, True), "alpha"),
    ):
        with pytest.raises(InputError, match=rf"^{name} \("):
            check_knobs(*knobs)
    check_knobs(0, 1, 0.0)
    units, layers = torch.zeros(3, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    check_knobs(1.0, 0.99, 0.5, units)
    with pytest.raises(InputError, match="no gates of layers"):
        check_knobs(1.0, 1.0, 0.5, units)
    with pytest.raises(InputError, match="no gates of units"):
        check_knobs(1.0, 0.0, 0.5, layers)
    complexity, theta = blocks()
    with pytest.raises(InputError, match="did you mean 'value'"):
        coefficients(complexity, theta, 1.0, 0.5, 0.5, "values")
