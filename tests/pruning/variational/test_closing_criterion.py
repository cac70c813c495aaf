from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from topo.errors import InputError
from topo.pruning.variational.closing_criterion import ClosingCriterion, in_domain_of_attraction, time_to_zero

CASES = 200


@dataclass
class Flow:
    """w' = -decay w - theta grad Delta(w), theta' = -rate (Delta(w) + coefficient) on [0, 1], for many cases at once.

    Delta(w) = K (-c0 |w| + c1 <a1, w> + c2 sin(m <a2, w>) / m + c3 tanh(m <a3, w>) / m), |a_i| = 1, sum |c_i| = 1.
    """

    bound: Tensor
    decay: Tensor
    rate: Tensor
    shares: Tensor  # (cases, 4)
    directions: Tensor  # (cases, 3, dimension)
    steepness: Tensor
    w: Tensor
    theta: Tensor
    coefficient: Tensor

    @property
    def norm(self) -> Tensor:
        return self.w.norm(dim=1)

    def inside(self) -> Tensor:
        return in_domain_of_attraction(self.theta, self.norm, self.bound, self.coefficient, self.decay, self.rate)

    def delta(self) -> tuple[Tensor, Tensor]:
        along = torch.einsum("cid,cd->ci", self.directions, self.w)
        c, m = self.shares, self.steepness
        waves, ramps = m * along[:, 1], (m * along[:, 2]).tanh()
        value = -c[:, 0] * self.norm + c[:, 1] * along[:, 0] + (c[:, 2] * waves.sin() + c[:, 3] * ramps) / m
        slopes = torch.stack([c[:, 1], c[:, 2] * waves.cos(), c[:, 3] * (1 - ramps**2)], 1)
        gradient = torch.einsum("ci,cid->cd", slopes, self.directions)
        gradient = gradient - (c[:, 0] / self.norm.clamp_min(1e-30))[:, None] * self.w
        return self.bound * value, self.bound[:, None] * gradient

    def run(self, duration: Tensor, steps: int) -> Tensor:
        """The time at which theta is 0 for the first time, infinite if never."""
        step, first = duration / steps, torch.full_like(self.theta, torch.inf)
        for k in range(steps):
            value, gradient = self.delta()
            self.w = self.w - step[:, None] * (self.decay[:, None] * self.w + self.theta[:, None] * gradient)
            self.theta = (self.theta - step * self.rate * (value + self.coefficient)).clamp(0, 1)
            first = torch.where(first.isinf() & (self.theta == 0), (k + 1) * step, first)
        return first


def weight(bound: Tensor, decay: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """s and s / K as they stand in the formula."""
    s = (-decay + (decay**2 + 4 * rate * bound**2).sqrt()) / 2
    return s, s / bound


def flow(seed: int, depth: Tensor | float, rate: float | None = None, worst: bool = False) -> Flow:
    """Random cases with V at `depth` times the boundary; the worst Delta = -K |w| or random ones."""
    generator = torch.Generator().manual_seed(seed)

    def random(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(CASES, *shape, generator=generator, dtype=torch.float64)

    bound, decay = random(0.3, 2), random(0.2, 2)
    rates = 10 ** random(-1, 1) if rate is None else torch.full_like(bound, rate)
    shares = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(CASES, 4) if worst else random(-1, 1, 4)
    shares = shares / shares.abs().sum(1, keepdim=True)
    directions = torch.nn.functional.normalize(random(-1, 1, 3, 4), dim=2)
    w = torch.nn.functional.normalize(random(-1, 1, 4), dim=1) * random(0.01, 2, 1)
    theta = random(0.05, 0.95)
    s, ratio = weight(bound, decay, rates)
    coefficient = s * (ratio * w.norm(dim=1) + theta) / (rates * depth)
    return Flow(bound, decay, rates, shares, directions, random(0.5, 4), w, theta, coefficient)


@pytest.mark.slow
@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("rate", [1.0, None])
def test_inside_the_domain_theta_reaches_zero_in_time_and_the_weights_vanish(rate, worst):
    depth = 0.1 + 0.88 * torch.rand(CASES, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    cases = flow(1, depth, rate, worst)
    assert bool(cases.inside().all())
    start = cases.norm
    latest = time_to_zero(cases.theta, start, cases.bound, cases.coefficient, cases.decay, cases.rate)
    assert bool(latest.isfinite().all())
    first = cases.run(1.01 * latest, 1500)
    assert bool((first <= 1.005 * latest).all())
    cases.run(latest + 8 / cases.decay, 1500)
    assert not cases.theta.any()
    assert bool((cases.norm < 0.1 * start).all())


def test_the_bound_on_the_time_is_met_by_the_worst_case():
    # With V far inside and little weight decay in between, nothing is lost but what r still holds at the end.
    cases = flow(2, 0.5, 1.0, worst=True)
    cases.w *= 1e-6
    latest = time_to_zero(cases.theta, cases.norm, cases.bound, cases.coefficient, cases.decay, cases.rate)
    first = cases.run(1.1 * latest, 2000)
    assert bool((first <= latest * 1.002).all())
    slow = cases.bound * cases.coefficient.reciprocal() < 0.5
    assert float((first / latest)[slow].max()) > 0.8


@pytest.mark.slow
def test_beyond_the_boundary_the_worst_case_stays():
    cases = flow(3, 1.05, worst=True)
    assert not bool(cases.inside().any())
    assert bool(
        time_to_zero(cases.theta, cases.norm, cases.bound, cases.coefficient, cases.decay, cases.rate).isinf().all()
    )
    s, _ = weight(cases.bound, cases.decay, cases.rate)
    # Where the saddle point (eta/K, lambda eta/K^2) has a theta below 1, the weights can hold the gate open.
    held = (cases.decay * cases.coefficient / cases.bound**2 < 0.7) & (cases.coefficient < cases.bound)
    assert int(held.sum()) >= 30
    cases.run(8 / s, 1500)
    assert float((cases.theta[held] > 0).double().mean()) > 0.95
    # ... and just inside of it none does.
    just = flow(3, 0.95, worst=True)
    just.run(20 / s + 8 / just.decay, 2000)
    assert not just.theta.any()


def test_the_saddle_point_lies_on_the_boundary():
    cases = flow(4, 0.5, worst=True)
    s, ratio = weight(cases.bound, cases.decay, cases.rate)
    r, theta = cases.coefficient / cases.bound, cases.decay * cases.coefficient / cases.bound**2
    torch.testing.assert_close(ratio * r + theta, cases.rate * cases.coefficient / s)
    torch.testing.assert_close(-cases.decay * r + cases.bound * theta, torch.zeros_like(r), atol=1e-12, rtol=0)


def test_the_domain_depends_on_the_rate_of_theta():
    # When theta moves ten times slower than the weights, the formula for equal rates promises too much.
    cases = flow(5, 1.3, 0.1, worst=True)
    equal = in_domain_of_attraction(cases.theta, cases.norm, cases.bound, cases.coefficient, cases.decay, 1.0)
    assert int(equal.sum()) >= 15
    s, _ = weight(cases.bound, cases.decay, cases.rate)
    cases.run(8 / s, 1500)
    assert float((cases.theta[equal] > 0).double().mean()) > 0.5


def test_a_bound_of_the_value_alone_does_not_suffice():
    # Delta = -K r h(r) with a smooth step h at r = 0.2 obeys |Delta| <= K r, but kicks w outwards where the step is.
    bound, decay, coefficient, r, theta, step = 1.0, 0.1, 1.0, 0.145, 0.9, 1e-3
    start = [torch.tensor([x], dtype=torch.float64) for x in (theta, r, bound, coefficient)]
    assert bool(in_domain_of_attraction(*start, decay))
    for _ in range(20_000):
        h = 1 / (1 + math.exp(-(r - 0.2) / 0.03))
        slope = -bound * (h + r * h * (1 - h) / 0.03)
        r, theta = r - step * (decay * r + theta * slope), theta + step * (bound * r * h - coefficient)
        theta = min(max(theta, 0.0), 1.0)
    assert theta == 1 and r > 1


def test_the_domain_is_a_triangle_that_is_not_empty():
    grid = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    r, theta = torch.meshgrid(grid, grid, indexing="ij")
    for bound, decay, coefficient, rate in ((1.0, 0.5, 0.5, 1.0), (0.2, 5e-4, 0.1, 1.0), (0.5, 0.1, 0.2, 3.0)):
        same = torch.full_like(r, bound)
        share = in_domain_of_attraction(theta, r, same, torch.full_like(r, coefficient), decay, rate).double().mean()
        s, ratio = weight(*(torch.tensor(x, dtype=torch.float64) for x in (bound, decay, rate)))
        top = rate * coefficient / s
        side = (top / ratio).clamp(max=1)
        area = side * (top.clamp(max=1) + (top - ratio * side).clamp(0, 1)) / 2
        if top <= 1:
            assert float(share) == pytest.approx(float(area), abs=2e-3)
        assert 0.02 < float(share) < 0.98


def test_limits_are_finite_and_right():
    one = torch.ones(1, dtype=torch.float64)
    zero = 0 * one
    # K = 0: nothing holds the gate, theta falls at rho eta.
    assert bool(in_domain_of_attraction(one, one, zero, 0.1 * one, 0.0)) and bool(
        in_domain_of_attraction(one, one, zero, 0.1 * one, 0.3)
    )
    assert float(time_to_zero(one, one, zero, 0.1 * one, 0.3, 2.0)) == pytest.approx(5)
    assert float(time_to_zero(one, zero, 1e-7 * one, 0.1 * one, 0.3, 2.0)) == pytest.approx(5, rel=1e-6)
    # No complexity to gain: never.
    assert not bool(in_domain_of_attraction(zero, zero, one, zero, 0.1)) and not bool(
        in_domain_of_attraction(zero, zero, zero, zero, 0.1)
    )
    # lambda = 0, rho = 1: |w| + theta < eta / K.
    assert bool(in_domain_of_attraction(0.3 * one, 0.19 * one, 2 * one, one, 0.0))
    assert not bool(in_domain_of_attraction(0.3 * one, 0.21 * one, 2 * one, one, 0.0))


def test_the_running_estimate_is_a_decayed_maximum_of_each_gate():
    criterion = ClosingCriterion(3, bound_decay=0.5, min_updates=1, patience=3)
    theta, norm = torch.full((3,), 0.5), torch.tensor([1.0, 2.0, 0.0])
    every = torch.ones(3, dtype=torch.bool)
    criterion.update(theta, torch.tensor([0.8, -0.8, 0.0]), every, norm)
    torch.testing.assert_close(criterion.bound, torch.tensor([0.8, 0.4, 0.0], dtype=torch.float64))
    criterion.update(theta, torch.tensor([0.1, 9.0, 9.0]), torch.tensor([True, False, False]), norm)
    torch.testing.assert_close(criterion.bound, torch.tensor([0.4, 0.4, 0.0], dtype=torch.float64))
    assert criterion.updates.tolist() == [2, 1, 1]


def test_gates_close_by_the_domain_once_trusted_or_after_resting_near_zero():
    criterion = ClosingCriterion(4, min_updates=3, patience=5, margin=0.5)
    norm, eta = torch.full((4,), 0.1), torch.full((4,), 0.5)
    theta = torch.tensor([0.1, 0.9, 0.005, 0.005])
    delta = torch.tensor([0.01, -0.3, 0.3, 0.3])
    known = torch.tensor([True, True, True, False])
    seen = []
    for step in range(6):
        if step == 4:
            theta[3] = 0.02  # interrupts its rest
        criterion.update(theta, delta, known, norm)
        seen.append(criterion.may_close(theta, norm, eta, weight_decay=0.1).tolist())
        theta[3] = 0.005
    assert [row[0] for row in seen] == [False, False, True, True, True, True]
    assert not any(row[1] for row in seen)
    assert [row[2] for row in seen] == [False] * 4 + [True] * 2
    # K of the last gate was never seen, and 0 is not trusted.
    assert not any(row[3] for row in seen)


def test_the_margin_asks_for_a_larger_distance():
    norm, eta, theta = torch.tensor([0.1]), torch.tensor([0.5]), torch.tensor([0.2])
    closing = []
    for margin in (1.0, 0.9, 0.3, 0.0):
        criterion = ClosingCriterion(1, min_updates=1, margin=margin)
        criterion.update(theta, torch.tensor([0.1]), torch.tensor([True]), norm)
        closing.append(bool(criterion.may_close(theta, norm, eta, weight_decay=0.0)))
    # s = K = 1: 0.3 < margin 0.5
    assert closing == [True, True, False, False]


def test_state_goes_over_a_checkpoint():
    generator = torch.Generator().manual_seed(0)

    def advance(criterion: ClosingCriterion, steps: int) -> None:
        for _ in range(steps):
            theta, delta, norm = torch.rand(3, 4, generator=generator)
            criterion.update(0.02 * theta, delta, delta > 0.3, norm)

    uninterrupted = ClosingCriterion(4)
    advance(uninterrupted, 5)
    state, seed = uninterrupted.state_dict(), generator.get_state()
    advance(uninterrupted, 5)
    resumed = ClosingCriterion(4)
    resumed.load_state_dict(state)
    generator.set_state(seed)
    advance(resumed, 5)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, uninterrupted.state_dict()[name]), name
    assert state["updates"].max() <= 5


def test_bad_settings():
    for name in ("bound_decay", "margin", "threshold"):
        for value in (-0.1, 1.1, True, None):
            with pytest.raises(InputError, match=name):
                ClosingCriterion(1, **{name: value})
