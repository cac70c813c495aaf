"""What is left of a network by its layer gates: for every parameter, use and unit, the condition under which it is.

A condition is a set of sets of layer gates: it holds when all gates of one of the sets are open. An arc is alive when
no gate that kills it is closed; a parameter while some arc that reads it is; a unit while something writes it and
something reads it. With independent gates the chance of a condition is a polynomial that is linear in each gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, cached_property

import numpy as np

from ..dag_pruning.prunable_network import Network
from .branches import LayerGate

__all__ = ["ALWAYS", "Condition", "Survival", "both", "either", "polynomial"]

Condition = frozenset[frozenset[int]]

ALWAYS: Condition = frozenset([frozenset()])


def either(conditions: Iterable[Condition]) -> Condition:
    """Holds when one of them does, in its shortest form.

    Examples
    --------
    >>> short, long = frozenset([frozenset([1])]), frozenset([frozenset([1, 2])])
    >>> either([short, long]) == short
    True
    """
    sets = frozenset().union(*conditions)
    return frozenset(s for s in sets if not any(other < s for other in sets))


def both(*conditions: Condition) -> Condition:
    """Holds when all of them do, in its shortest form."""
    found = ALWAYS
    for condition in conditions:
        found = either([frozenset(a | b for a in found for b in condition)])
    return found


@cache
def polynomial(condition: Condition) -> dict[frozenset[int | Condition], int]:
    """The chance of a condition as a sum of products: set of factors -> coefficient.

    A factor is a gate, or a condition on gates that share none with each other nor with the other factors, so that
    its chance is 1 - prod(1 - prod(gates)).

    Examples
    --------
    >>> all_three = frozenset([0, 1, 2])
    >>> polynomial(frozenset([all_three])) == {all_three: 1}
    True
    >>> one_and_either = frozenset([frozenset([0, 2]), frozenset([1, 2])])
    >>> polynomial(one_and_either) == {frozenset([2, frozenset([frozenset([0]), frozenset([1])])]): 1}
    True
    """
    common = frozenset.intersection(*condition)
    rest = frozenset(gates - common for gates in condition)
    times = Counter(gate for gates in rest for gate in gates)
    shared = max(times, key=lambda gate: (times[gate], -gate), default=None)
    if shared is None or times[shared] == 1:
        return {common | {rest} if len(rest) > 1 else common: 1}
    # With and without the gate that most depends on.
    total: Counter[frozenset[int | Condition]] = Counter()
    closed = polynomial(frozenset(gates for gates in rest if shared not in gates))
    opened = polynomial(either([frozenset(gates - {shared} for gates in rest)]))
    for sign, factors, terms in ((1, common | {shared}, opened), (-1, common | {shared}, closed), (1, common, closed)):
        for term, number in terms.items():
            total[factors | term] += sign * number
    return {term: number for term, number in total.items() if number}


class Survival:
    """The conditions of a network with its layer gates."""

    def __init__(self, network: Network, layers: Sequence[LayerGate]) -> None:
        self.network = network
        killers: list[set[int]] = [set() for _ in network.dag.arcs]
        for number, gate in enumerate(layers):
            for arc in gate.arcs:
                killers[arc].add(number)
        self.arcs: list[Condition] = [frozenset([frozenset(gates)]) for gates in killers]

    def parameter(self, name: str) -> Condition:
        """When some arc reads a parameter."""
        readers = self.network.readers.get(name)
        return either(self.arcs[arc] for arc in readers) if readers else ALWAYS

    @cached_property
    def uses(self) -> dict[str, list[tuple[int, int]]]:
        """Weight -> the arcs with a layer that applies it, and how often it uses each element on one sample."""
        found: dict[str, list[tuple[int, int]]] = {}
        for arc, applied in enumerate(self.network.layers):
            for _, layer in applied:
                found.setdefault(layer.weight, []).append((arc, layer.positions))
        return found

    @cached_property
    def units(self) -> tuple[np.ndarray, list[Condition]]:
        """For every unit the number of its condition, int64 (units,), and the conditions; those of one group, which
        are written and read by the same layers, have the same."""
        found = self.network.found
        group = found.groups().numpy()
        count = int(group.max(initial=-1)) + 1
        written: list[set[Condition]] = [set() for _ in range(count)]
        read: list[set[Condition]] = [set() for _ in range(count)]
        for name, uses in self.uses.items():
            condition = either(self.arcs[arc] for arc, _ in uses)
            for axis, index in enumerate(found.axes.get(name, ())):
                grouped = found.layers[name][0].groups > 1
                into = read if not grouped and found.is_read_along(name, axis) else written
                for number in np.unique(group[index[index >= 0].numpy()]):
                    into[number].add(condition)
        return group, [both(either(w), either(r)) if w and r else ALWAYS for w, r in zip(written, read, strict=True)]

    def columns(self, name: str) -> list[tuple[Condition, np.ndarray]]:
        """Which indices of the axis that a weight reads along hold what an arc brings to a concatenation, bool, and
        when that arc is alive."""
        return [
            (self.arcs[arc], weights[name])
            for arc, weights in self.network.columns.items()
            if name in weights and self.arcs[arc] != ALWAYS
        ]
