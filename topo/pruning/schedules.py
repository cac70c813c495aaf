"""How the density falls over the rounds of an iterative pruner, or over training."""

from __future__ import annotations

__all__ = ["cubic", "exponential"]


def exponential(density: float, rounds: int) -> list[float]:
    """Densities rho^(k/n) after the rounds k = 1..n; one round is one-shot pruning (Tanaka et al. 2020).

    Parameters
    ----------
    density
        The last density, above 0.
    rounds
        How many rounds, at least one.

    Returns
    -------
    list
        One density for each round, falling.

    Examples
    --------
    >>> exponential(0.25, 2)
    [0.5, 0.25]
    """
    return [density ** (k / rounds) for k in range(1, rounds + 1)]


def cubic(density_final: float, progress: float, density_initial: float = 1.0) -> float:
    """Density d_f + (d_i - d_f) (1 - t)^3 at progress t from 0 to 1 (Zhu & Gupta 2017, arXiv 1710.01878).

    With densities d = 1 - s this is their s_t = s_f + (s_i - s_f) (1 - t)^3; progress beyond 0 and 1 counts as these.

    Parameters
    ----------
    density_final
        Density at progress 1.
    progress
        From 0 to 1.
    density_initial
        Density at progress 0.

    Returns
    -------
    float
        Between the two.

    Examples
    --------
    >>> [cubic(0.5, t) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5625, 0.5]
    """
    remaining = 1.0 - min(max(progress, 0.0), 1.0)
    return density_final + (density_initial - density_final) * remaining**3
