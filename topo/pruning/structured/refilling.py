"""The last units of a budget: of those that a pruner removed, the ones that still fit come back."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ...errors import warn

__all__ = ["allowance", "refill", "unit_kinds", "warn_of_shortfall"]

TOLERATED = 0.9
"""Below this part of what may stay, that less is left comes with a warning."""


def allowance(share: float, full: float) -> float:
    """What may stay of a budget; that 1 - 0.9 is less than 0.1 in floating-point numbers costs no weight.

    Parameters
    ----------
    share
        Of the budget, from 0 to 1.
    full
        The budget of the whole network.

    Returns
    -------
    float
        In the unit of the budget.

    Examples
    --------
    >>> (1 - 0.9) * 5000 >= 500, allowance(1 - 0.9, 5000) >= 500
    (False, True)
    """
    return share * full * (1 + 1e-12)


def unit_kinds(channels: CoupledChannels) -> Tensor:
    """For every unit the number of its kind: units of one kind cost the same, whatever else stays.

    Parameters
    ----------
    channels
        The units of a model.

    Returns
    -------
    Tensor
        int64, (count,): units of one group that have as many indices as each other along every axis.
    """
    kinds = channels.groups()
    for index in (index for axes in channels.axes.values() for index in axes):
        indices = index[index >= 0].bincount(minlength=channels.count)
        most = int(indices.max())
        if most > 1:  # with one index each, units of a group are alike
            kinds = (kinds * (most + 1) + indices).unique(return_inverse=True)[1]
    return kinds


def refill(staying: Tensor, order: Tensor, kinds: Tensor, fits: Callable[[Tensor], bool]) -> Tensor:
    """Put units back that fit, the first of an order first, until no other one does.

    What a unit costs grows with what else stays, for weights are products of what they read and what they write. So
    one that does not fit fits no later, nor does another of its kind.

    Parameters
    ----------
    staying
        Units that stay, bool, (count,).
    order
        Units that may come back, the best first, int64.
    kinds
        As `unit_kinds` numbers them, (count,).
    fits
        Whether the budget is met with the units that stay.

    Returns
    -------
    Tensor
        Units that stay, bool, (count,).

    Examples
    --------
    >>> import torch
    >>> staying, sizes = torch.tensor([True, False, False, False]), torch.tensor([4, 3, 2, 2])
    >>> refill(staying, torch.tensor([1, 2, 3]), sizes, lambda stay: int(sizes[stay].sum()) <= 6).tolist()
    [True, False, True, False]
    """
    order = order[~staying[order]]
    while len(order):
        unit, order = order[0], order[1:]
        more = staying.clone()
        more[unit] = True
        if fits(more):
            staying = more
        else:
            order = order[kinds[order] != kinds[unit]]
    return staying


def warn_of_shortfall(name: str, left: float, allowed: float, full: float, budget: str) -> None:
    """Warn where a structured pruner leaves much less than it may, for what it removed goes in large pieces only.

    Parameters
    ----------
    name
        Of the pruner.
    left, allowed, full
        What it leaves, what it may leave and what there was, in one unit.
    budget
        What is counted.

    Warns
    -----
    UserWarning
        Where less than nine tenths of what may stay are left.
    """
    if left < TOLERATED * allowed:
        warn(
            f"pruner {name!r} leaves {left / full:.3g} of the {budget} where {allowed / full:.3g} may stay: each thing "
            "that it removed, with all that is coupled to it, is larger than what is missing; Masks.reached says what "
            "was reached, and a pruner of single weights meets any sparsity.",
        )
