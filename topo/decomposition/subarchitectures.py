"""Sub-architectures of a network: how many there are, which, and what each of them computes.

A sub-architecture is a set of arcs each of which lies on a path of its own arcs from the input to the output. In
series, counts multiply, c1 c2; in parallel, (c1 + 1)(c2 + 1) - 1. B residual blocks have 3^B sub-architectures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..dag.dag import Dag
from ..dag.path_counts import checked_arcs, trim
from ..errors import InputError, counted
from .lifting import Lifting
from .state import BatchInterpreter

__all__ = ["SubNetwork", "count_subarchitectures", "iterate_subarchitectures"]

SOURCE = -1


def count_subarchitectures(dag: Dag, live: Iterable[int] | None = None, *, limit: int = 100_000) -> int:
    """The number of sub-architectures that are not empty, exact.

    Series and parallel reductions first. What they leave, where they do not apply, is counted node after node: how
    many ways there are for each state of the nodes that later ones still read (dead, alive, alive and read).

    Parameters
    ----------
    dag
        With one sink, such as ``lifting.dag``.
    live
        Arcs to choose from; all by default.
    limit
        The most such states at once; the count is refused beyond.

    Returns
    -------
    int
        A Python integer of any size.

    Raises
    ------
    InputError
        When counting takes more than `limit` states.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet56"), torch.zeros(1, 3, 32, 32))
    >>> count_subarchitectures(lifting.dag) == 3**27
    True
    """
    sink = _sink(dag)
    into = _reduced(dag, trim(dag, live), sink)
    if set(into) <= {sink}:
        return into[sink].get(SOURCE, 0) if into else 0
    last_reader = {source: target for target in sorted(into) for source in into[target]}
    # A state is the set of alive nodes with readers to come, and those of them that some node reads already.
    states: dict[tuple[int, int], int] = {(1, 1): 1}
    place = {SOURCE: 0} | {node: i + 1 for i, node in enumerate(sorted(into))}
    for node in sorted(into):
        own_bit = 1 << place[node]
        for source, ways in into[node].items():
            bit = 1 << place[source]
            reached: dict[tuple[int, int], int] = defaultdict(int, states)
            for (alive, served), number in states.items():
                if alive & bit:
                    reached[alive | own_bit, served | bit] += number * ways
            states = reached
            if len(states) > limit:
                raise InputError(
                    f"counting the sub-architectures needs more than {limit:,} states at node "
                    f"{dag.nodes[node].name!r}: too many nodes are read across it. Count those of a part of the "
                    "network (live=), or raise the limit."
                )
        gone = [s for s in into[node] if last_reader[s] == node]
        for source in gone:
            bit = 1 << place[source]
            kept: dict[tuple[int, int], int] = defaultdict(int)
            for (alive, served), number in states.items():
                if not alive & bit or served & bit:
                    kept[alive & ~bit, served & ~bit] += number
            states = kept
    return sum(number for (alive, _), number in states.items() if alive & 1 << place[sink])


def _sink(dag: Dag) -> int:
    ends = {output.node for output in dag.outputs if output.node is not None}
    if len(ends) != 1:
        raise InputError("sub-architectures need a Dag with one sink; take that of topo.lift(...).dag.")
    return ends.pop()


def _reduced(dag: Dag, live: Iterable[int], sink: int) -> dict[int, dict[int, int]]:
    """For every node left, the ways (counts) to choose from what leads there from each node before, all inputs one."""
    inputs = set(dag.inputs)
    into: dict[int, dict[int, int]] = defaultdict(dict)
    out: dict[int, set[int]] = defaultdict(set)

    def parallel(source: int, target: int, ways: int) -> None:
        into[target][source] = (into[target].get(source, 0) + 1) * (ways + 1) - 1
        out[source].add(target)

    for arc in live:
        source, target = dag.arcs[arc].source, dag.arcs[arc].target
        parallel(SOURCE if source in inputs else source, target, 1)
    waiting = list(into)
    while waiting:
        node = waiting.pop()
        if node == sink or node not in into or len(into[node]) != 1 or len(out[node]) != 1:
            continue
        ((source, before),) = into.pop(node).items()
        (target,) = out.pop(node)
        out[source].discard(node)
        parallel(source, target, before * into[target].pop(node))
        waiting += [source, target]
    return dict(into)


def iterate_subarchitectures(dag: Dag, live: Iterable[int] | None = None) -> Iterator[tuple[int, ...]]:
    """Every sub-architecture that is not empty, one after the other, as ascending places of arcs; none is stored.

    From the sink backwards: every node that something reads gets one or more of its arcs.

    Parameters
    ----------
    dag
        The network, with one sink.
    live
        Places of the arcs to choose from; all by default.

    Yields
    ------
    tuple
        Places in ``dag.arcs``, ascending.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> from itertools import islice
    >>> len(list(islice(iterate_subarchitectures(lifting.dag), 1000)))
    1000
    """
    into: dict[int, list[int]] = defaultdict(list)
    for arc in sorted(trim(dag, live)):
        into[dag.arcs[arc].target].append(arc)

    def longer(waiting: frozenset[int], chosen: tuple[int, ...]) -> Iterator[tuple[frozenset[int], tuple[int, ...]]]:
        """One node more: `chosen` so far, and `waiting`, the nodes that it reads and that have no arcs yet."""
        node = max(waiting)
        for subset in range(1, 1 << len(into[node])):
            arcs = tuple(arc for i, arc in enumerate(into[node]) if subset >> i & 1)
            sources = {dag.arcs[arc].source for arc in arcs}
            yield waiting - {node} | {s for s in sources if into[s]}, chosen + arcs

    stack = [longer(frozenset({_sink(dag)}), ())] if into else []
    while stack:
        extended = next(stack[-1], None)
        if extended is None:
            stack.pop()
        elif extended[0]:
            stack.append(longer(*extended))
        else:
            yield tuple(sorted(extended[1]))


class SubNetwork(nn.Module):
    """The function of a sub-architecture, with the inputs, outputs and parameter names of the whole network.

    The arcs given are trimmed first: what lies on no path from input to output is gone, with the constants it would
    pass on. What a concatenation or a product would read from an arc that is gone is zero, and so is an output that
    nothing leads to; without any path the function is zero. Parameters are those of the model, not copies, and only
    the ones that live arcs read.

    Parameters
    ----------
    lifting
        The network.
    arcs
        The arcs to keep, by their places in ``lifting.dag.arcs``.

    Examples
    --------
    >>> import torch, topo
    >>> lifting = topo.lift(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    >>> every = range(len(lifting.dag.arcs))
    >>> shallow = SubNetwork(lifting, set(every) - set(topo.dag.residual_blocks(lifting.dag)[0].branches))
    >>> shallow
    SubNetwork(27 of 29 arcs, 256 paths)
    >>> shallow(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, lifting: Lifting, arcs: Iterable[int]) -> None:
        super().__init__()
        self.lifting = lifting
        dag = lifting.dag
        self.arcs = tuple(sorted(trim(dag, checked_arcs(dag, arcs))))
        targets = dict.fromkeys(dag.arcs[arc].target for arc in self.arcs)
        steps = [step for arc in self.arcs for step in dag.arcs[arc].steps]
        steps += [combine for node in targets if (combine := dag.nodes[node].combine) is not None]
        for name in dag.state_behind(name for step in steps for name in step.values):
            _register(self, name, dag.state[name])

    def __repr__(self) -> str:
        paths = self.lifting.path_counts(self.arcs).total
        return f"SubNetwork({len(self.arcs)} of {counted(len(self.lifting.dag.arcs), 'arc')}, {counted(paths, 'path')})"

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """The output, put together as the model returns it."""
        dag = self.lifting.dag
        own = dict(self.named_parameters(remove_duplicate=False)) | dict(self.named_buffers(remove_duplicate=False))
        running = _ChosenArcs(dag, dag.input_tensors(*inputs, **keywords), {**dag.state, **own}, self.arcs)
        (value,) = running.evaluate(running.inputs)
        return self.lifting.output_of(value)


class _ChosenArcs(BatchInterpreter):
    """Follows only some arcs."""

    def __init__(self, dag: Dag, inputs: Sequence[Tensor], state: Mapping[str, Tensor], places: Iterable[int]) -> None:
        super().__init__(dag, inputs, state)
        self._into: dict[int, list[int]] = defaultdict(list)
        for place in places:
            self._into[dag.arcs[place].target].append(place)

    def places_into(self, node: int) -> Sequence[int]:
        return self._into.get(node, ())


def _register(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Hang a parameter or buffer under its dotted name."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(module.named_children()):
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(last, tensor)
    else:
        module.register_buffer(last, tensor)
