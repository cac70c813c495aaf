"""The conditions on layer gates under which each arc, parameter and unit remains, and their probabilities.

A condition is a set of sets of layer gates: it holds when all gates of one of the sets are open. An arc remains when
every gate that removes it is open; a parameter while some arc that reads it remains; a unit while something writes it
and something reads it. With independent gates the probability of a condition is a polynomial, linear in each gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, cached_property

import numpy as np

from ..dag_pruning.prunable_network import PrunableNetwork
from .branches import LayerGate

__all__ = ["ALWAYS", "Condition", "SurvivalConditions", "both", "either", "polynomial"]

Condition = frozenset[frozenset[int]]

ALWAYS: Condition = frozenset([frozenset()])


def either(conditions: Iterable[Condition]) -> Condition:
    """The condition that holds when one of these does, in its shortest form.

    Parameters
    ----------
    conditions
        Sets of sets of gates; a condition holds when all gates of one of its sets are open.

    Returns
    -------
    frozenset
        A condition.

    Examples
    --------
    >>> short, long = frozenset([frozenset([1])]), frozenset([frozenset([1, 2])])
    >>> either([short, long]) == short
    True
    """
    sets: Condition = frozenset().union(*conditions)
    return frozenset(s for s in sets if not any(other < s for other in sets))


def both(*conditions: Condition) -> Condition:
    """The condition that holds when all of these do, in its shortest form."""
    joint = ALWAYS
    for condition in conditions:
        joint = either([frozenset(a | b for a in joint for b in condition)])
    return joint


@cache
def polynomial(condition: Condition) -> dict[frozenset[int | Condition], int]:
    """The probability of a condition as a sum of products: set of factors -> coefficient.

    A factor is a gate, or a condition on gates that share none with each other nor with the other factors, so that
    its probability is 1 - prod(1 - prod(gates)).

    Parameters
    ----------
    condition
        A set of sets of gates, at least one; it holds when all gates of one of its sets are open.

    Returns
    -------
    dict
        The frozenset of its factors -> the coefficient of a product.

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
    # Condition on the gate that occurs in most sets being closed or open.
    total: Counter[frozenset[int | Condition]] = Counter()
    closed = polynomial(frozenset(gates for gates in rest if shared not in gates))
    opened = polynomial(either([frozenset(gates - {shared} for gates in rest)]))
    for sign, factors, terms in ((1, common | {shared}, opened), (-1, common | {shared}, closed), (1, common, closed)):
        for term, number in terms.items():
            total[factors | term] += sign * number
    return {term: number for term, number in total.items() if number}


class SurvivalConditions:
    """Under which layer gates each part of a network remains.

    Parameters
    ----------
    network
        The full network.
    layers
        Its layer gates.

    Attributes
    ----------
    arcs
        For every arc of the coarse Dag, its condition.
    """

    def __init__(self, network: PrunableNetwork, layers: Sequence[LayerGate]) -> None:
        self.network = network
        removed_by: list[set[int]] = [set() for _ in network.dag.arcs]
        for number, gate in enumerate(layers):
            for arc in gate.arcs:
                removed_by[arc].add(number)
        self.arcs: list[Condition] = [frozenset([frozenset(gates)]) for gates in removed_by]

    def parameter(self, name: str) -> Condition:
        """The condition under which some arc reads a parameter.

        Parameters
        ----------
        name
            Name of the parameter.

        Returns
        -------
        frozenset
            A condition; `ALWAYS` where no arc reads it.
        """
        readers = self.network.readers.get(name)
        return either(self.arcs[arc] for arc in readers) if readers else ALWAYS

    @cached_property
    def units(self) -> tuple[np.ndarray, list[Condition]]:
        """For every unit the number of its condition, int64 (units,), and the conditions; units of one group, which
        the same layers write and read, share one."""
        channels = self.network.channels
        group = channels.groups().numpy()
        count = int(group.max(initial=-1)) + 1
        written: list[set[Condition]] = [set() for _ in range(count)]
        read: list[set[Condition]] = [set() for _ in range(count)]
        for name, uses in self.network.element_costs.uses.items():
            condition = either(self.arcs[use.place] for use in uses)
            for axis, index in enumerate(channels.axes.get(name, ())):
                grouped = channels.layers[name][0].groups > 1
                side = read if not grouped and channels.is_read_along(name, axis) else written
                for number in np.unique(group[index[index >= 0].numpy()]):
                    side[number].add(condition)
        return group, [both(either(w), either(r)) if w and r else ALWAYS for w, r in zip(written, read, strict=True)]

    def columns(self, name: str) -> list[tuple[Condition, np.ndarray]]:
        """The slots of concatenations along the axis that a weight reads along: for each, the condition of the arc
        that fills it, and which indices of the axis it covers, bool.

        Parameters
        ----------
        name
            Name of the weight.

        Returns
        -------
        list
            Of pairs of a condition and a bool array.
        """
        return [
            (self.arcs[arc], weights[name])
            for arc, weights in self.network.columns.items()
            if name in weights and self.arcs[arc] != ALWAYS
        ]
