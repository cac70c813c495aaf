"""A target for the size of the pruned network, in place of a fixed nu, and the gates that may close for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...errors import InputError
from ..structured.refilling import allowance, unit_kinds
from .complexity import COMPLEXITIES, Complexity
from .gates import Gates, summed_units

__all__ = ["BudgetTarget", "TargetSelection"]


@dataclass(frozen=True)
class BudgetTarget:
    """A share of the network that may remain at the end, in place of a fixed nu.

    On the way theta falls, and gates close, no faster than by a straight line from the beginning to that share.

    Parameters
    ----------
    share
        The share that remains at most, from 0 to 1.
    budget
        What it is the share of: ``"weights"``, ``"parameters"`` or ``"macs"``.
    counted
        Names of the weights that ``"weights"`` counts; all that are prunable unless given.
    """

    share: float
    budget: str = "macs"
    counted: Collection[str] = ()


class TargetSelection:
    """Selects the gates that close for a target.

    Gates are given as bool (gates,), their probabilities theta as float64 (gates,).

    Parameters
    ----------
    target
        The target.
    gates
        The gates of the network.
    complexity
        Their complexity.
    """

    def __init__(self, target: BudgetTarget, gates: Gates, complexity: Complexity) -> None:
        self.target, self.gates, self.complexity = target, gates, complexity

    def expected_share(self, theta: Tensor) -> Tensor:
        """The share of the budget that is expected to remain; of weights, that of parameters stands for it.

        Parameters
        ----------
        theta
            Probabilities that gates are open, (gates,).

        Returns
        -------
        Tensor
            From 0 to 1, float64, of no dimension, on the device of `theta`.
        """
        budget = "macs" if self.target.budget == "macs" else "parameters"
        return self.complexity.expected(theta, budget) / self.complexity.full_cost[budget]

    def share(self, is_open: Tensor) -> float:
        """The share of the budget that remains with these gates.

        Parameters
        ----------
        is_open
            The gates that are open, with all closed that are of no use, bool, (gates,).

        Returns
        -------
        float
            From 0 to 1.
        """
        budget = self.target.budget
        if budget in COMPLEXITIES:
            return float(self.complexity.expected(is_open.double(), budget)) / self.complexity.full_cost[budget]
        masks = self.gates.masks(is_open)
        weights = [masks[name] for name in self.target.counted or self.gates.prunable]
        return sum(int(mask.sum()) for mask in weights) / sum(mask.numel() for mask in weights)

    def required(self, theta: Tensor, is_open: Tensor) -> Tensor:
        """The likeliest open unit of every group that each path needs one of, bool (gates,).

        Parameters
        ----------
        theta
            Probabilities that gates are open, (gates,).
        is_open
            Which gates are open, bool, (gates,).

        Returns
        -------
        Tensor
            bool, (gates,).
        """
        required = torch.zeros_like(is_open)
        theta_of_open = torch.where(is_open, theta, -1.0)
        for group in self.gates.required_groups:
            required[group[theta_of_open[group].argmax()]] = True
        return required

    def affordable(self, theta: Tensor, is_open: Tensor, closing: Tensor, share: float) -> Tensor:
        """The gates that may close, the least likely first, while at least a share of the budget remains.

        Parameters
        ----------
        theta
            Probabilities of the gates.
        is_open
            The gates that are open.
        closing
            Those of them that are about to close.
        share
            The share of the budget that must remain.

        Returns
        -------
        Tensor
            bool, (gates,).
        """
        order = (closing & ~self.required(theta, is_open)).nonzero().flatten()
        order = order[theta[order].argsort(stable=True)]
        count = bisect_left(
            range(1, len(order) + 1), True, key=lambda n: self._share_without(is_open, order[:n]) < share
        )
        return torch.zeros_like(closing).index_fill(0, order[:count], True)

    def within_target(self, theta: Tensor, is_open: Tensor) -> Tensor:
        """The gates that stay open when as few as possible close, the least likely first, to meet the target.

        Where the last one to close is a layer that saves more than was still to be saved, the likeliest units stay
        instead. Where it saves more than that with all units open, it stays, and units close. In the end the likeliest
        of the gates that closed open again as far as the target allows.

        Parameters
        ----------
        theta
            Probabilities that gates are open, (gates,).
        is_open
            Which gates are open, bool, (gates,).

        Returns
        -------
        Tensor
            bool, (gates,).

        Raises
        ------
        InputError
            No connected network is that small.
        """
        order = torch.where(self.required(theta, is_open), torch.inf, theta).argsort(stable=True)
        best, best_share = order, -1.0
        while True:
            closing = self._fewest(is_open, order)
            is_layer = self.gates.is_layer[closing]
            closing = self._fewest(is_open, torch.cat([closing[is_layer], closing[~is_layer]]))
            share = self._share_without(is_open, closing)
            if best_share < share <= self._allowed:
                best, best_share = closing, share
            if not len(closing) or not self.gates.is_layer[closing[-1]]:
                break
            order = order[order != closing[-1]]
        if best_share < 0:
            why = "; what sums share (channels of residual streams, cells of projected LSTMs) has no gates"
            raise InputError(
                f"pruner 'variational' finds no connected network with at most {self.target.share:.3g} of the "
                f"{self.target.budget}{why if summed_units(self.gates.channels).any() else ''}; lower the sparsity."
            )
        return self._reopened(theta, is_open, self.gates.closure(is_open.index_fill(0, best, False)))

    @property
    def _allowed(self) -> float:
        return allowance(self.target.share, 1.0)

    def _reopened(self, theta: Tensor, was_open: Tensor, is_open: Tensor) -> Tensor:
        """Open gates again that fit into the target, the likeliest first, until no other one does.

        A layer opens with all its units, or else with the likeliest one of each group of them.
        """
        share, changed = self.share(is_open), True
        while changed:
            changed = False
            too_large: set[int] = set()
            closed = (was_open & ~is_open).nonzero().flatten()
            for gate in closed[theta[closed].argsort(descending=True, stable=True)].tolist():
                is_layer = bool(self.gates.is_layer[gate])
                if is_open[gate] or (not is_layer and self._kinds[gate] in too_large):
                    continue
                inside = self._units_inside(gate) & was_open if is_layer else torch.zeros_like(is_open)
                for more in (inside, self._likeliest(theta, inside)) if is_layer else (inside,):
                    tried = self.gates.closure((is_open | more).index_fill(0, torch.tensor([gate]), True))
                    if share < (reached := self.share(tried)) <= self._allowed:
                        is_open, share, changed = tried, reached, is_layer or changed
                        break
                else:
                    too_large |= set() if is_layer else {self._kinds[gate]}
        return is_open

    @cached_property
    def _kinds(self) -> list[int]:
        """The kind of the unit of every unit gate."""
        return unit_kinds(self.gates.channels)[self.gates.units].tolist()

    def _units_inside(self, layer: int) -> Tensor:
        """The unit gates that are of no use without a layer gate, bool (gates,)."""
        everything = torch.ones(self.gates.count, dtype=torch.bool)
        without = self.gates.remaining_units(everything.index_fill(0, torch.tensor([layer]), False))
        inside = torch.zeros_like(everything)
        inside[: len(self.gates.units)] = ~without[self.gates.units]
        return inside

    def _likeliest(self, theta: Tensor, inside: Tensor) -> Tensor:
        """Of these unit gates the likeliest of each group, bool (gates,)."""
        gates = inside.nonzero().flatten()
        if not len(gates):
            return inside
        gates = gates[theta[gates].argsort(descending=True, stable=True)]
        groups = self.gates.channels.groups()[self.gates.units[gates]]
        first = (groups[:, None] == groups).int().argmax(1).unique()
        return torch.zeros_like(inside).index_fill(0, gates[first], True)

    def _fewest(self, is_open: Tensor, order: Tensor) -> Tensor:
        """As many of these gates, in their order, as must close to meet the target."""
        share = self._allowed
        count = bisect_left(range(len(order)), True, key=lambda n: self._share_without(is_open, order[:n]) <= share)
        return order[:count]

    def _share_without(self, is_open: Tensor, closing: Tensor) -> float:
        """The share of the budget that remains when these gates close; -1 where no path does."""
        try:
            return self.share(self.gates.closure(is_open.index_fill(0, closing, False)))
        except InputError:
            return -1.0
