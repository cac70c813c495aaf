from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pruning.variational.toys import bent, differences, expected, multilinear, probabilities, slope, vertices
from topo.errors import InputError
from topo.pruning.variational.estimators import (
    ESTIMATORS,
    ByKind,
    Exact,
    StraightThrough,
    Trapezoid,
    Uniform,
    make_estimator,
    reuse_loss,
)

COUNT = 5
LOSSES = {"multilinear": multilinear(COUNT, 0), "bent": bent(COUNT, 1), "many sets": multilinear(COUNT, 2)}
THETA = torch.tensor([0.9, 0.3, 0.5, 0.97, 0.6], dtype=torch.float64)
NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))


def one(gate: int) -> Tensor:
    return torch.arange(COUNT) == gate


def everywhere(method, loss, theta: Tensor) -> Tensor:
    """The mean estimate over all draws of 0/1 gates, of an estimator that knows all gates."""
    xi = vertices(len(theta))
    chosen = torch.ones(len(theta), dtype=torch.bool)
    estimate = torch.stack([method.delta(theta, row, slope(loss, row), chosen)[0] for row in xi])
    return (probabilities(xi, theta)[:, None] * estimate).sum(0)


@pytest.mark.parametrize("name", LOSSES)
def test_exact_differences_are_unbiased_whatever_the_loss(name):
    loss, xi = LOSSES[name], vertices(COUNT)
    delta = differences(loss, THETA)
    for gate in range(COUNT):
        estimate, known = zip(*(Exact().delta(THETA, row, None, one(gate), loss) for row in xi))
        assert all(torch.equal(k, one(gate)) for k in known)
        mean = (probabilities(xi, THETA)[:, None] * torch.stack(estimate)).sum(0)
        torch.testing.assert_close(mean, delta * one(gate))


@pytest.mark.parametrize("name", LOSSES)
def test_one_uniform_gate_at_a_time_is_unbiased_whatever_the_loss(name):
    loss, xi = LOSSES[name], vertices(COUNT - 1)
    delta = differences(loss, THETA)
    for gate in range(COUNT):
        weight = probabilities(xi, THETA[~one(gate)])
        mean = torch.zeros(COUNT, dtype=torch.float64)
        for node, share in zip((NODES + 1) / 2, WEIGHTS / 2):
            for row, probability in zip(xi, weight):
                gates = torch.cat([row[:gate], node[None], row[gate:]])
                estimate, known = Uniform().delta(THETA, gates, slope(loss, gates), one(gate))
                assert torch.equal(known, one(gate))
                mean += share * probability * estimate
        torch.testing.assert_close(mean, delta * one(gate), rtol=1e-9, atol=1e-10)


def two_uniform(loss, theta: Tensor) -> Tensor:
    """The mean estimate for gate 0 when gate 1 is uniform too, minus its Delta."""
    xi, chosen, mean = vertices(COUNT - 2), one(0) | one(1), 0.0
    for row, probability in zip(xi, probabilities(xi, theta[2:])):
        for a, share_a in zip((NODES + 1) / 2, WEIGHTS / 2):
            for b, share_b in zip((NODES + 1) / 2, WEIGHTS / 2):
                gates = torch.cat([a[None], b[None], row])
                estimate, _ = Uniform(0.4).delta(theta, gates, slope(loss, gates), chosen)
                mean = mean + probability * share_a * share_b * estimate[0]
    return mean - differences(loss, theta)[0]


def test_two_uniform_gates_at_once_see_each_other_half_open():
    loss = LOSSES["multilinear"]
    # Delta_0 is linear in theta_1; a uniform gate 1 counts as theta_1 = 1/2.
    half = THETA.index_fill(0, torch.tensor(1), 0.5)
    bias = differences(loss, half)[0] - differences(loss, THETA)[0]
    assert abs(bias) > 0.1
    torch.testing.assert_close(two_uniform(loss, THETA), bias)
    assert abs(float(two_uniform(loss, half))) < 1e-12
    assert abs(float(two_uniform(LOSSES["bent"], half))) > 1e-3


def test_straight_through_is_right_for_losses_linear_in_each_gate_only():
    loss = LOSSES["multilinear"]
    torch.testing.assert_close(everywhere(StraightThrough(), loss, THETA), differences(loss, THETA))
    # Of a quadratic the bias is (theta - 1/2) f'': of opposite signs on the two sides of 1/2.
    curvature = torch.tensor([2.0, 2.0, 2.0, 0.5, -3.0], dtype=torch.float64)

    def quadratic(xi: Tensor) -> Tensor:
        return loss(xi) + (curvature / 2 * xi**2).sum()

    bias = everywhere(StraightThrough(), quadratic, THETA) - differences(quadratic, THETA)
    torch.testing.assert_close(bias, (THETA - 0.5) * curvature)
    torch.testing.assert_close(everywhere(Trapezoid(0.02), quadratic, THETA), differences(quadratic, THETA))


def test_bias_of_the_trapezoid_is_that_of_the_rule():
    mixing = torch.rand(3, COUNT, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def loss(xi: Tensor) -> Tensor:
        return (mixing @ xi).exp().sum()

    delta = differences(loss, THETA)
    bias = everywhere(Trapezoid(0.02), loss, THETA) - delta
    # The rule is off by a twelfth of the third derivative somewhere in between. Here that is sum_k m_k^3 exp(..), least
    # where all gates are closed and largest where all are open.
    least, most = (mixing**3).sum(0) / 12, (mixing**3 * mixing.sum(1).exp()[:, None]).sum(0) / 12
    assert bool((bias > least).all()) and bool((bias < most).all())
    # The slope rises, so that straight-through adds to this where gates are open more often, and takes away elsewhere.
    straight = everywhere(StraightThrough(), loss, THETA) - delta
    rise = torch.stack([_rise(loss, gate) for gate in range(COUNT)])
    torch.testing.assert_close(straight - bias, (THETA - 0.5) * rise)
    assert float(straight[0] / bias[0]) > 3


def _rise(loss, gate: int) -> Tensor:
    """E[f'(1) - f'(0)] over the other gates."""
    xi = vertices(COUNT)
    slopes = torch.stack([slope(loss, row)[gate] for row in xi])
    weight = probabilities(xi, THETA.index_fill(0, torch.tensor(gate), 0.5)) * 2
    return (weight * slopes * (2 * xi[:, gate] - 1)).sum()


@pytest.mark.parametrize("theta", [0.0, 1e-9, 0.01, 0.05, 0.5, 0.93, 0.999, 1.0])
def test_weights_of_the_trapezoid_average_to_one_and_stay_bounded(theta):
    probabilities_open = torch.full((2,), theta, dtype=torch.float64)
    xi, every = torch.tensor([0.0, 1.0]), torch.ones(2, dtype=torch.bool)
    weight, known = Trapezoid(0.05).delta(probabilities_open, xi, torch.ones(2), every)
    assert known.all()
    closed, opened = weight.tolist()
    mean = (theta * opened if theta > 0 else 0.0) + ((1 - theta) * closed if theta < 1 else 0.0)
    assert mean == pytest.approx(1)
    assert (theta == 0 or opened <= 10) and (theta == 1 or closed <= 10)
    if 0.05 <= theta <= 0.95:
        assert opened == pytest.approx(1 / (2 * theta)) and closed == pytest.approx(1 / (2 * (1 - theta)))


def test_estimates_are_close_in_expectation_when_drawn():
    # All four, through their own draws, on a loss where three of them are unbiased: the path from draw to estimate.
    loss, generator = LOSSES["multilinear"], torch.Generator().manual_seed(0)
    delta = differences(loss, THETA)
    for name in ESTIMATORS:
        method = make_estimator(name, torch.zeros(COUNT, dtype=torch.bool))
        total, seen, square = torch.zeros(3, COUNT, dtype=torch.float64)
        for _ in range(600):
            xi, chosen = method.draw(THETA, generator)
            estimate, known = method.delta(THETA, xi, slope(loss, xi), chosen, loss)
            assert not estimate[~known].any()
            total, seen, square = total + estimate, seen + known, square + estimate**2
        assert int(seen.sum()) == 600 * (COUNT if name in ("straight-through", "trapezoid") else 1)
        error = (square / seen - (total / seen) ** 2).sqrt() / seen.sqrt()
        assert bool(((total / seen - delta).abs() < 4 * error + 1e-9).all()), name


def test_draws_are_seeded_and_certain_gates_are_certain():
    theta = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float32).repeat(300)
    for name in ESTIMATORS:
        method = ESTIMATORS[name]()
        xi, chosen = method.draw(theta, torch.Generator().manual_seed(3))
        again = method.draw(theta, torch.Generator().manual_seed(3))
        assert torch.equal(xi, again[0]) and torch.equal(chosen, again[1])
        assert xi.dtype == torch.float32 and chosen.dtype == torch.bool
        drawn = xi[~chosen] if name == "uniform" else xi
        sure = theta[~chosen] if name == "uniform" else theta
        assert not drawn[sure == 0].any() and drawn[sure == 1].all()
        assert 0.35 < float(drawn[sure == 0.5].mean()) < 0.65


@pytest.mark.parametrize(("gates", "least", "most"), [(0.25, 0, 1), (1, 1, 1), (2.5, 2, 3), (100, 7, 7)])
def test_how_many_gates_are_chosen(gates, least, most):
    theta, generator = torch.full((7,), 0.9), torch.Generator().manual_seed(0)
    chosen = torch.stack([Exact(gates).draw(theta, generator)[1] for _ in range(2000)])
    counts = chosen.sum(1).double()
    assert int(counts.min()) == least and int(counts.max()) == most
    assert float(counts.mean()) == pytest.approx(min(gates, 7), abs=0.05)
    # every gate is as likely as every other one
    assert float((chosen.double().mean(0) / counts.mean() * 7 - 1).abs().max()) < 0.35


@pytest.mark.parametrize(("rate", "mean"), [(0.5, 1), (0.1, 0.7), (0.02, 0.14)])
def test_no_more_exact_differences_than_are_needed(rate, mean):
    method, generator = make_estimator("exact", torch.ones(7, dtype=torch.bool), rate), torch.Generator().manual_seed(0)
    counts = torch.stack([method.draw(torch.full((7,), 0.9), generator)[1].sum() for _ in range(2000)]).double()
    assert float(counts.mean()) == pytest.approx(mean, abs=0.05) and int(counts.max()) == 1
    both = make_estimator("layers:exact,units:exact", torch.tensor([True, False]), rate)
    assert both.layers == both.units == method == Exact(rate=rate)


@pytest.mark.parametrize(("share", "mean"), [(0.0, 1), (0.01, 1), (0.05, 2), (0.0625, 2.5), (1.0, 40)])
def test_how_many_gates_are_uniform(share, mean):
    theta, generator = torch.full((40,), 0.9), torch.Generator().manual_seed(0)
    counts = torch.stack([Uniform(share).draw(theta, generator)[1].sum() for _ in range(500)]).double()
    assert float(counts.mean()) == pytest.approx(mean, abs=0.1)
    assert int(counts.max() - counts.min()) == (mean % 1 > 0)


def test_layers_and_units_have_their_own_estimators():
    is_layer = torch.tensor([False, True, False, False, True])
    loss = LOSSES["bent"]
    method = make_estimator("layers:exact, units:trapezoid", is_layer)
    xi, chosen = method.draw(THETA, torch.Generator().manual_seed(1))
    assert bool(chosen[~is_layer].all()) and int(chosen[is_layer].sum()) == 1
    g, asked = slope(loss, xi), []

    def watched(other: Tensor) -> Tensor:
        asked.append(other)
        return loss(other)

    estimate, known = method.delta(THETA, xi, g, chosen, watched)
    assert torch.equal(known, chosen)
    torch.testing.assert_close(
        estimate[~is_layer], Trapezoid().delta(THETA[~is_layer], xi[~is_layer], g[~is_layer], chosen[~is_layer])[0]
    )
    torch.testing.assert_close(estimate[is_layer], Exact().delta(THETA, xi, g, chosen & is_layer, loss)[0][is_layer])
    assert len(asked) == 2
    assert all(torch.equal(other[~chosen | ~is_layer], xi[~chosen | ~is_layer]) for other in asked)


def test_a_kind_of_gates_may_be_missing_and_estimators_may_be_given():
    method = make_estimator({"layers": "exact", "units": Uniform(0.4)}, torch.zeros(COUNT, dtype=torch.bool))
    assert isinstance(method, ByKind)
    xi, chosen = method.draw(THETA, torch.Generator().manual_seed(1))
    estimate, known = method.delta(THETA, xi, slope(LOSSES["bent"], xi), chosen, LOSSES["bent"])
    assert int(known.sum()) == 2 and int((estimate != 0).sum()) == 2
    assert make_estimator(Exact(3), torch.zeros(2)) == Exact(3)


def test_the_loss_of_the_step_is_not_evaluated_again():
    calls = []

    def loss(xi: Tensor) -> Tensor:
        calls.append(xi)
        return LOSSES["bent"](xi)

    xi = vertices(COUNT)[11]
    estimate = Exact().delta(THETA, xi, None, one(2), loss)[0]
    assert len(calls) == 2
    kept = reuse_loss(loss, xi, float(LOSSES["bent"](xi)))
    assert torch.equal(Exact().delta(THETA, xi, None, one(2), kept)[0], estimate)
    assert len(calls) == 3


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_loss_is_multilinear_and_least_at_a_vertex(seed):
    loss = bent(COUNT, seed) if seed % 2 else multilinear(COUNT, seed)
    theta = torch.rand(COUNT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda t: expected(loss, t), theta)
    assert float(hessian.diagonal().abs().max()) < 1e-12 < float(hessian.abs().max())
    gradient = torch.autograd.functional.jacobian(lambda t: expected(loss, t), theta)
    torch.testing.assert_close(gradient, differences(loss, theta))
    # With linear terms added it stays multilinear: from any point, moving gate after gate to its better end goes down.
    eta = torch.rand(COUNT, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def objective(t: Tensor) -> float:
        return float(expected(loss, t) + t @ eta)

    corner = theta.clone()
    for gate in range(COUNT):
        before = objective(corner)
        drift = differences(loss, corner)[gate] + eta[gate]
        corner[gate] = 0.0 if drift > 0 else 1.0
        assert objective(corner) <= before
    least = min(objective(v) for v in vertices(COUNT))
    assert least <= objective(corner) < objective(theta)


def test_bad_names_and_settings():
    layers = torch.tensor([True, False])
    for which, text in (
        ("exakt", "did you mean 'exact'"),
        ("layers:exact", "gates of units have no estimator"),
        ("layers:exact,unit:exact", "did you mean 'units'"),
        ({"layers": "exact", "units": "trapez"}, "did you mean 'trapezoid'"),
    ):
        with pytest.raises(InputError, match=text):
            make_estimator(which, layers)
    for wrong in (0, -1, True, "two", float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"gates of the estimator .* above 0"):
            Exact(wrong)
    for wrong in (0, -1, True, "two", float("nan")):
        with pytest.raises(InputError, match=r"rate of the estimator .* above 0"):
            Exact(rate=wrong)
    for wrong in (0, 0.6, True, None):
        with pytest.raises(InputError, match=r"floor of the estimator .* above 0"):
            Trapezoid(wrong)
    for wrong in (-0.1, 1.1, True, None, float("nan")):
        with pytest.raises(InputError, match=r"share of the estimator .* from 0 to 1"):
            Uniform(wrong)
    with pytest.raises(InputError, match="function of the gates"):
        Exact().delta(torch.rand(2), torch.ones(2), None, layers)
