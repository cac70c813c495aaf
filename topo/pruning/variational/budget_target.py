"""What is to be left of a network in the end, in place of a fixed nu, and which gates may close for it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from .complexity import Complexity
from .gates import Gates

__all__ = ["Budget", "Target"]


@dataclass(frozen=True)
class Target:
    """What is to be left of the network at the end, in place of a fixed nu: at most `share` of its `budget`.

    On the way there chances fall, and gates close, no faster than by a straight line from the beginning to that share.
    """

    share: float
    budget: str = "macs"


class Budget:
    """What networks with some gates closed leave of a target's budget.

    Gates are given as bool (gates,), their chances theta as float64 (gates,).
    """

    def __init__(self, target: Target, gates: Gates, complexity: Complexity) -> None:
        self.target, self.gates, self.complexity = target, gates, complexity

    def expected(self, theta: Tensor) -> float:
        """The share of the budget that these chances leave on average."""
        budget = "macs" if self.target.budget == "macs" else "parameters"
        return float(self.complexity.expected(theta, budget)) / self.complexity.whole[budget]

    def spared(self, theta: Tensor, there: Tensor) -> Tensor:
        """Of the gates `there`, the likeliest unit of every group that each path needs one of, bool (gates,)."""
        found = torch.zeros_like(there)
        chances = torch.where(there, theta, -1.0)
        for group in self.gates.needed:
            found[group[chances[group].argmax()]] = True
        return found

    def affordable(self, theta: Tensor, there: Tensor, going: Tensor, share: float) -> Tensor:
        """Of the gates `there`, those `going` that may close, the least likely first, without leaving less than a share
        of the budget."""
        order = (going & ~self.spared(theta, there)).nonzero().flatten()
        order = order[theta[order].argsort(stable=True)]
        enough = bisect_left(range(1, len(order) + 1), True, key=lambda n: self._left(there, order[:n]) < share)
        return torch.zeros_like(going).index_fill(0, order[:enough], True)

    def within(self, theta: Tensor, there: Tensor) -> Tensor:
        """The gates that stay open when as few as possible close, the least likely first, to keep to the budget.

        Where the last one is a layer that saves more than was left to save, the likeliest units stay instead. Where it
        saves more with all of them, it stays, and units go.

        Raises
        ------
        InputError
            No connected network is that small.
        """
        order = torch.where(self.spared(theta, there), torch.inf, theta).argsort(stable=True)
        best, most = order, -1.0
        while True:
            closing = self._fewest(there, order)
            is_layer = self.gates.is_layer[closing]
            closing = self._fewest(there, torch.cat([closing[is_layer], closing[~is_layer]]))
            left = self._left(there, closing)
            if most < left <= self.target.share:
                best, most = closing, left
            if not len(closing) or not self.gates.is_layer[closing[-1]]:
                break
            order = order[order != closing[-1]]
        if most < 0:
            raise InputError(
                f"pruner 'variational' finds no connected network with at most {self.target.share:.3g} of the "
                f"{self.target.budget}; lower the sparsity."
            )
        return self.gates.closure(there.index_fill(0, best, False))

    def _fewest(self, there: Tensor, order: Tensor) -> Tensor:
        """As many of these gates, in their order, as must close to keep to the budget."""
        share = self.target.share
        return order[: bisect_left(range(len(order)), True, key=lambda n: self._left(there, order[:n]) <= share)]

    def _left(self, there: Tensor, closing: Tensor) -> float:
        """The share of the budget that is left when these gates close; -1 where no path is."""
        try:
            return self._share(self.gates.closure(there.index_fill(0, closing, False)))
        except InputError:
            return -1.0

    def _share(self, alive: Tensor) -> float:
        budget = self.target.budget
        if budget != "weights":
            return float(self.complexity.expected(alive.double(), budget)) / self.complexity.whole[budget]
        masks = self.gates.masks(alive)
        weights = [masks[name] for name in self.gates.prunable]
        return sum(int(mask.sum()) for mask in weights) / sum(mask.numel() for mask in weights)
