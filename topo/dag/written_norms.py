"""Norms that a model writes out, such as ``x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)``, as one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .dag import Arc, Dag, Step
from .elements import Hole, Size, Value, Values, with_entry
from .maps import Gather
from .operators import is_piecewise_affine, operator_called, operator_of
from .relations import WeightLookup, map_of

__all__ = ["written_norms"]

# By whether the axes are the last ones, and whether the mean is taken off.
NAMES = {
    (True, True): nn.functional.layer_norm,
    (True, False): nn.functional.rms_norm,
    (False, True): nn.functional.normalize,
    (False, False): nn.functional.normalize,
}


@dataclass(frozen=True)
class _Derived:
    """What is computed from some values alone.

    Attributes
    ----------
    power
        To which power it grows with the values, numbers that are added aside.
    axes
        For each of its axes the axis of the values along which it varies, None where it does not.
    over
        The axes of the values over which statistics were taken on the way.
    is_scaled
        Whether it is the values themselves, scaled and shifted by statistics.
    is_shifted
        Whether a statistic was added to them.
    is_exponential
        Whether powers are those of their exponential.
    """

    power: float
    axes: tuple[int | None, ...]
    over: frozenset[int] = frozenset()
    is_scaled: bool = False
    is_shifted: bool = False
    is_exponential: bool = False

    @property
    def is_statistic(self) -> bool:
        """Whether it is the same along all axes over which statistics were taken."""
        return bool(self.over) and self.over.isdisjoint(axis for axis in self.axes if axis is not None)


class WrittenNorm:
    """What the operations of a norm that is written out compute, as one operation.

    Parameters
    ----------
    name
        Of the operation.
    source, target
        Places of the nodes of the values and of the normalised values.
    nodes
        Places of the nodes on the way, in order, with the arcs into each.
    parameters, symbols
        Names of parameters, and symbols of numbers of samples, that these arcs read.
    """

    def __init__(
        self,
        name: str,
        source: int,
        target: int,
        nodes: Sequence[tuple[int, bool, Sequence[Arc]]],
        parameters: Sequence[str],
        symbols: Sequence[Any],
    ) -> None:
        self.__name__ = name
        self._source, self._target, self._nodes = source, target, nodes
        self._parameters, self._symbols = parameters, symbols

    def __call__(self, values: Tensor, axes: Any, parameters: Sequence[Tensor], sizes: Sequence[int]) -> Any:
        """The normalised values; `axes`, or their sizes, say over what statistics are taken."""
        of_symbols = {symbol: sympy.Integer(size) for symbol, size in zip(self._symbols, sizes, strict=True)}
        constants = Values(dict(zip(self._parameters, parameters, strict=True)), {}, of_symbols)
        known: dict[int, Any] = {self._source: (values,)}
        for place, is_product, arcs in self._nodes:
            arrived = []
            for arc in arcs:
                operands = known[arc.source]
                for step in arc.steps:
                    operands = (step.run(operands, constants),)
                arrived.extend(operands)
            total = arrived[0]
            for value in () if is_product else arrived[1:]:
                total = total + value
            known[place] = tuple(arrived) if is_product else (total,)
        return known[self._target][0]


def written_norms(dag: Dag) -> dict[int, tuple[Arc, frozenset[int]]]:
    """The norms that a network writes out, over any axes and in any order of operations.

    Such a norm is values that are shifted and scaled by statistics of them alone, such as means, variances, sums and
    lengths over axes, such that the result does not change with the size of the values, what is added to a statistic
    against zeros aside. Like other norms it is taken as element-wise. A softmax that is written out is one, too.

    Parameters
    ----------
    dag
        The network, fine.

    Returns
    -------
    dict
        Place of the node that holds the normalised values -> the arc to it from the values, of one step, and the places
        of the nodes that only serve the norm.

    Examples
    --------
    >>> import torch, topo
    >>> class Norm(torch.nn.Module):
    ...     def forward(self, x):
    ...         centred = x - x.mean(1, keepdim=True)
    ...         return centred / (x.var(1, keepdim=True) + 1e-6).sqrt()
    >>> [arc.steps[0].name for arc, _ in written_norms(topo.trace(Norm(), (4,))).values()]
    ['layer_norm']
    """
    found: dict[int, tuple[Arc, frozenset[int]]] = {}
    lookup = WeightLookup(dag)
    gone: set[int] = set()
    for source, node in enumerate(dag.nodes):
        if source in gone or node.kind == "product" or not _may_start(dag, source):
            continue
        derived = _derived_from(dag, source, lookup)
        ends = [
            place
            for place, made in derived.items()
            if place != source and _is_norm(made) and dag.nodes[place].shape == node.shape and place not in found
        ]
        if not ends:
            continue
        results = {output.node for output in dag.outputs}
        needed: set[int] = set()
        for place in sorted(derived, reverse=True):
            readers = {arc.target for arc in dag.arcs_from[place]}
            if place in results or any(to not in derived or (to in needed and to not in ends) for to in readers):
                needed.add(place)
        alone = frozenset(set(derived) - needed - {source})
        gone |= alone
        for end in needed.intersection(ends):
            found[end] = (_as_one(dag, source, end, derived), alone)
    return found


def _may_start(dag: Dag, source: int) -> bool:
    """Whether values may be those of a norm: they are read twice, or their exponential is taken."""
    readers = dag.arcs_from[source]
    return len(readers) > 1 or any(operator_of(step).exponential for arc in readers for step in arc.steps)


def _is_norm(made: _Derived) -> bool:
    """Whether something is values as a norm, or a softmax over one axis, gives them."""
    return made.is_scaled and made.power == 0 and bool(made.over) and (not made.is_exponential or len(made.over) == 1)


def _derived_from(dag: Dag, source: int, lookup: WeightLookup) -> dict[int, _Derived]:
    """The nodes whose values are computed from those of a node alone, by what norms are made of."""
    axes = tuple(axis if length > 1 else None for axis, length in enumerate(dag.nodes[source].shape))
    derived = {source: _Derived(1.0, axes, is_scaled=True)}
    operands: dict[int, tuple[int, ...]] = {}
    waiting = sorted({arc.target for arc in dag.arcs_from[source]})
    while waiting:
        place = waiting.pop(0)
        arcs = dag.arcs_into[place]
        node = dag.nodes[place]
        if place in derived or place in operands or any(a.source not in {*derived, *operands} for a in arcs):
            continue
        if node.kind == "product":
            if any(arc.steps or arc.source not in derived for arc in arcs):
                continue
            operands[place] = tuple(arc.source for arc in arcs)
        elif node.kind == "sum":
            made = [_along(dag, arc, derived, operands, lookup) for arc in arcs]
            joined = _added(made) if len(made) > 1 else made[0]
            if joined is None:
                continue
            derived[place] = joined
        else:
            continue
        waiting = sorted({*waiting, *(arc.target for arc in dag.arcs_from[place])})
    read = {place for place in operands if all(arc.target in derived for arc in dag.arcs_from[place])}
    return {**derived, **{place: _Derived(float("nan"), ()) for place in read}}


def _along(
    dag: Dag, arc: Arc, derived: dict[int, _Derived], operands: dict[int, tuple[int, ...]], lookup: WeightLookup
) -> _Derived | None:
    """What an arc brings; None where it is no part of a norm."""
    steps = list(arc.steps)
    if arc.source in operands:
        factors = [derived[place] for place in operands[arc.source]]
        made = _multiplied(steps[0], factors) if len(factors) == 2 else None
        shape, steps = steps[0].shape, steps[1:]
    else:
        made, shape = derived[arc.source], dag.nodes[arc.source].shape
    while steps and made is not None:
        step = steps.pop(0)
        if not step.shape and steps and operator_of(steps[0]).entry:
            step = with_entry(step, steps.pop(0))
        made = _after(dag, step, made, shape, lookup)
        shape = step.shape
    return made


def _after(dag: Dag, step: Step, made: _Derived, shape: Any, lookup: WeightLookup) -> _Derived | None:
    """What a step makes of a value."""
    record = operator_of(step)
    values = [leaf.name for leaf in pytree.tree_leaves((step.args, dict(step.kwargs))) if isinstance(leaf, Value)]
    if values:
        by_parameters = all(isinstance(dag.state.get(name), nn.Parameter) for name in values)
        scales = record.balanced_by < 0 or (record.balanced_by > 0 and isinstance(step.args[0], Hole))
        return made if by_parameters and scales and step.shape == shape else None
    if record.reduced_axes is not None:
        reduced = {axis % len(shape) for axis in record.reduced_axes(step)}
        if not reduced:
            return None
        over = made.over | {own for axis in reduced if (own := made.axes[axis]) is not None}
        keeps = len(step.shape) == len(shape)
        axes = [None if a in reduced else own for a, own in enumerate(made.axes) if keeps or a not in reduced]
        power = _power(step, made.power)
        return None if power is None else _Derived(power, tuple(axes), over, is_exponential=made.is_exponential)
    if record.view:
        return _viewed(dag, step, made, shape, lookup)
    if record.exponential:
        # What is added is a factor then.
        fits = made.is_scaled and made.power == 1 and not made.is_exponential
        return replace(made, is_exponential=True) if fits else None
    power = _power(step, made.power)
    if power is None or step.shape != shape:
        return None
    stays = made.is_scaled and is_piecewise_affine(step) and not record.rectifier
    return replace(made, power=power, is_scaled=stays)


def _power(step: Step, power: float) -> float | None:
    """To which power the result of a step grows, when its input grows to this one."""
    grows = operator_of(step).grows
    factor = None if grows is None else grows(step)
    return None if factor is None else power * factor


def _viewed(dag: Dag, step: Step, made: _Derived, shape: Any, lookup: WeightLookup) -> _Derived | None:
    """The same value with more or fewer axes of length one, or repeated along them."""
    aligned = (None,) * (len(step.shape) - len(made.axes)) + made.axes
    before = (1,) * (len(step.shape) - len(shape)) + tuple(shape)
    is_expansion = operator_of(step).sizes and all(n in (1, m) for n, m in zip(before, step.shape, strict=False))
    if is_expansion and len(before) == len(step.shape) and before != step.shape:
        return replace(made, axes=aligned, is_scaled=False)
    moved = map_of(dag, (step,), shape, 0, lookup, {})
    lengths = [length for length in step.shape if length > 1]
    if not isinstance(moved, Gather) or moved.index is not None or lengths != [n for n in shape if n > 1]:
        return None
    long = iter([axis for axis, length in zip(made.axes, shape, strict=True) if length > 1])
    return replace(made, axes=tuple(next(long) if length > 1 else None for length in step.shape))


def _together(first: _Derived, second: _Derived) -> tuple[tuple[int | None, ...], frozenset[int]] | None:
    """The axes along which two values that meet element by element vary, and over which they took statistics."""
    size = max(len(first.axes), len(second.axes))
    pairs = zip(*((None,) * (size - len(made.axes)) + made.axes for made in (first, second)), strict=True)
    axes = []
    for one, other in pairs:
        if None not in (one, other) and one != other:
            return None
        axes.append(other if one is None else one)
    return tuple(axes), first.over | second.over


def _added(made: Sequence[_Derived | None]) -> _Derived | None:
    """The sum of values of one power."""
    total = made[0]
    for other in made[1:]:
        meeting = None if total is None or other is None else _together(total, other)
        if meeting is None or total is None or other is None or total.power != other.power:
            return None
        if total.is_exponential or other.is_exponential:
            return None
        scaled = [one.is_scaled for one in (total, other)]
        fits = all(one.is_scaled or one.is_statistic for one in (total, other))
        shifted = total.is_shifted or other.is_shifted or sum(scaled) == 1
        total = _Derived(total.power, *meeting, is_scaled=any(scaled) and fits, is_shifted=shifted)
    return total


def _multiplied(step: Step, factors: Sequence[_Derived]) -> _Derived | None:
    """The product, or the quotient, of two values."""
    wanted = operator_of(step).balanced_by
    plain = all(isinstance(given, Hole) for given in step.args) and not step.kwargs
    meeting = _together(*factors) if wanted and plain and len(step.args) == 2 else None
    if meeting is None or factors[0].is_exponential != factors[1].is_exponential:
        return None
    first, second = (factors[given.slot] for given in step.args)
    power = first.power - wanted * second.power
    ways = [(first, second)] if wanted > 0 else [(first, second), (second, first)]
    scaled = [one for one, other in ways if one.is_scaled and other.is_statistic]
    shifted = any(one.is_shifted for one in scaled)
    return _Derived(power, *meeting, bool(scaled), shifted, first.is_exponential)


def _as_one(dag: Dag, source: int, end: int, derived: dict[int, _Derived]) -> Arc:
    """The arc from values to normalised values."""
    waiting, used = [end], set()
    while waiting:
        place = waiting.pop()
        if place not in used and place != source:
            used.add(place)
            waiting += [arc.source for arc in dag.arcs_into[place]]
    arcs = [(place, dag.nodes[place].kind == "product", dag.arcs_into[place]) for place in sorted(used)]
    steps = [step for _, _, into in arcs for arc in into for step in arc.steps]
    leaves = pytree.tree_leaves([(step.args, dict(step.kwargs)) for step in steps])
    parameters = tuple(dict.fromkeys(leaf.name for leaf in leaves if isinstance(leaf, Value)))
    free = {symbol for leaf in leaves if isinstance(leaf, Size) for symbol in leaf.expression.free_symbols}
    symbols = sorted(free, key=str)
    shape, over = dag.nodes[source].shape, sorted(derived[end].over)
    # Along an axis of length one there is nothing to take a statistic of.
    first = min(over)
    last = all(axis in over or shape[axis] == 1 for axis in range(first, len(shape)))
    softmax = derived[end].is_exponential
    record = operator_called(nn.functional.softmax if softmax else NAMES[last, derived[end].is_shifted])
    assert record is not None
    norm: Any = WrittenNorm(record.names[0], source, end, arcs, parameters, symbols)
    given: Any = first if softmax else list(shape[first:]) if last else over
    args = (Hole(0), given, [Value(name) for name in parameters], [Size(symbol) for symbol in symbols])
    return Arc(source, end, (Step(norm, args, {}, _module(steps), (shape,), shape),))


def _module(steps: Sequence[Step]) -> str:
    """The module that runs the last of some steps."""
    return steps[-1].module if steps else ""
