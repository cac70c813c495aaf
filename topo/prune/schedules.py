"""How the density falls over the rounds of an iterative pruner."""

from __future__ import annotations

__all__ = ["exponential"]


def exponential(density: float, rounds: int) -> list[float]:
    """Densities rho^(k/n) after the rounds k = 1..n; one round is one-shot pruning (Tanaka et al. 2020).

    Examples
    --------
    >>> exponential(0.25, 2)
    [0.5, 0.25]
    """
    return [density ** (k / rounds) for k in range(1, rounds + 1)]
