"""When a gate may close for good: when it lies in the domain of attraction of zero.

Let w be the parameters that a gate multiplies, r = |w|, and Delta(w) the loss with the gate open minus that with it
closed, so that Delta(0) = 0. Training moves, in units of the weights' steps,

    w' = -lambda w - theta grad Delta(w),    theta' = -rho (Delta(w) + eta),

where rho is the step of theta over that of w. If K bounds |grad Delta|, and with it |Delta| / r, then

    r' <= -lambda r + K theta,    theta' <= rho (K r - eta),

a linear system in which an increase of either variable never lowers the derivative of the other, so that its solution
stays above (r, theta). Its matrix has the eigenvalue s = (-lambda + sqrt(lambda^2 + 4 rho K^2)) / 2 > 0 with the left
eigenvector (s/K, 1), thus V = (s/K) r + theta obeys V' <= s V - rho eta. Where

    (s/K) r + theta < rho eta / s

V falls ever faster: theta is 0 after -log(1 - s V / (rho eta)) / s at the latest and stays there in the end, and w
decays like exp(-lambda t). No larger domain is safe for all such Delta: on the boundary lies the saddle point of
Delta = -K r. At rho = 1 this is the condition of Guenter & Sideris, arXiv 2411.09127, as it was handed down to us. A
bound of |Delta| / r alone does not suffice; it does where Delta is homogeneous in w, and the running estimate below
takes it to be so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...validation import share

__all__ = ["ClosingCriterion", "in_domain_of_attraction", "time_to_zero"]


def _slope(bound: Tensor, weight_decay: float, step_ratio: Tensor | float) -> Tensor:
    """s / K without cancellation, 0 where K is 0."""
    root = (weight_decay**2 + 4 * step_ratio * bound**2).sqrt()
    return torch.nan_to_num(2 * step_ratio * bound / (weight_decay + root), nan=0.0)


def in_domain_of_attraction(
    theta: Tensor,
    norm: Tensor,
    bound: Tensor,
    coefficient: Tensor,
    weight_decay: float,
    step_ratio: Tensor | float = 1.0,
) -> Tensor:
    """Which gates lie in the domain of attraction of zero.

    Parameters
    ----------
    theta
        Probabilities that gates are open, shape (count,).
    norm
        |w|, the Euclidean norm of the parameters that each gate multiplies, shape (count,).
    bound
        K, in nats per unit of the norm, shape (count,).
    coefficient
        eta, in nats per sample, shape (count,).
    weight_decay
        lambda, the weight decay of w.
    step_ratio
        rho, the step of theta over the step of the weights: b_j over their learning rate, this divided by
        1 - momentum where there is momentum.

    Returns
    -------
    Tensor
        Boolean, shape (count,).

    Examples
    --------
    >>> one = torch.ones(3)
    >>> in_domain_of_attraction(torch.tensor([0.1, 0.5, 0.9]), 0.2 * one, one, 0.6 * one, weight_decay=0.5)
    tensor([ True,  True, False])
    """
    slope = _slope(bound, weight_decay, step_ratio)
    return bound * slope * (slope * norm + theta) < step_ratio * coefficient


def time_to_zero(
    theta: Tensor,
    norm: Tensor,
    bound: Tensor,
    coefficient: Tensor,
    weight_decay: float,
    step_ratio: Tensor | float = 1.0,
) -> Tensor:
    """The latest time at which theta reaches 0, in units of the weights' steps; infinite outside of the domain.

    Parameters
    ----------
    theta, norm, bound, coefficient, weight_decay, step_ratio
        As of `in_domain_of_attraction`.

    Returns
    -------
    Tensor
        Shape (count,).
    """
    slope = _slope(bound, weight_decay, step_ratio)
    growth = bound * slope
    share_of_boundary = growth * (slope * norm + theta) / (step_ratio * coefficient)
    unopposed = theta / (step_ratio * coefficient)
    time = torch.where(growth > 0, -torch.log1p(-share_of_boundary.clamp(max=1)) / growth, unopposed)
    inside = in_domain_of_attraction(theta, norm, bound, coefficient, weight_decay, step_ratio)
    return torch.where(inside, time, torch.inf)


class ClosingCriterion:
    """Which gates may close for good, from a running estimate of K.

    K is the decayed maximum of |Delta_j| / |w_j|, of the smoothed Delta: noise of single batches would make it far too
    large. A gate closes when it lies in the domain with its coefficient reduced to a share, or when its theta has
    stayed below a threshold for some consecutive updates.

    Parameters
    ----------
    count
        Number of gates.
    bound_decay
        Factor by which the maximum of K decays at every update, in [0, 1].
    margin
        The share of the coefficient that the domain is computed with, in [0, 1]; 0 leaves the threshold only.
    min_updates
        Updates of a gate before its K is relied on.
    threshold, patience
        A gate closes after `patience` consecutive updates with theta below `threshold`.

    Attributes
    ----------
    bound
        K, shape (count,), float64.
    updates
        How many estimates of each gate K is the maximum of, int64 (count,).
    low
        For how many consecutive updates theta has been below the threshold, int64 (count,).

    Examples
    --------
    >>> criterion = ClosingCriterion(2, min_updates=1)
    >>> theta, norm, coefficient = torch.tensor([0.1, 0.1]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    >>> criterion.update(theta, torch.tensor([0.02, -0.4]), torch.tensor([True, True]), norm)
    >>> criterion.may_close(theta, norm, coefficient, weight_decay=0.0)
    tensor([ True, False])
    """

    def __init__(
        self,
        count: int,
        *,
        bound_decay: float = 0.99,
        margin: float = 0.5,
        min_updates: int = 100,
        threshold: float = 0.01,
        patience: int = 100,
    ) -> None:
        self.bound_decay = share("bound_decay of the closing criterion", bound_decay)
        self.margin = share("margin of the closing criterion", margin)
        self.threshold = share("threshold of the closing criterion", threshold)
        self.min_updates, self.patience = min_updates, patience
        self.bound = torch.zeros(count, dtype=torch.float64)
        self.updates = torch.zeros(count, dtype=torch.int64)
        self.low = torch.zeros(count, dtype=torch.int64)

    def update(self, theta: Tensor, delta: Tensor, known: Tensor, norm: Tensor) -> None:
        """Take in an estimate of Delta.

        Parameters
        ----------
        theta
            Probabilities that gates are open, shape (count,).
        delta
            The smoothed Delta, shape (count,).
        known
            Of which gates `delta` says something, bool (count,).
        norm
            The norm of what each gate multiplies, shape (count,).
        """
        theta, delta, known, norm = (a.detach().to(self.bound.device) for a in (theta, delta, known, norm))
        ratio = delta.to(self.bound).abs() / norm.to(self.bound).clamp_min(torch.finfo(torch.float32).tiny)
        self.bound = torch.where(known, torch.maximum(self.bound_decay * self.bound, ratio), self.bound)
        self.updates += known
        self.low = torch.where(theta < self.threshold, self.low + 1, 0)

    def may_close(
        self,
        theta: Tensor,
        norm: Tensor,
        coefficient: Tensor,
        weight_decay: float,
        step_ratio: Tensor | float = 1.0,
    ) -> Tensor:
        """Which gates may close now, bool (count,); arguments as of `in_domain_of_attraction`.

        Parameters
        ----------
        theta, norm, coefficient, weight_decay, step_ratio
            As for `in_domain_of_attraction`.

        Returns
        -------
        Tensor
            bool, (count,).
        """
        step_ratio = step_ratio.to(self.bound) if isinstance(step_ratio, Tensor) else step_ratio
        theta, norm, coefficient = (a.detach().to(self.bound) for a in (theta, norm, coefficient))
        inside = in_domain_of_attraction(theta, norm, self.bound, self.margin * coefficient, weight_decay, step_ratio)
        return (inside & (self.updates >= self.min_updates)) | (self.low >= self.patience)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on from here."""
        return {"bound": self.bound.clone(), "updates": self.updates.clone(), "low": self.low.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
        self.bound, self.updates, self.low = (state[name].clone() for name in ("bound", "updates", "low"))
