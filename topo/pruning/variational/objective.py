"""The objective: a hyper-prior under which the regulariser is linear in theta, and the coefficients of that term.

After Guenter & Sideris, arXiv 2411.09127 and 2406.04549, of which only the abstracts were available: the formulas are
derived here. For a gate xi ~ Bern(theta) with prior Bern(pi) and log gamma =: a, the derivative in pi of
KL(Bern(theta) | Bern(pi)) - log p(pi) vanishes at one point only,

    pi = theta / (theta + gamma (1 - theta)),  where it equals  theta log gamma - log((gamma - 1) / log gamma),

so that pi drops out and the objective of a mean loss over N samples is E[loss] + (lambda/2)|W|^2 + sum_j eta_j theta_j
with eta_j = log gamma_j / N, in nats. `coefficients` sets eta_j from the expected complexity.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ...errors import InputError
from ...validation import one_of, real_number, share

__all__ = [
    "MATCHINGS",
    "ExpectedComplexity",
    "best_prior",
    "check_knobs",
    "coefficients",
    "divergence",
    "log_hyper_prior",
    "minimum",
]

MATCHINGS = ("gradient", "value")


def log_hyper_prior(pi: Tensor, log_gamma: Tensor) -> Tensor:
    """log p(pi | gamma) of p = ((gamma - 1) / log gamma) / (1 + (gamma - 1) pi), a density of pi on [0, 1].

    gamma > 1 favours small pi and so promotes pruning; at gamma = 1 the density is 1.

    Parameters
    ----------
    pi
        Probabilities, from 0 to 1.
    log_gamma
        Of a shape that broadcasts with `pi`.

    Returns
    -------
    Tensor
        Of the shape that both broadcast to.

    Examples
    --------
    >>> pi = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    >>> round(float(torch.trapezoid(log_hyper_prior(pi, torch.tensor(3.0)).exp(), pi)), 6)
    1.0
    """
    return _log_normaliser(log_gamma) - torch.logaddexp(torch.log1p(-pi), log_gamma + pi.log())


def _log_normaliser(log_gamma: Tensor) -> Tensor:
    """log((gamma - 1) / log gamma) without overflow, 0 at gamma = 1."""
    size = log_gamma.abs()
    share = torch.where(size > 0, -torch.expm1(-size) / size.clamp_min(torch.finfo(size.dtype).tiny), 1.0)
    return share.log() + log_gamma.clamp_min(0)


def divergence(theta: Tensor, pi: Tensor) -> Tensor:
    """KL(Bern(theta) | Bern(pi)), in nats, with 0 log 0 = 0.

    Parameters
    ----------
    theta
        Probabilities that gates are open, from 0 to 1.
    pi
        Prior probabilities, of a shape that broadcasts with `theta`.

    Returns
    -------
    Tensor
        Of the shape that both broadcast to.
    """
    closed, barred = 1 - theta, 1 - pi
    return (
        torch.xlogy(theta, theta) - torch.xlogy(theta, pi) + torch.xlogy(closed, closed) - torch.xlogy(closed, barred)
    )


def best_prior(theta: Tensor, log_gamma: Tensor) -> Tensor:
    """The pi that minimises KL(Bern(theta) | Bern(pi)) - log p(pi | gamma): theta / (theta + gamma (1 - theta)).

    Parameters
    ----------
    theta
        Probabilities that gates are open, from 0 to 1.
    log_gamma
        Of a shape that broadcasts with `theta`.

    Returns
    -------
    Tensor
        Of the shape that both broadcast to.
    """
    return theta / (theta + log_gamma.exp() * (1 - theta))


def minimum(theta: Tensor, log_gamma: Tensor) -> Tensor:
    """The least KL(Bern(theta) | Bern(pi)) - log p(pi | gamma) over pi, linear in theta.

    Parameters
    ----------
    theta
        Probabilities that gates are open, from 0 to 1.
    log_gamma
        Of a shape that broadcasts with `theta`.

    Returns
    -------
    Tensor
        Of the shape that both broadcast to.

    Examples
    --------
    >>> theta, log_gamma = torch.tensor(0.3), torch.tensor(2.0)
    >>> pi = best_prior(theta, log_gamma)
    >>> bool(torch.isclose(divergence(theta, pi) - log_hyper_prior(pi, log_gamma), minimum(theta, log_gamma)))
    True
    """
    return theta * log_gamma - _log_normaliser(log_gamma)


def check_knobs(nu: Any, kappa: Any, alpha: Any, is_layer: Tensor | None = None) -> None:
    """Check nu, kappa and alpha.

    Parameters
    ----------
    nu
        Accuracy against pruning, at least 0: the weight of the full network's complexity, in nats per sample.
    kappa
        Layers against units, from 0 (units only) to 1 (layers only).
    alpha
        Computation against parameters, from 0 (parameters only) to 1 (multiply-accumulates only).
    is_layer
        Which gates close layers, bool (count,), where the gates are known.

    Raises
    ------
    InputError
        A value is out of range, or kappa leaves out the only kind of gates that the network has.

    Examples
    --------
    >>> check_knobs(1.0, 0.5, 2.0)
    Traceback (most recent call last):
    topo.errors.InputError: alpha (computation against parameters) must be a number from 0 to 1, not 2.0.
    """
    real_number("nu (accuracy against pruning)", nu, minimum=0)
    share("kappa (layers against units)", kappa)
    share("alpha (computation against parameters)", alpha)
    if is_layer is not None:
        for only, gates, kind, other in ((1, is_layer, "layers", "units"), (0, ~is_layer, "units", "layers")):
            if kappa == only and not bool(gates.any()):
                raise InputError(
                    f"kappa = {only} prunes {kind} only, but this network has no gates of {kind}; choose a kappa that "
                    f"prunes {other} too."
                )


class ExpectedComplexity(Protocol):
    """What `coefficients` needs of a complexity: `topo.pruning.variational.Complexity` has it."""

    gates: Any

    def relative(self, theta: Tensor, alpha: float) -> Tensor:
        """The expected share of the full network's cost.

        Parameters
        ----------
        theta
            Probabilities that gates are open, (count,).
        alpha
            The weight of the share of multiply-accumulates; that of the share of parameters is 1 - alpha.

        Returns
        -------
        Tensor
            Of no dimension.
        """
        ...

    def gradient(self, theta: Tensor, alpha: float) -> Tensor:
        """Its derivative in each gate.

        Parameters
        ----------
        theta, alpha
            As for `relative`.

        Returns
        -------
        Tensor
            (count,).
        """
        ...


def coefficients(
    complexity: ExpectedComplexity, theta: Tensor, nu: float, kappa: float, alpha: float, matching: str = "gradient"
) -> Tensor:
    """eta_j = log gamma_j / N, the coefficient of theta_j in the objective, from the expected complexity C(Theta).

    Both matchings take eta_j in proportion to w_j dC/dtheta_j, with w_j = kappa for layers and 1 - kappa for units.

    - ``"gradient"``: eta_j = 2 nu w_j dC/dtheta_j. At kappa = 1/2 this is the gradient of nu C: as C is multilinear, a
      gate stays open at a vertex of [0, 1]^n if and only if closing it costs more than nu times the complexity that it
      takes away.
    - ``"value"``: scaled such that sum_j eta_j theta_j = nu (C(Theta) - C(0)), in every network. Where each gated
      term of C is a product of one layer's theta and one unit's (the basic block theta_l s c), this is
      eta_j = nu w_j dC/dtheta_j, for any kappa. In a network with one kind of gates kappa then drops out.

    Parameters
    ----------
    complexity
        Has ``gates.is_layer``, ``relative(theta, alpha)`` and ``gradient(theta, alpha)``.
    theta
        Probabilities that gates are open, shape (count,).
    nu, kappa, alpha
        As in `check_knobs`.
    matching
        ``"gradient"`` or ``"value"``.

    Returns
    -------
    Tensor
        Shape (count,), in nats per sample; no gradient flows through it.

    Raises
    ------
    InputError
        The matching is unknown.
    """
    one_of("matching", matching, MATCHINGS)
    with torch.no_grad():
        weighted = complexity.gradient(theta, alpha)
        weighted = weighted * torch.where(complexity.gates.is_layer.to(weighted.device), kappa, 1.0 - kappa)
        if matching == "gradient":
            return 2.0 * nu * weighted
        linear = torch.dot(weighted, theta.to(weighted))
        if not linear > 0:
            return nu * weighted
        gated = complexity.relative(theta, alpha) - complexity.relative(torch.zeros_like(theta), alpha)
        return nu * (gated / linear) * weighted
