"""Estimators of Delta_j = E[loss | xi_j = 1] - E[loss | xi_j = 0]: how gates are drawn, and how a step estimates Delta.

With f the loss of a mini-batch as a function of xi_j alone, Delta_j is the mean over the other gates of f(1) - f(0),
the integral of f' from 0 to 1. A backward pass gives f' at one point only. Each estimator is for a step of training::

    xi, chosen = estimator.draw(theta, generator)          # before the forward pass
    delta, known = estimator.delta(theta, xi, g, chosen, loss)   # after the backward pass, g = dloss/dxi

All tensors have shape (count,); xi and delta are floating, chosen and known boolean. `known` marks the gates that got
an estimate in this step; where it is False, delta is 0 and means nothing. An estimator of few gates at a time picks
them at random, all with the same probability; `GateUpdates` then holds the last estimate, so that all gates drift at
their own mean. `loss` maps gates to the loss of the same batch by the same weights; only "exact" calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ...errors import InputError, unknown_name
from ...registry import Registry
from ...validation import real_number, share
from .noise import Noise

__all__ = [
    "ESTIMATORS",
    "ByKind",
    "Estimator",
    "Exact",
    "StraightThrough",
    "Trapezoid",
    "Uniform",
    "make_estimator",
    "reuse_loss",
]

Loss = Callable[[Tensor], float]
MOST_UNIFORM = 0.25
"""The largest share of gates that are drawn from U(0, 1) at a time for the sake of more estimates."""
Source = torch.Generator | Noise | None
"""Where random numbers come from; None for torch's own."""


class Estimator(Protocol):
    """Draws gates and estimates Delta; keeps no state between steps."""

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        """The gates xi of a step, and which of them the step will estimate, both (count,).

        Parameters
        ----------
        theta
            Probabilities that gates are open, shape (count,).
        generator
            Source of the draw.

        Returns
        -------
        tuple
            xi, and bool, both (count,).
        """
        ...

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        """The estimate of Delta, and of which gates it says something, both (count,).

        Parameters
        ----------
        theta
            Probabilities that gates are open, shape (count,).
        xi, chosen
            What `draw` gave.
        g
            The derivative of the batch's loss in each gate, shape (count,).
        loss
            Gates -> the loss of the batch.

        Returns
        -------
        tuple
            The estimate, zero where there is none, and bool, both (count,).
        """
        ...


ESTIMATORS: Registry[Callable[[], Estimator]] = Registry("estimator")


def _random(count: int, like: Tensor, generator: Source) -> Tensor:
    """Uniform noise, drawn in float64 on the generator's device, so that a seed means the same on every device."""
    if isinstance(generator, Noise):
        return generator.take(count).to(like.device)
    device = generator.device if generator is not None else "cpu"
    return torch.rand(count, generator=generator, dtype=torch.float64, device=device).to(like.device)


def _bernoulli(theta: Tensor, generator: Source) -> Tensor:
    return (_random(len(theta), theta, generator) < theta).to(theta)


def _choose(expected: float, theta: Tensor, generator: Source) -> Tensor:
    """A random subset of `expected` gates on average: that number rounded down or up at random, bool (count,)."""
    noise = _random(len(theta) + 1, theta, generator)
    # By their ranks, for to look at how many they are would wait for the device.
    return noise[:-1].argsort().argsort() < (expected + noise[-1]).floor()


@ESTIMATORS.register("straight-through")
class StraightThrough:
    """f' at the gate that was drawn: no further pass, but biased unless the loss is linear in the gate.

    Its mean is theta f'(1) + (1 - theta) f'(0). Where weights have settled, f'(1) says nothing of Delta: the weights w
    that the gate multiplies obey xi f'(xi) = <w, dloss/dw>, of which the mean is -lambda |w|^2 at a stationary point.
    A gate then rests between open and closed, where its probability of being closed outweighs its complexity.
    """

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        return _bernoulli(theta, generator), torch.ones_like(theta, dtype=torch.bool)

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        return g.to(theta), chosen


@ESTIMATORS.register("trapezoid")
@dataclass(frozen=True)
class Trapezoid:
    """The trapezoid rule (f'(0) + f'(1)) / 2, each end weighted by the inverse probability to draw it: no further pass.

    Unbiased where the loss is at most quadratic in the gate, else off by -f'''/12 somewhere in between. The weight
    1 / (2 (1 - theta)) of a closed gate is noisy for theta near 1 and so stays below 1 / (2 floor); open gates make up
    for it, so that the weights average to one and a loss that is linear in the gate has no bias at any theta. Beyond
    1 - floor the mean moves from the trapezoid to f'(1) alone. Near 0 it is the other way round.

    Parameters
    ----------
    floor
        The least probability that a weight is divided by, in (0, 1/2].
    """

    floor: float = 0.05

    def __post_init__(self) -> None:
        real_number("floor of the estimator 'trapezoid'", self.floor, above=0, maximum=0.5)

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        return _bernoulli(theta, generator), torch.ones_like(theta, dtype=torch.bool)

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        share_open = (theta / (2 * self.floor)).clamp(max=0.5) + (0.5 - (1 - theta) / (2 * self.floor)).clamp(min=0)
        weight = torch.where(xi > 0.5, share_open / theta, (1 - share_open) / (1 - theta))
        return g.to(theta) * weight, chosen


@ESTIMATORS.register("uniform")
@dataclass(frozen=True)
class Uniform:
    """A few gates are drawn from U(0, 1) instead, and only their f' counts: no further pass.

    Unbiased for any smooth loss if one gate at a time is so drawn; with more, each sees the others half open, which is
    a bias unless the loss is multilinear and their theta is 1/2. For the gates that it estimates it is far less noisy
    than the trapezoid.

    Parameters
    ----------
    share
        Share of the gates that is so drawn, on average and at random, in [0, 1]; at least one gate. 0 is unbiased, more
        is faster.
    """

    share: float = 0.05

    def __post_init__(self) -> None:
        share("share of the estimator 'uniform'", self.share)

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        chosen = _choose(max(1.0, self.share * len(theta)), theta, generator)
        noise = _random(len(theta), theta, generator)
        return torch.where(chosen, noise.to(theta), (noise < theta).to(theta)), chosen

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        return torch.where(chosen, g.to(theta), 0.0), chosen


@ESTIMATORS.register("exact")
@dataclass(frozen=True)
class Exact:
    """The difference of the losses with the gate open and closed, all others as drawn: unbiased for any loss.

    Costs two forward passes a gate, of which one is the step's own: see `reuse_loss`.

    Parameters
    ----------
    gates
        How many gates a step estimates at most, on average, at random among all; below 1, in this share of steps only.
    rate
        Estimates that a gate needs in a step, on average; where all gates need fewer than `gates`, no more are made.
    """

    gates: float = 1
    rate: float = math.inf

    def __post_init__(self) -> None:
        real_number("gates of the estimator 'exact'", self.gates, above=0)
        real_number("rate of the estimator 'exact'", self.rate, above=0, infinite=True)

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        expected = min(self.gates, self.rate * max(len(theta), 1))
        return _bernoulli(theta, generator), _choose(expected, theta, generator)

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        if loss is None:
            raise InputError("the estimator 'exact' evaluates losses; give it a function of the gates.")
        delta = torch.zeros_like(theta)
        for gate in chosen.nonzero().flatten():
            loss_open, loss_closed = (loss(xi.detach().index_fill(0, gate, value)) for value in (1.0, 0.0))
            delta[gate] = float(loss_open) - float(loss_closed)
        return delta, chosen


@dataclass(frozen=True, eq=False)
class ByKind:
    """One estimator for the gates of layers and another for those of units, each of which sees only its own.

    Parameters
    ----------
    is_layer
        Which gates close layers, bool (count,).
    layers, units
        The two estimators.
    """

    is_layer: Tensor
    layers: Estimator
    units: Estimator

    def _kinds(self, like: Tensor) -> list[tuple[Tensor, Estimator]]:
        is_layer = self.is_layer.to(like.device)
        return [(~is_layer, self.units), (is_layer, self.layers)]

    def draw(self, theta: Tensor, generator: Source = None) -> tuple[Tensor, Tensor]:
        xi, chosen = torch.empty_like(theta), torch.empty_like(theta, dtype=torch.bool)
        for of_kind, estimator in self._kinds(theta):
            xi[of_kind], chosen[of_kind] = estimator.draw(theta[of_kind], generator)
        return xi, chosen

    def delta(
        self, theta: Tensor, xi: Tensor, g: Tensor, chosen: Tensor, loss: Loss | None = None
    ) -> tuple[Tensor, Tensor]:
        xi = xi.detach()
        delta, known = torch.empty_like(theta), torch.empty_like(chosen)
        for of_kind, estimator in self._kinds(theta):
            loss_of_kind = None if loss is None else _loss_of_some(loss, xi, of_kind)
            delta[of_kind], known[of_kind] = estimator.delta(
                theta[of_kind], xi[of_kind], g[of_kind], chosen[of_kind], loss_of_kind
            )
        return delta, known


def _loss_of_some(loss: Loss, xi: Tensor, gates: Tensor) -> Loss:
    """The loss as a function of these gates alone (bool (count,)), the others as in `xi`."""
    return lambda values: loss(xi.masked_scatter(gates, values))


def reuse_loss(loss: Loss, xi: Tensor, value: float | Tensor) -> Loss:
    """The same loss, not evaluated again at the gates `xi`, where it is known to be `value`.

    Parameters
    ----------
    loss
        From gates, 0 or 1, to a number.
    xi
        Gates, (gates,).
    value
        The loss at `xi`.

    Returns
    -------
    callable
        A loss.

    Examples
    --------
    >>> loss = reuse_loss(lambda xi: float(xi.sum()), torch.tensor([0.0, 1.0]), 7.0)
    >>> loss(torch.tensor([0.0, 1.0])), loss(torch.tensor([1.0, 1.0]))
    (7.0, 2.0)
    """
    return lambda other: float(value) if torch.equal(other, xi) else loss(other)


def make_estimator(
    choice: str | Mapping[str, str | Estimator] | Estimator, is_layer: Tensor, rate: float | None = None
) -> Estimator:
    """An estimator by name, or one for layers and another for units.

    Parameters
    ----------
    choice
        A name in `ESTIMATORS`; two, as in ``"layers:exact,units:trapezoid"``; a mapping with the keys layers and units
        whose values are names or estimators; or an estimator.
    is_layer
        Which gates close layers, bool (count,).
    rate
        Estimates that a gate needs in a step, on average: the estimator named "exact" makes no more, and "uniform" no
        fewer, as long as they are of a quarter of the gates.

    Returns
    -------
    Estimator
        For all gates.

    Raises
    ------
    InputError
        A name is unknown, or one of the two kinds of gates has no estimator.

    Examples
    --------
    >>> estimator = make_estimator("layers:exact,units:trapezoid", torch.tensor([False, False, True]))
    >>> estimator.layers, estimator.units
    (Exact(gates=1, rate=inf), Trapezoid(floor=0.05))
    >>> xi, chosen = estimator.draw(torch.tensor([0.9, 0.9, 0.9]), torch.Generator().manual_seed(0))
    >>> chosen
    tensor([True, True, True])
    """
    if isinstance(choice, str) and ":" in choice:
        parts = [part.partition(":") for part in choice.split(",")]
        choice = {kind.strip(): name.strip() for kind, _, name in parts}
    if isinstance(choice, str):
        estimator = ESTIMATORS[choice]()
        if rate is None:
            return estimator
        if isinstance(estimator, Uniform):
            return replace(estimator, share=max(estimator.share, min(rate, MOST_UNIFORM)))
        return replace(estimator, rate=rate) if isinstance(estimator, Exact) else estimator
    if not isinstance(choice, Mapping):
        return choice
    kinds = ("layers", "units")
    for kind in choice:
        if kind not in kinds:
            raise unknown_name("kind of gates", kind, kinds)
    for kind in kinds:
        if kind not in choice:
            raise InputError(f"the gates of {kind} have no estimator; write one, as in 'layers:exact,units:trapezoid'.")
    return ByKind(
        is_layer, *(make_estimator(choice[kind], is_layer[is_layer == (kind == "layers")], rate) for kind in kinds)
    )
