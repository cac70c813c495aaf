"""Coarsening: a node only for inputs, results of parametric operations, and points where values meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import InputError
from .dag import Arc, Dag, Node, Output, Step
from .maps import Gather
from .operators import is_parametric, is_pooling
from .relations import WeightLookup, map_of
from .written_norms import written_norms

__all__ = ["coarsen"]


def coarsen(dag: Dag, *, keep_pooling: bool = False) -> Dag:
    """The same network with fewer nodes.

    0. A norm that is written out is one operation; see `topo.dag.written_norms`.
    1. A node with one arc into it, made of non-parametric operations on a single input, is contracted: its
       operations go to the front of every arc that leaves it.
    2. An addition is merged with a parametric result, or another addition, that only it reads, when the
       operations between renumber elements at most (activation, batch norm, reshaping).
    3. Operations after the last node that renumber elements at most belong to the output, not to a node, unless
       that last node is an input.

    Evaluation stays equal to the model's bit for bit: the order of additions is kept, up to commuting two.
    Nodes keep the name of their parametric operation; levels are those of the coarse Dag.

    Parameters
    ----------
    dag
        Traced by `topo.trace`. Its coarse form is worked out once and kept as long as it.
    keep_pooling
        Whether results of pooling stay nodes.

    Returns
    -------
    Dag
        The coarse form.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> dag = topo.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,))
    >>> [node.name for node in dag.nodes], [node.name for node in coarsen(dag).nodes]
    (['input', '0', '1', '2'], ['input', '0', '2'])
    """
    coarse = _KNOWN.setdefault(dag, {})
    if keep_pooling not in coarse:
        coarse[keep_pooling] = _Coarsening(dag, keep_pooling).run()
    return coarse[keep_pooling]


_KNOWN: WeakKeyDictionary[Dag, dict[bool, Dag]] = WeakKeyDictionary()


class _Coarsening:
    def __init__(self, dag: Dag, keep_pooling: bool) -> None:
        self.dag = dag
        self.keep_pooling = keep_pooling
        self.makes_node = (lambda s: is_parametric(s) or is_pooling(s)) if keep_pooling else is_parametric
        self.into: list[list[Arc]] = [list(arcs) for arcs in dag.arcs_into]
        self.outputs = list(dag.outputs)
        self.alive = [True] * len(dag.nodes)
        self.names = [node.name for node in dag.nodes]
        self.lookup = WeightLookup(dag)

    def run(self) -> Dag:
        for place, (arc, alone) in written_norms(self.dag).items():
            self.into[place] = [arc]
            for node in alone:
                self.alive[node] = False
        self._contract_chains()
        self._merge_into_sums()
        return self._rebuilt()

    def _contract_chains(self) -> None:
        """Rules 1 and 3, front to back, so that a chain is gone before its end is looked at."""
        needed = {o.node for o in self.outputs}
        for index, node in enumerate(self.dag.nodes):
            if not self.alive[index]:
                continue
            self.into[index] = [self._through(arc) for arc in self.into[index]]
            if not self._is_chain_end(index, node):
                continue
            (arc,) = self.into[index]
            at_input = self.dag.nodes[arc.source].kind == "input"
            if index in needed and (at_input or not self._renumbers(arc.steps, arc.source)):
                continue
            self.alive[index] = False
            self.outputs = [Output(arc.source, arc.steps + o.steps) if o.node == index else o for o in self.outputs]

    def _is_chain_end(self, index: int, node: Node) -> bool:
        arcs = self.into[index]
        if node.kind != "sum" or len(arcs) != 1 or self.dag.nodes[arcs[0].source].kind == "product":
            return False
        return not any(self.makes_node(step) for step in arcs[0].steps)

    def _through(self, arc: Arc) -> Arc:
        """The arc with the contracted node it starts at, if it does, replaced by that node's own source."""
        if self.alive[arc.source]:
            return arc
        (before,) = self.into[arc.source]
        return replace(arc, source=before.source, steps=before.steps + arc.steps)

    def _merge_into_sums(self) -> None:
        """Rule 2, front to back; an addition read by another is merged once its own operands are."""
        readers = [0] * len(self.alive)
        for index, arcs in enumerate(self.into):
            if self.alive[index]:
                for arc in arcs:
                    readers[arc.source] += 1
        for output in self.outputs:
            if output.node is not None:
                readers[output.node] += 1
        for index, node in enumerate(self.dag.nodes):
            if not self.alive[index] or node.kind != "sum" or len(self.into[index]) < 2:
                continue
            merged: list[Arc] = []
            arcs = self.into[index]
            # Two operands commute exactly, so the one that is itself a sum goes first.
            if len(arcs) == 2 and self._is_open_sum(arcs[1], readers) and not self._is_open_sum(arcs[0], readers):
                arcs = arcs[::-1]
            for position, arc in enumerate(arcs):
                source = arc.source
                if readers[source] != 1 or not self._is_result(source):
                    merged.append(arc)
                elif len(self.into[source]) == 1 and self._renumbers(arc.steps, source):
                    (before,) = self.into[source]
                    merged.append(replace(arc, source=before.source, steps=before.steps + arc.steps))
                    self.alive[source] = False
                    self._inherit_name(index, source)
                elif position == 0 and self._is_open_sum(arc, readers):
                    merged.extend(replace(before, target=index) for before in self.into[source])
                    self.alive[source] = False
                    self._inherit_name(index, source)
                else:
                    merged.append(arc)
            self.into[index] = merged

    def _is_result(self, index: int) -> bool:
        return self.dag.nodes[index].kind == "sum" and bool(self.into[index])

    def _is_open_sum(self, arc: Arc, readers: list[int]) -> bool:
        return (
            not arc.steps
            and readers[arc.source] == 1
            and len(self.into[arc.source]) > 1
            and self._is_result(arc.source)
        )

    def _inherit_name(self, index: int, source: int) -> None:
        """The first parametric operation merged says best what the node is."""
        if self.names[index] == self.dag.nodes[index].name:
            self.names[index] = self.names[source]

    def _renumbers(self, steps: tuple[Step, ...], source: int) -> bool:
        if self.dag.nodes[source].kind == "product":
            return False
        try:
            element_map = map_of(self.dag, steps, self.dag.nodes[source].shape, 0, self.lookup, {"probe": False})
        except InputError:
            return False  # Such an arc is refused where it is encoded; evaluating the Dag needs no meaning.
        maps = getattr(element_map, "maps", (element_map,))
        return all(isinstance(m, Gather) and m.is_bijective for m in maps)

    def _rebuilt(self) -> Dag:
        kept = [i for i, alive in enumerate(self.alive) if alive]
        new = {old: i for i, old in enumerate(kept)}
        levels: dict[int, int] = {}
        nodes: list[Node] = []
        arcs: list[Arc] = []
        for old in kept:
            node = self.dag.nodes[old]
            levels[old] = 1 + max((levels[arc.source] for arc in self.into[old]), default=-1)
            nodes.append(replace(node, name=self.names[old], level=levels[old]))
            arcs.extend(replace(a, source=new[a.source], target=new[old]) for a in self.into[old])
        outputs = [o if o.node is None else replace(o, node=new[o.node]) for o in self.outputs]
        retrace = self.dag.retrace
        return replace(
            self.dag,
            nodes=tuple(nodes),
            arcs=tuple(arcs),
            outputs=tuple(outputs),
            model=None,
            retrace=None if retrace is None else _CoarseRetrace(retrace, self.keep_pooling),
        )


@dataclass(frozen=True)
class _CoarseRetrace:
    """Traces the network for another number of samples, and coarsens it."""

    retrace: Callable[..., Dag]
    keep_pooling: bool

    def __call__(self, *args: Any, **kwargs: Any) -> Dag:
        return coarsen(self.retrace(*args, **kwargs), keep_pooling=self.keep_pooling)
