"""Scaled, projected steps of theta along the estimates of Delta."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError

__all__ = ["Steps"]


class Steps:
    """theta_j <- clip(theta_j - b_j (mean Delta_j + eta_j), 0, 1) with b_j = 1 / (horizon max(scale_j, rms Delta_j)).

    Complexity alone so closes every gate in the same time, of layers and of units, early and late: what is worth
    nothing goes from 1 to 0 in `horizon` steps at eta = scale. Where the estimates are noisier than that, the noise
    sets the step: theta then moves by about 1 / horizon at most, and it takes many consenting batches to close a gate
    rather than an unlucky one. A factor of the step moves no point of rest.

    The mean runs over the estimates that a gate got; between two it is held, and every gate steps every time, so that
    one whose estimates are rare drifts as fast as one whose are not. Before its first estimate a gate rests.

    Parameters
    ----------
    scale
        nu dC/dtheta_j at Theta = 1, in nats per sample, shape (count,); at least 0.
    horizon
        Number of steps, above 0.
    memory, noise_memory
        What is left of the running means of Delta and of its square after an estimate, in [0, 1). The means start as
        plain averages.

    Attributes
    ----------
    mean
        Running mean of Delta, shape (count,), float64.
    rates
        b_j, per nat, shape (count,).

    Examples
    --------
    >>> steps = Steps(torch.tensor([0.1, 0.2]), horizon=10)
    >>> theta, both = torch.tensor([0.9, 0.9]), torch.tensor([True, True])
    >>> steps(theta, torch.tensor([0.0, -0.4]), both, torch.tensor([0.1, 0.2]))
    tensor([0.8000, 0.9500])
    """

    def __init__(self, scale: Tensor, horizon: float, *, memory: float = 0.9, noise_memory: float = 0.99) -> None:
        if isinstance(horizon, bool) or not isinstance(horizon, Real) or not 0 < horizon < math.inf:
            raise InputError(f"horizon, the number of steps in which theta may cross from 1 to 0, is {horizon!r}.")
        for name, value in (("memory", memory), ("noise_memory", noise_memory)):
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:
                raise InputError(f"{name} of the steps of theta must be at least 0 and below 1, not {value!r}.")
        self.scale = scale.detach().double()
        self.horizon, self.memory, self.noise_memory = horizon, memory, noise_memory
        self.mean, self.square = torch.zeros_like(self.scale), torch.zeros_like(self.scale)
        self.seen = torch.zeros_like(self.scale, dtype=torch.int64)

    def __repr__(self) -> str:
        settings = ("horizon", "memory", "noise_memory")
        listed = ", ".join(f"{name}={getattr(self, name):g}" for name in settings)
        return f"Steps({len(self.scale)} gates, {listed})"

    @property
    def rates(self) -> Tensor:
        span = torch.maximum(self.scale, self.square.sqrt())
        return torch.where(span > 0, 1 / (self.horizon * span), 0.0)

    def __call__(self, theta: Tensor, delta: Tensor, known: Tensor, coefficient: Tensor) -> Tensor:
        """The next theta, after one look at Delta; see `learn` and `step`."""
        self.learn(delta, known)
        return self.step(theta, coefficient)

    def learn(self, delta: Tensor, known: Tensor) -> None:
        """Take up what `delta` says of the gates that are `known`; both of shape (count,).

        Raises
        ------
        InputError
            An estimate is not finite.
        """
        here = self.mean
        known, found = known.to(here.device), delta.detach().to(here)
        if not bool(found[known].isfinite().all()):
            raise InputError("the loss or its slope in the gates is not finite; lower the learning rate of the recipe.")
        found = torch.where(known, found, 0.0)
        self.seen += known
        for name, value, memory in (("mean", found, self.memory), ("square", found**2, self.noise_memory)):
            weight = torch.where(known, (1 / self.seen.clamp_min(1)).clamp_min(1 - memory).to(here), 0.0)
            setattr(self, name, torch.lerp(getattr(self, name), value, weight))

    def step(self, theta: Tensor, coefficient: Tensor) -> Tensor:
        """The next theta, by what is known; all of shape (count,)."""
        drift = self.rates * (self.mean + coefficient.detach().to(self.mean))
        return (theta.detach().to(self.mean) - torch.where(self.seen > 0, drift, 0.0)).clamp(0, 1).to(theta)

    def keep(self, gates: Tensor) -> None:
        """Go on with these gates only, in this order; indices of shape (kept,)."""
        for name in ("scale", "mean", "square", "seen"):
            setattr(self, name, getattr(self, name)[gates])

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on from here."""
        return {name: getattr(self, name).clone() for name in ("scale", "mean", "square", "seen")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("scale", "mean", "square", "seen"):
            setattr(self, name, state[name].clone())
