"""Gate updates: scaled, projected gradient steps of theta along the estimates of Delta."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...validation import real_number

__all__ = ["GateUpdates"]

_STATE = ("scale", "mean", "square", "seen")


class GateUpdates:
    """theta_j <- clip(theta_j - b_j (mean Delta_j + eta_j), 0, 1) with b_j = 1 / (horizon max(scale_j, rms Delta_j)).

    Complexity alone so closes every gate in the same time, of layers and of units, early and late: what is worth
    nothing goes from 1 to 0 in `horizon` steps at eta = scale. Where the estimates are noisier than that, the noise
    sets the step: theta then moves by about 1 / horizon at most, and it takes many consenting batches to close a gate
    rather than an unlucky one. A factor of the step moves no point of rest.

    The mean runs over the estimates that a gate got; between two of them it is held, and every gate moves in every
    step, so that one whose estimates are rare drifts as fast as one whose are not. Before its first estimate a gate
    does not move.

    Parameters
    ----------
    scale
        nu dC/dtheta_j at Theta = 1, in nats per sample, shape (count,); at least 0.
    horizon
        Number of steps in which complexity alone takes theta from 1 to 0, above 0.
    ema_decay, square_decay
        Decay of the exponential moving averages of Delta and of its square, as beta1 and beta2 of Adam, in [0, 1).
        The averages start as plain means.

    Attributes
    ----------
    mean, square
        Moving averages of Delta and of its square, shape (count,), float64.
    seen
        How many estimates each gate got, int64 (count,).
    step_sizes
        b_j, per nat, shape (count,).

    Examples
    --------
    >>> updates = GateUpdates(torch.tensor([0.1, 0.2]), horizon=10)
    >>> theta, both = torch.tensor([0.9, 0.9]), torch.tensor([True, True])
    >>> updates(theta, torch.tensor([0.0, -0.4]), both, torch.tensor([0.1, 0.2]))
    tensor([0.8000, 0.9500])
    """

    def __init__(self, scale: Tensor, horizon: float, *, ema_decay: float = 0.9, square_decay: float = 0.99) -> None:
        self.horizon = real_number("horizon of the gate updates", horizon, above=0)
        self.ema_decay = real_number("ema_decay of the gate updates", ema_decay, minimum=0, below=1)
        self.square_decay = real_number("square_decay of the gate updates", square_decay, minimum=0, below=1)
        self.scale: Tensor = scale.detach().double()
        self.mean: Tensor = torch.zeros_like(self.scale)
        self.square: Tensor = torch.zeros_like(self.scale)
        self.seen: Tensor = torch.zeros_like(self.scale, dtype=torch.int64)

    def __repr__(self) -> str:
        settings = ("horizon", "ema_decay", "square_decay")
        listed = ", ".join(f"{name}={getattr(self, name):g}" for name in settings)
        return f"GateUpdates({len(self.scale)} gates, {listed})"

    @property
    def step_sizes(self) -> Tensor:
        span = torch.maximum(self.scale, self.square.sqrt())
        return torch.where(span > 0, 1 / (self.horizon * span), 0.0)

    def __call__(self, theta: Tensor, delta: Tensor, known: Tensor, coefficient: Tensor) -> Tensor:
        """The next theta, after one estimate of Delta; see `observe` and `step`."""
        self.observe(delta, known)
        return self.step(theta, coefficient)

    def observe(self, delta: Tensor, known: Tensor) -> None:
        """Take an estimate of Delta into the moving averages.

        Parameters
        ----------
        delta
            The estimate, shape (count,).
        known
            Of which gates it says something, bool (count,).

        Raises
        ------
        InputError
            An estimate is not finite.
        """
        like = self.mean
        known, delta = known.to(like.device), delta.detach().to(like)
        if not bool(delta[known].isfinite().all()):
            raise InputError("the loss or its slope in the gates is not finite; lower the learning rate of the recipe.")
        delta = torch.where(known, delta, 0.0)
        self.seen += known

        def averaged(average: Tensor, value: Tensor, decay: float) -> Tensor:
            weight = torch.where(known, (1 / self.seen.clamp_min(1)).clamp_min(1 - decay).to(like), 0.0)
            return torch.lerp(average, value, weight)

        self.mean = averaged(self.mean, delta, self.ema_decay)
        self.square = averaged(self.square, delta**2, self.square_decay)

    def step(self, theta: Tensor, coefficient: Tensor) -> Tensor:
        """The next theta, by the averages as they are.

        Parameters
        ----------
        theta
            Probabilities that gates are open, shape (count,).
        coefficient
            eta, in nats per sample, shape (count,).

        Returns
        -------
        Tensor
            From 0 to 1, (count,).
        """
        drift = self.step_sizes * (self.mean + coefficient.detach().to(self.mean))
        return (theta.detach().to(self.mean) - torch.where(self.seen > 0, drift, 0.0)).clamp(0, 1).to(theta)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on from here."""
        return {name: getattr(self, name).clone() for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
        for name in _STATE:
            setattr(self, name, state[name].clone())
