"""In which order candidates go, and when enough have gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .candidates import Candidate, drop
from .prunable_network import LiveParts, PrunableNetwork

__all__ = ["ORDERS", "Walk", "by_level", "overall"]

ORDERS = ("global", "forward", "backward")


class Walk:
    """Candidates dropped one after the other, all of which can be undone down to any earlier one.

    Attributes
    ----------
    state
        What is left.
    dropped
        The candidates that went, in order.
    """

    def __init__(self, network: PrunableNetwork, state: LiveParts, budget: str, min_paths: int, floor: int) -> None:
        self.network, self.budget, self.min_paths, self.floor = network, budget, min_paths, floor
        self.state = LiveParts(state.counts, state.alive.copy())
        self.dropped: list[Candidate] = []
        self._counts = [state.counts]
        self._groups = network.channels.groups().numpy()
        self._left = np.bincount(self._groups[state.alive], minlength=self._groups.max(initial=-1) + 1)

    def at(self, drops: int) -> LiveParts:
        """What was left after so many drops."""
        alive = self.state.alive.copy()
        alive[[c.unit for c in self.dropped[drops:] if c.unit is not None]] = True
        return LiveParts(self._counts[drops], alive)

    def cost(self, drops: int | None = None) -> int:
        """What is left after so many drops, all by default."""
        return self.network.cost(self.state if drops is None else self.at(drops), self.budget)

    def drop(self, candidate: Candidate) -> None:
        """Drop a candidate, unless it is gone or has to stay."""
        if candidate.unit is not None:
            group = self._groups[candidate.unit]
            if not self.state.alive[candidate.unit] or self._left[group] <= self.floor:
                return
            self._left[group] -= 1
            self.state.alive[candidate.unit] = False
        else:
            if set(candidate.arcs).isdisjoint(self.state.counts.live):
                return
            after = drop(self.network, self.state, candidate, self.min_paths)
            if after is None:
                return
            self.state = after
        self._counts.append(self.state.counts)
        self.dropped.append(candidate)

    def undo(self, drops: int) -> None:
        """Take drops back until so many are left."""
        for candidate in self.dropped[drops:]:
            if candidate.unit is not None:
                self._left[self._groups[candidate.unit]] += 1
        self.state = self.at(drops)
        del self.dropped[drops:], self._counts[drops + 1 :]

    def first(self, holds: Callable[[int], bool], start: int = 0) -> int:
        """The least number of drops from `start` after which the cost satisfies a condition that more drops cannot
        break; one more than there are when it never does."""
        low, high = start, len(self.dropped) + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.cost(middle)) else (middle + 1, high)
        return low


def overall(walk: Walk, ranked: Sequence[Candidate], allowed: float) -> bool:
    """Drop in this order the fewest after which at most `allowed` is left; False, with all dropped, if none are."""
    start = len(walk.dropped)
    if walk.cost() <= allowed:
        return True
    # In growing portions, so that hardly more is dropped than needed.
    portion, position = 64, 0
    while position < len(ranked) and walk.cost() > allowed:
        for candidate in ranked[position : position + portion]:
            walk.drop(candidate)
        position, portion = position + portion, 2 * portion
    if walk.cost() > allowed:
        return False
    walk.undo(walk.first(float(allowed).__ge__, start))
    return True


def by_level(walk: Walk, ranked: Sequence[Candidate], costs: Sequence[float], allowed: float, backward: bool) -> bool:
    """Drop level by level, then overall what is missing.

    Every level may remove what its candidates cost times one rate, the same for all, and what earlier levels left of
    theirs; in a level candidates go in the order given until one does not fit.
    """
    whole = walk.cost()
    levels: dict[int, list[int]] = {}
    for place, candidate in enumerate(ranked):
        levels.setdefault(candidate.level, []).append(place)
    total = float(sum(costs))
    seen = 0.0
    for level in sorted(levels, reverse=backward):
        seen += sum(costs[place] for place in levels[level])
        least = whole - (whole - allowed) * (seen / total if total else 1.0)
        start = len(walk.dropped)
        for place in levels[level]:
            walk.drop(ranked[place])
        walk.undo(max(start, walk.first(least.__gt__, start) - 1))
    return overall(walk, ranked, allowed)
