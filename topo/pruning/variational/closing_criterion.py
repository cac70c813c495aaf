"""The domain of attraction of zero: when a gate is on its way to closing for good, so that it may go now.

Let w be the parameters that a gate multiplies, r = |w|, and Delta(w) the loss with the gate open minus that with it
closed, so that Delta(0) = 0. Training moves, in units of the weights' steps,

    w' = -lambda w - theta grad Delta(w),    theta' = -rho (Delta(w) + eta),

where rho is the step of theta over that of w. If K bounds |grad Delta|, and with it |Delta| / r, then

    r' <= -lambda r + K theta,    theta' <= rho (K r - eta),

a linear system in which neither variable slows the other one down, so that its solution stays above (r, theta). Its
matrix has the eigenvalue s = (-lambda + sqrt(lambda^2 + 4 rho K^2)) / 2 > 0 with the left eigenvector (s/K, 1), thus
V = (s/K) r + theta obeys V' <= s V - rho eta. Where

    (s/K) r + theta < rho eta / s

V falls ever faster: theta is 0 after -log(1 - s V / (rho eta)) / s at the latest and stays there in the end, and w
decays like exp(-lambda t). No larger domain is safe for all such Delta: on the boundary lies the saddle point of
Delta = -K r. At rho = 1 this is the condition of Guenter & Sideris as it was handed down to us. A bound of |Delta| / r
alone does not suffice; it does where Delta is homogeneous in w, and the running estimate below takes it to be so.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError

__all__ = ["Attraction", "inside", "time_to_zero"]


def _weight(bound: Tensor, decay: float, rate: Tensor | float) -> Tensor:
    """s / K without cancellation, 0 where K is 0."""
    root = (decay**2 + 4 * rate * bound**2).sqrt()
    return torch.nan_to_num(2 * rate * bound / (decay + root), nan=0.0)


def inside(
    theta: Tensor, norm: Tensor, bound: Tensor, coefficient: Tensor, decay: float, rate: Tensor | float = 1.0
) -> Tensor:
    """Which gates lie in the domain of attraction of zero.

    Parameters
    ----------
    theta
        Chances that gates are open, shape (count,).
    norm
        |w|, the Euclidean norm of the parameters that each gate multiplies, shape (count,).
    bound
        K, in nats per unit of the norm, shape (count,).
    coefficient
        eta, in nats per sample, shape (count,).
    decay
        lambda, the weight decay of w.
    rate
        rho, the step of theta over the step of the weights: b_j over their learning rate, this divided by
        1 - momentum where there is momentum.

    Returns
    -------
    Tensor
        Boolean, shape (count,).

    Examples
    --------
    >>> one = torch.ones(3)
    >>> inside(torch.tensor([0.1, 0.5, 0.9]), 0.2 * one, one, 0.6 * one, decay=0.5)
    tensor([ True,  True, False])
    """
    weight = _weight(bound, decay, rate)
    return bound * weight * (weight * norm + theta) < rate * coefficient


def time_to_zero(
    theta: Tensor, norm: Tensor, bound: Tensor, coefficient: Tensor, decay: float, rate: Tensor | float = 1.0
) -> Tensor:
    """The latest time at which theta reaches 0, in units of the weights' steps; infinite outside of the domain."""
    weight = _weight(bound, decay, rate)
    growth = bound * weight
    used = growth * (weight * norm + theta) / (rate * coefficient)
    linear = theta / (rate * coefficient)
    found = torch.where(growth > 0, -torch.log1p(-used.clamp(max=1)) / growth, linear)
    return torch.where(inside(theta, norm, bound, coefficient, decay, rate), found, torch.inf)


class Attraction:
    """Which gates may close for good, from a running estimate of K.

    K is the decayed maximum of |Delta_j| / |w_j|, of the smoothed Delta: noise of single batches would make it far too
    large. A gate closes when it lies in the domain with its coefficient reduced to a share, or when its theta has
    stayed below a threshold for some updates on end.

    Parameters
    ----------
    count
        Number of gates.
    memory
        What is left of the maximum of K after an update, in [0, 1].
    margin
        The share of the coefficient that the domain is computed with, in [0, 1]; 0 leaves the threshold only.
    trust
        Updates before K is trusted.
    threshold, patience
        A gate closes after `patience` updates on end with theta below `threshold`.

    Examples
    --------
    >>> attraction = Attraction(2, trust=1)
    >>> theta, norm, coefficient = torch.tensor([0.1, 0.1]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    >>> attraction.update(theta, torch.tensor([0.02, -0.4]), torch.tensor([True, True]), norm)
    >>> attraction.closing(theta, norm, coefficient, decay=0.0)
    tensor([ True, False])
    """

    def __init__(
        self,
        count: int,
        *,
        memory: float = 0.99,
        margin: float = 0.5,
        trust: int = 100,
        threshold: float = 0.01,
        patience: int = 100,
    ) -> None:
        for name, value in (("memory", memory), ("margin", margin), ("threshold", threshold)):
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise InputError(f"{name} of the pruning condition must be a number from 0 to 1, not {value!r}.")
        self.memory, self.margin, self.threshold = memory, margin, threshold
        self.trust, self.patience = trust, patience
        self.bound = torch.zeros(count, dtype=torch.float64)
        self.updates = torch.zeros(count, dtype=torch.int64)
        self.low = torch.zeros(count, dtype=torch.int64)

    def update(self, theta: Tensor, delta: Tensor, known: Tensor, norm: Tensor) -> None:
        """Learn from the smoothed `delta` of the gates that are `known`, whose parameters have the `norm`; (count,)."""
        theta, delta, known, norm = (a.detach().to(self.bound.device) for a in (theta, delta, known, norm))
        ratio = delta.to(self.bound).abs() / norm.to(self.bound).clamp_min(torch.finfo(torch.float32).tiny)
        self.bound = torch.where(known, torch.maximum(self.memory * self.bound, ratio), self.bound)
        self.updates += known
        self.low = torch.where(theta < self.threshold, self.low + 1, 0)

    def closing(
        self, theta: Tensor, norm: Tensor, coefficient: Tensor, decay: float, rate: Tensor | float = 1.0
    ) -> Tensor:
        """Which gates may go now, boolean of shape (count,); arguments as of `inside`."""
        rate = rate.to(self.bound) if isinstance(rate, Tensor) else rate
        theta, norm, coefficient = (a.detach().to(self.bound) for a in (theta, norm, coefficient))
        drawn = inside(theta, norm, self.bound, self.margin * coefficient, decay, rate)
        return (drawn & (self.updates >= self.trust)) | (self.low >= self.patience)

    def keep(self, gates: Tensor) -> None:
        """Go on with these gates only, in this order; indices of shape (kept,)."""
        self.bound, self.updates, self.low = self.bound[gates], self.updates[gates], self.low[gates]

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on from here."""
        return {"bound": self.bound.clone(), "updates": self.updates.clone(), "low": self.low.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.bound, self.updates, self.low = (state[name].clone() for name in ("bound", "updates", "low"))
