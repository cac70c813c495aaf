"""Gate updates: scaled, projected gradient steps of theta along the estimates of Delta."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, counted
from ...validation import real_number

__all__ = ["GateUpdates"]

_STATE = ("scale", "mean", "long_mean", "square", "weight_squares", "seen")


class GateUpdates:
    """theta_j <- clip(theta_j - b_j (mean Delta_j + eta_j), 0, 1) with b_j = 1 / (horizon max(scale_j, rms Delta_j)).

    Complexity alone so closes every gate in the same time, of layers and of units, early and late: what is worth
    nothing goes from 1 to 0 in `horizon` steps at eta = scale. Where the estimates are noisier than that, the noise
    sets the step: theta then moves by about 1 / horizon at most, and it takes many consenting batches to close a gate
    rather than an unlucky one. A factor of the step moves no point of rest.

    A gate moves as far as it is known which way. Let m be the mean of its estimates so far, e its standard error; the
    step is multiplied by 1 - (caution e)^2 / (m + eta)^2 where that is positive, and by 0 else: where few noisy
    estimates do not tell Delta + eta from zero, theta stays. With more estimates the factor tends to 1, whatever Delta,
    so that caution decides when a theta sets out and not where it rests.

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
    caution
        Standard errors that Delta + eta must be away from zero before theta moves, at least 0.

    Attributes
    ----------
    mean, square
        Moving averages of Delta and of its square, shape (count,), float64.
    long_mean, weight_squares
        The average of Delta with the weights of `square`, and the sum of the squares of these weights: the inverse of
        the number of estimates that it is as good as.
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

    def __init__(
        self,
        scale: Tensor,
        horizon: float,
        *,
        ema_decay: float = 0.9,
        square_decay: float = 0.99,
        caution: float = 0.0,
    ) -> None:
        self.horizon = real_number("horizon of the gate updates", horizon, above=0)
        self.ema_decay = real_number("ema_decay of the gate updates", ema_decay, minimum=0, below=1)
        self.square_decay = real_number("square_decay of the gate updates", square_decay, minimum=0, below=1)
        self.caution = real_number("caution of the gate updates", caution, minimum=0)
        self.scale: Tensor = scale.detach().double()
        self.mean: Tensor = torch.zeros_like(self.scale)
        self.long_mean: Tensor = torch.zeros_like(self.scale)
        self.square: Tensor = torch.zeros_like(self.scale)
        self.weight_squares: Tensor = torch.zeros_like(self.scale)
        self.seen: Tensor = torch.zeros_like(self.scale, dtype=torch.int64)

    def __repr__(self) -> str:
        settings = ("horizon", "ema_decay", "square_decay")
        listed = ", ".join(f"{name}={getattr(self, name):g}" for name in settings)
        return f"GateUpdates({counted(len(self.scale), 'gate')}, {listed})"

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
            An estimate is not finite; only looked for on the CPU.
        """
        like = self.mean
        known, delta = known.to(like.device), delta.detach().to(like)
        # Elsewhere than on the CPU looking would wait for the device.
        if like.device.type == "cpu" and not bool(delta[known].isfinite().all()):
            raise InputError("the loss or its slope in the gates is not finite; lower the learning rate of the recipe.")
        delta = torch.where(known, delta, 0.0)
        self.seen += known

        def weight(decay: float) -> Tensor:
            return torch.where(known, (1 / self.seen.clamp_min(1)).clamp_min(1 - decay).to(like), 0.0)

        short, long = weight(self.ema_decay), weight(self.square_decay)
        self.mean = torch.lerp(self.mean, delta, short)
        self.long_mean = torch.lerp(self.long_mean, delta, long)
        self.square = torch.lerp(self.square, delta**2, long)
        self.weight_squares = self.weight_squares * (1 - long) ** 2 + long**2

    def certainty(self, coefficient: Tensor) -> Tensor:
        """By how much of their step gates move, for how well it is known which way.

        The variance of estimates counts their mean as one that were 0, so that it is known of one estimate already.

        Parameters
        ----------
        coefficient
            eta, in nats per sample, shape (count,).

        Returns
        -------
        Tensor
            From 0 to 1, (count,).

        Examples
        --------
        >>> updates, every = GateUpdates(torch.zeros(2), horizon=10, caution=2.0), torch.tensor([True, True])
        >>> for noise in (0.4, -0.4) * 8:
        ...     updates.observe(torch.tensor([0.3 + noise, 0.1 + noise]), every)
        >>> updates.certainty(torch.zeros(2))
        tensor([0.5399, 0.0000], dtype=torch.float64)
        """
        away = self.long_mean + coefficient.detach().to(self.long_mean)
        variance = self.square - (1 - self.weight_squares) * self.long_mean**2
        noise = self.caution**2 * variance * self.weight_squares
        return torch.where(noise > 0, 1 - noise / away**2, 1.0).clamp_min(0.0)

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
        if self.caution:
            drift = drift * self.certainty(coefficient)
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
