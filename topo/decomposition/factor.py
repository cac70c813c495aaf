"""A level of a network as a map of its states."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ..dag.dag import Dag
from ..dag.path_counts import checked_arcs
from ..errors import InputError, counted
from .arc_labels import arc_labels
from .state import State, minus, plus

__all__ = ["Factor"]


class Factor:
    """``I + N``, where N is the sum of the functions of some arcs that all end at one level.

    Parameters
    ----------
    dag
        The network, with one sink.
    level
        The level it writes.
    arcs
        Places in ``dag.arcs`` of the arcs it applies; all that end at the level by default.

    Raises
    ------
    InputError
        When an arc does not end at the level.

    Attributes
    ----------
    level
        The level it writes; it reads only levels below.
    arcs
        The arcs it applies, by their places in ``dag.arcs``, ascending.
    """

    def __init__(self, dag: Dag, level: int, arcs: Iterable[int] | None = None) -> None:
        self.dag, self.level = dag, level
        here = [i for i, arc in enumerate(dag.arcs) if dag.nodes[arc.target].level == level]
        chosen = set(here) if arcs is None else checked_arcs(dag, arcs)
        if not chosen <= set(here):
            raise InputError(f"arc {min(chosen - set(here))} does not end at level {level}.")
        self.arcs = tuple(i for i in here if i in chosen)

    def __repr__(self) -> str:
        return f"Factor(level {self.level}, {counted(len(self.arcs), 'arc')})"

    @cached_property
    def _rows(self) -> dict[int, list[int]]:
        """For every node that the factor writes, the places of its arcs there."""
        rows: dict[int, list[int]] = {}
        for place in self.arcs:
            rows.setdefault(self.dag.arcs[place].target, []).append(place)
        return rows

    def added(self, z: State) -> dict[int, Any]:
        """N(z): what is added, by node.

        Parameters
        ----------
        z
            A state.

        Returns
        -------
        dict
            Place in ``dag.nodes`` -> value.
        """
        return {node: z.batch.brought(node, places, z.at) for node, places in self._rows.items()}

    def __call__(self, z: State) -> State:
        """``z + N(z)``."""
        before = z.values_by_node
        return z.written({v: plus(before[v], n) if v in before else n for v, n in self.added(z).items()})

    def inverse(self, z: State) -> State:
        """``z - N(z)``, which undoes the factor: it reads below its level only, and there nothing has changed.

        Parameters
        ----------
        z
            A state.

        Returns
        -------
        State
            A new one.
        """
        return z.written({v: minus(z.at(v), n) for v, n in self.added(z).items()})

    def rows(self) -> dict[str, list[str]]:
        """The rows of the matrix that are not those of the identity, by node: a label for every column.

        Columns are the nodes in order of level. ``0`` stands for nothing, ``I`` for the identity, ``slot 1`` for the
        identity into entry 1 of a concatenation or product.
        """
        nodes, arcs, labels = self.dag.nodes, self.dag.arcs, arc_labels(self.dag)
        order = sorted(range(len(nodes)), key=lambda i: (nodes[i].level, i))
        column = {node: number for number, node in enumerate(order)}
        rows = {}
        for node, places in self._rows.items():
            cells: list[list[str]] = [[] for _ in column]
            cells[column[node]].append("I")
            for place in places:
                cells[column[arcs[place].source]].append(labels[place])
            rows[nodes[node].name] = [" + ".join(cell) or "0" for cell in cells]
        return rows
