"""In which order candidates go, and when enough have gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..structured.refilling import unit_kinds
from .candidates import Candidate, drop
from .prunable_network import LiveParts, PrunableNetwork

__all__ = ["ORDERS", "Removals", "bring_back", "remove_by_level", "remove_overall"]

ORDERS = ("global", "forward", "backward")


class Removals:
    """Candidates removed one after the other, all of which can be undone down to any earlier one.

    Parameters
    ----------
    network
        The network.
    parts
        What is left of it to begin with.
    budget
        What `cost` counts.
    min_paths
        The least number of paths that stay.
    floor
        The least number of units that every group keeps.

    Attributes
    ----------
    parts
        What is left.
    dropped
        The candidates that went, in order.
    """

    def __init__(self, network: PrunableNetwork, parts: LiveParts, budget: str, min_paths: int, floor: int) -> None:
        self.network, self.budget, self.min_paths, self.floor = network, budget, min_paths, floor
        self.parts = LiveParts(parts.counts, parts.alive.copy())
        self.dropped: list[Candidate] = []
        self._counts = [parts.counts]
        self._groups = network.channels.groups().numpy()
        self._units_left = np.bincount(self._groups[parts.alive], minlength=self._groups.max(initial=-1) + 1)

    @property
    def paths(self) -> list[int]:
        """How many paths were left after each drop."""
        return [counts.total for counts in self._counts[1:]]

    def at(self, drops: int) -> LiveParts:
        """What was left after so many drops.

        Parameters
        ----------
        drops
            How many, of those made.

        Returns
        -------
        LiveParts
            What was left.
        """
        alive = self.parts.alive.copy()
        alive[[c.unit for c in self.dropped[drops:] if c.unit is not None]] = True
        return LiveParts(self._counts[drops], alive)

    def cost(self, drops: int | None = None) -> int:
        """What is left after so many drops, all by default.

        Parameters
        ----------
        drops
            How many, of those made.

        Returns
        -------
        int
            In the unit of the budget.
        """
        return self.network.cost(self.parts if drops is None else self.at(drops), self.budget)

    def drop(self, candidate: Candidate) -> None:
        """Drop a candidate, unless it is gone or has to stay.

        Parameters
        ----------
        candidate
            What should go.
        """
        if candidate.unit is not None:
            group = self._groups[candidate.unit]
            if not self.parts.alive[candidate.unit] or self._units_left[group] <= self.floor:
                return
            self._units_left[group] -= 1
            self.parts.alive[candidate.unit] = False
        else:
            if set(candidate.arcs).isdisjoint(self.parts.counts.live):
                return
            after = drop(self.network, self.parts, candidate, self.min_paths)
            if after is None:
                return
            self.parts = after
        self._counts.append(self.parts.counts)
        self.dropped.append(candidate)

    def undo(self, drops: int) -> None:
        """Take drops back until so many are left.

        Parameters
        ----------
        drops
            How many stay made.
        """
        for candidate in self.dropped[drops:]:
            if candidate.unit is not None:
                self._units_left[self._groups[candidate.unit]] += 1
        self.parts = self.at(drops)
        del self.dropped[drops:], self._counts[drops + 1 :]

    def first(self, holds: Callable[[int], bool], start: int = 0) -> int:
        """The least number of drops from `start` after which the cost satisfies a condition that more drops cannot
        break; one more than there are when it never does.

        Parameters
        ----------
        holds
            The condition on a cost.
        start
            The least number that is asked about.

        Returns
        -------
        int
            A number of drops.
        """
        low, high = start, len(self.dropped) + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.cost(middle)) else (middle + 1, high)
        return low


def remove_overall(removals: Removals, ranked: Sequence[Candidate], allowed: float) -> bool:
    """Drop in this order the fewest after which at most `allowed` is left; False, with all dropped, if none are.

    Parameters
    ----------
    removals
        What has been dropped so far; changed in place.
    ranked
        Candidates, in the order in which they go.
    allowed
        Budget, in the unit of ``removals.cost()``.

    Returns
    -------
    bool
        Whether the budget is met.
    """
    start = len(removals.dropped)
    if removals.cost() <= allowed:
        return True
    # In growing portions, so that hardly more is dropped than needed.
    portion, position = 64, 0
    while position < len(ranked) and removals.cost() > allowed:
        for candidate in ranked[position : position + portion]:
            removals.drop(candidate)
        position, portion = position + portion, 2 * portion
    if removals.cost() > allowed:
        return False
    removals.undo(removals.first(float(allowed).__ge__, start))
    return True


def remove_by_level(
    removals: Removals, ranked: Sequence[Candidate], costs: Sequence[float], allowed: float, backward: bool
) -> bool:
    """Drop level by level, then overall what is missing.

    Every level may remove what its candidates cost times one rate, the same for all, and what earlier levels left of
    theirs; in a level candidates go in the order given until one does not fit.

    Parameters
    ----------
    removals
        What has been dropped so far; changed in place.
    ranked
        Candidates, in the order in which they go within their level.
    costs
        What each of them costs, in the same order.
    allowed
        Budget, in the unit of ``removals.cost()``.
    backward
        Whether the levels go from the output to the input.

    Returns
    -------
    bool
        Whether the budget is met.
    """
    full_cost = removals.cost()
    levels: dict[int, list[int]] = {}
    for place, candidate in enumerate(ranked):
        levels.setdefault(candidate.level, []).append(place)
    total = float(sum(costs))
    seen = 0.0
    for level in sorted(levels, reverse=backward):
        seen += sum(costs[place] for place in levels[level])
        least = full_cost - (full_cost - allowed) * (seen / total if total else 1.0)
        start = len(removals.dropped)
        for place in levels[level]:
            removals.drop(ranked[place])
        removals.undo(max(start, removals.first(least.__gt__, start) - 1))
    return remove_overall(removals, ranked, allowed)


def bring_back(network: PrunableNetwork, dropped: Sequence[Candidate], budget: str, allowed: float) -> LiveParts:
    """What is left when candidates that were dropped come back as far as they fit, the last that went first.

    Parameters
    ----------
    network
        The network.
    dropped
        What was dropped from the whole of it, in order.
    budget
        What is counted.
    allowed
        What may be left of it.

    Returns
    -------
    LiveParts
        A part of the network to which no candidate can be added.
    """
    kinds = unit_kinds(network.channels).tolist()
    intact = network.intact()
    branches = [c for c in reversed(dropped) if c.unit is None]
    parts = _without(intact, branches, [c.unit for c in dropped if c.unit is not None])
    left = network.cost(parts, budget)

    def fits(after: LiveParts) -> bool:
        return left < network.cost(after, budget) <= allowed

    waiting = list(reversed(dropped))
    while waiting:
        too_large: set[int] = set()
        still_gone = []
        restored_branch = False
        for candidate in waiting:
            after = None
            if candidate.unit is None:
                others = [c for c in branches if c is not candidate]
                after = LiveParts(_without(intact, others, []).counts, parts.alive)
                after = after if network.is_sound(after) else None
            elif kinds[candidate.unit] not in too_large:
                alive = parts.alive.copy()
                alive[candidate.unit] = True
                after = LiveParts(parts.counts, alive)
            if after is not None and fits(after):
                parts, left = after, network.cost(after, budget)
                if candidate.unit is None:
                    branches.remove(candidate)
                    restored_branch = True
                continue
            still_gone.append(candidate)
            if candidate.unit is not None:
                too_large.add(kinds[candidate.unit])
        waiting = still_gone if restored_branch else []
    return parts


def _without(intact: LiveParts, branches: Sequence[Candidate], units: Sequence[int]) -> LiveParts:
    return intact.without(arcs={a for c in branches for a in c.arcs} & set(intact.counts.live), units=units)
