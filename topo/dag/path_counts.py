"""Paths from the input to the output of a `Dag`: how many, which, the heaviest first, and what dropping arcs costs.

A path is a sequence of arcs, given by their places in ``dag.arcs``; parallel arcs make different paths. An arc into a
slot of a concatenation, or into an operand of a product, is an arc like any other: a path through a slot goes on
through the whole fusion node, whether or not the other slots are alive.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from ..errors import InputError
from .dag import Dag

__all__ = [
    "PathCounts",
    "arcs_leaving",
    "checked_arcs",
    "count_paths",
    "count_paths_by_weight",
    "heaviest_paths",
    "paths",
    "trim",
]


def checked_arcs(dag: Dag, arcs: Iterable[int] | None) -> frozenset[int]:
    """Places of arcs as a set, all of them when None.

    Parameters
    ----------
    dag
        The network.
    arcs
        Places in ``dag.arcs``.

    Returns
    -------
    frozenset
        Of places.

    Raises
    ------
    InputError
        When a place does not exist.
    """
    if arcs is None:
        return frozenset(range(len(dag.arcs)))
    places = frozenset(arcs)
    wrong = [a for a in places if not isinstance(a, int) or not 0 <= a < len(dag.arcs)]
    if wrong:
        raise InputError(f"there is no arc {wrong[0]!r}; arcs are numbered from 0 to {len(dag.arcs) - 1}.")
    return places


def trim(dag: Dag, live: Iterable[int] | None = None) -> frozenset[int]:
    """The arcs among `live` (all by default) that lie on a path of live arcs from an input to an output.

    What is left out computes nothing that the output sees, or starts at a node that no input reaches. Such a node
    would still pass on the constant f(0); by the structural convention, which holds throughout, it is gone.

    Parameters
    ----------
    dag
        The network.
    live
        Places in ``dag.arcs``.

    Returns
    -------
    frozenset
        Places of the arcs that stay.
    """
    return frozenset(PathCounts(dag, live).live)


def count_paths(dag: Dag, live: Iterable[int] | None = None) -> int:
    """The number of paths of live arcs (all by default) from the inputs to the outputs, exact at any size.

    Parameters
    ----------
    dag
        The network.
    live
        Places in ``dag.arcs``.

    Returns
    -------
    int
        A Python integer of any size.

    Examples
    --------
    >>> import torch, topo
    >>> count_paths(topo.trace(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32)))
    512
    """
    return PathCounts(dag, live).total


def count_paths_by_weight(dag: Dag, weight: Mapping[int, int]) -> dict[int, int]:
    """How many paths from the inputs to the outputs have each weight, exact at any size.

    Parameters
    ----------
    dag
        The network.
    weight
        What an arc adds to the weight of a path, by its place in ``dag.arcs``; arcs left out add nothing.

    Returns
    -------
    dict
        Weight -> number of paths, ascending.

    Examples
    --------
    How many residual branches do the paths of a network take?

    >>> import torch, topo
    >>> dag = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32)).dag
    >>> count_paths_by_weight(dag, {arc: 1 for block in topo.dag.residual_blocks(dag) for arc in block.branches})
    {0: 1, 1: 9, 2: 36, 3: 84, 4: 126, 5: 126, 6: 84, 7: 36, 8: 9, 9: 1}
    """
    numbers: list[dict[int, int]] = [defaultdict(int) for _ in dag.nodes]
    for node in dag.inputs:
        numbers[node][0] = 1
    for node, places in enumerate(dag.places_into):
        for place in places:
            for total, number in numbers[dag.arcs[place].source].items():
                numbers[node][total + weight.get(place, 0)] += number
    counts: dict[int, int] = defaultdict(int)
    for output in dag.outputs:
        for total, number in numbers[output.node].items() if output.node is not None else ():
            counts[total] += number
    return dict(sorted(counts.items()))


class PathCounts:
    """Path counts of a `Dag` with a shrinking set of live arcs, exact at any size: bookkeeping for pruning.

    Parameters
    ----------
    dag
        The network.
    live
        Places in ``dag.arcs``; all by default.

    Attributes
    ----------
    live
        The live arcs, ascending; always trimmed: each lies on a live path from input to output.
    forward, backward
        For every node v, F(v), the number of live paths from the inputs to it, and B(v), from it to the outputs.
    total
        P, the number of live paths.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> counts = PathCounts(lifting.dag)
    >>> counts.total
    512
    >>> branch = topo.dag.residual_blocks(lifting.dag)[0].branches
    >>> counts.after(branch), counts.drop(branch), counts.total
    (256, (1, 2), 256)
    """

    def __init__(self, dag: Dag, live: Iterable[int] | None = None) -> None:
        self.dag = dag
        self.source = [arc.source for arc in dag.arcs]
        self.target = [arc.target for arc in dag.arcs]
        self.head_level = [dag.nodes[arc.target].level for arc in dag.arcs]
        self._by_target = sorted(range(len(dag.arcs)), key=self.target.__getitem__)
        self._by_source = sorted(range(len(dag.arcs)), key=self.source.__getitem__, reverse=True)
        self._count(checked_arcs(dag, live))

    def _count(self, live: Iterable[int]) -> None:
        source, target = self.source, self.target
        alive = bytearray(len(source))
        for arc in live:
            alive[arc] = 1
        forward, backward = [0] * len(self.dag.nodes), [0] * len(self.dag.nodes)
        for node in self.dag.inputs:
            forward[node] = 1
        for output in self.dag.outputs:
            if output.node is not None:
                backward[output.node] += 1
        # Nodes are numbered in topological order, so every arc comes after those that its count depends on.
        for arc in self._by_target:
            if alive[arc]:
                forward[target[arc]] += forward[source[arc]]
        for arc in self._by_source:
            if alive[arc]:
                backward[source[arc]] += backward[target[arc]]
        self.forward, self.backward = forward, backward
        self.total = sum(backward[node] for node in self.dag.inputs)
        self.live = [a for a in range(len(source)) if alive[a] and forward[source[a]] and backward[target[a]]]
        self._alive = set(self.live)

    def through(self, arc: int) -> int:
        """F(u) B(v): how many live paths take `arc` from u to v; none when it is not live.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.

        Returns
        -------
        int
            A Python integer of any size.
        """
        return self.forward[self.source[arc]] * self.backward[self.target[arc]] if arc in self._alive else 0

    def after(self, arcs: Iterable[int]) -> int:
        """How many paths are left when `arcs`, all ending at one level, are dropped.

        A path has at most one arc that ends at a given level, so what the arcs take away adds up exactly. Across
        levels it does not: drop those of one level before asking about the next.

        Parameters
        ----------
        arcs
            Places in ``dag.arcs``.

        Returns
        -------
        int
            A Python integer of any size.

        Raises
        ------
        InputError
            When the arcs end at several levels.
        """
        arcs = set(arcs)
        levels = {self.head_level[arc] for arc in arcs}
        if len(levels) > 1:
            raise InputError(
                f"arcs that end at levels {min(levels)} to {max(levels)} share paths, so their counts do not add up; "
                "ask about the arcs of one level at a time."
            )
        return self.total - sum(self.through(arc) for arc in arcs)

    def drop(self, arcs: Iterable[int]) -> tuple[int, ...]:
        """Drop arcs, trim and count again; returns all arcs that died, ascending.

        Parameters
        ----------
        arcs
            Places in ``dag.arcs``.

        Returns
        -------
        tuple
            Places of the arcs that died.

        Raises
        ------
        InputError
            When an arc does not exist, or no path would be left; then nothing has changed.
        """
        before = self.copy()
        self._count(before._alive - checked_arcs(self.dag, arcs))
        if not self.total:
            self.__dict__.update(before.__dict__)
            raise InputError("dropping these arcs would cut every path from the input to the output; keep one of them.")
        return tuple(sorted(before._alive - self._alive))

    def copy(self) -> PathCounts:
        """The same counts, to be changed on their own."""
        new = object.__new__(PathCounts)
        new.__dict__.update(self.__dict__)
        return new


def paths(dag: Dag, live: Iterable[int] | None = None) -> Iterator[tuple[int, ...]]:
    """Every path, one after the other, in the order of arcs; nothing is stored, so any number may be there.

    Parameters
    ----------
    dag
        The network.
    live
        Places of the arcs that paths may take; all by default.

    Yields
    ------
    tuple
        Places in ``dag.arcs``, from the input on.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> len(next(paths(lifting.dag))), sum(1 for _ in paths(lifting.dag))
    (20, 512)
    """
    leaving = arcs_leaving(dag, trim(dag, live))
    ends = {o.node for o in dag.outputs}

    def walk(node: int) -> Iterator[tuple[int, ...]]:
        waiting: list[tuple[int, tuple[int, ...]]] = [(node, ())]
        while waiting:
            at, path = waiting.pop()
            if at in ends:
                yield path
            waiting.extend((dag.arcs[a].target, (*path, a)) for a in reversed(leaving[at]))

    for start in dag.inputs:
        yield from walk(start)


def heaviest_paths(
    dag: Dag,
    weight: Mapping[int, float] | Sequence[float] | Callable[[int], float],
    *,
    combine: str = "sum",
    live: Iterable[int] | None = None,
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Paths in falling order of weight, one at a time: the first comes long before all are known.

    Best-first search, led by the exact weight of the best way on from each node, which one backward sweep gives.

    Parameters
    ----------
    dag
        Any `Dag`.
    weight
        The weight of each arc by its place in ``dag.arcs``.
    combine
        ``"sum"``: a path weighs the sum of its arcs; ``"product"``: their product, for weights of zero and more.
    live
        Arcs that paths may take; all by default.

    Yields
    ------
    weight, path

    Raises
    ------
    InputError
        When `combine` is another word, or a weight is not a number or, in a product, negative.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> heaviest = heaviest_paths(lifting.dag, lambda arc: 1)
    >>> [weight for weight, _ in (next(heaviest), next(heaviest))]
    [20, 19]
    """
    if combine not in ("sum", "product"):
        raise InputError(f"combine is {combine!r}; paths weigh the 'sum' or the 'product' of their arcs.")
    kept = trim(dag, live)
    read = weight if callable(weight) else weight.__getitem__
    given = {a: read(a) for a in kept}
    for arc, value in given.items():
        if math.isnan(value) or (combine == "product" and value < 0):
            raise InputError(f"arc {arc} weighs {value}; weights are numbers, and not negative when they multiply.")
    cost = {a: -math.inf if v == 0 else math.log(v) for a, v in given.items()} if combine == "product" else given
    leaving = arcs_leaving(dag, kept)
    ends = {o.node for o in dag.outputs}
    best = [0 if node in ends else -math.inf for node in range(len(dag.nodes))]
    for node in reversed(range(len(dag.nodes))):
        for arc in leaving[node]:
            best[node] = max(best[node], cost[arc] + best[dag.arcs[arc].target])
    ticket = count()
    # An entry is a path so far and either the node to go on from, or None: it ends here.
    heap: list[tuple[float, int, float, tuple[int, ...], int | None]] = [
        (-best[node], next(ticket), 0, (), node) for node in dag.inputs if leaving[node] or node in ends
    ]
    heapq.heapify(heap)
    while heap:
        _, _, weighs, path, end = heapq.heappop(heap)
        if end is None:
            product = math.prod(given[a] for a in path)
            yield (product if combine == "product" else weighs), path
            continue
        if end in ends:
            heapq.heappush(heap, (-weighs, next(ticket), weighs, path, None))
        for arc in leaving[end]:
            target, so_far = dag.arcs[arc].target, weighs + cost[arc]
            heapq.heappush(heap, (-(so_far + best[target]), next(ticket), so_far, (*path, arc), target))


def arcs_leaving(dag: Dag, live: Iterable[int]) -> list[list[int]]:
    """For every node, the live arcs that start there, ascending.

    Parameters
    ----------
    dag
        The network.
    live
        Places in ``dag.arcs``.

    Returns
    -------
    list
        One list of places for each of ``dag.nodes``.
    """
    leaving: list[list[int]] = [[] for _ in dag.nodes]
    for arc in sorted(live):
        leaving[dag.arcs[arc].source].append(arc)
    return leaving
