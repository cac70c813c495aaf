"""Elements that no input can change, as those under a mask, and the maps of operations that know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import sympy
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError
from .dag import Arc, Dag, Step
from .elements import Fixed, Hole, Values, with_entry
from .interpreter import Interpreter
from .maps import Gather, LinearMap, Weight
from .operators import Call, operator_of, step_map
from .operators.selection import elementwise, sum_passes, where_passed
from .selecting_inputs import selection

__all__ = ["constants_of", "fixed_elements", "maps_along", "what_sums_leave"]

Known = tuple[Fixed | None, ...]


class _AnyParameters(Values):
    """Values for trainable parameters of any numbers: random ones, none of them zero."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._drawn: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._drawn:
            value = super().__getitem__(name)
            self._drawn.add(name)
            if isinstance(value, nn.Parameter) and value.requires_grad and value.is_floating_point():
                drawn = torch.rand(value.shape, generator=torch.Generator().manual_seed(len(self._drawn))) + 0.5
                value = drawn.to(value.dtype)
            # Some constants are lists of tensors, of which an entry is read.
            self._known[name] = pytree.tree_map_only(Tensor, lambda t: t.detach().cpu(), value)
        return self._known[name]


_CONSTANTS: WeakKeyDictionary[Dag, Values] = WeakKeyDictionary()
_FIXED: WeakKeyDictionary[Dag, dict[int, Known]] = WeakKeyDictionary()


def constants_of(dag: Dag) -> Values:
    """The values of a network whose trainable parameters are random numbers: what is zero then, is so by construction.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    Values
        By name, evaluated when first read.
    """
    if dag not in _CONSTANTS:
        _CONSTANTS[dag] = _AnyParameters(dag.state, dag.constants, _sizes(dag))
    return _CONSTANTS[dag]


def _sizes(dag: Dag) -> dict[Any, Any]:
    return {symbol: sympy.Integer(dag.samples) for symbol, _ in dag.symbols}


def maps_along(
    dag: Dag,
    steps: Sequence[Step],
    slot: int,
    lookup: Any,
    options: Mapping[str, Any],
    fixed: Known = (),
) -> Iterator[LinearMap]:
    """The maps of consecutive steps, that of an operation and the choice of an entry of its result as one.

    Parameters
    ----------
    dag
        The network.
    steps
        Consecutive operations.
    slot
        Which entry of what they start from is meant.
    lookup
        Finds weights by name.
    options
        Options of the encoding.
    fixed
        What no input can change of each entry of what they start from.

    Yields
    ------
    LinearMap
        Of one step after the other.
    """
    constants = constants_of(dag)
    options = {**options, "sizes": _sizes(dag)}
    for step in _whole(steps):
        call = Call(step, slot, lookup.values, lookup, options, constants, fixed)
        yield step_map(call)
        fixed = () if call.is_open else (_after(step, fixed, constants),)
        slot = 0


def fixed_elements(dag: Dag) -> Mapping[int, Known]:
    """For every node of a network the elements that no input can change.

    Parameters
    ----------
    dag
        The network; what is found is kept as long as it.

    Returns
    -------
    mapping
        Place of the node -> one entry for each of its values, None where the input can change all.
    """
    if dag not in _FIXED:
        sweep = _Sweep(dag)
        given = selection(dag).inputs
        sweep.evaluate([_constant(given[node]) if node in given else None for node in dag.inputs])
        _FIXED[dag] = {node: sweep.operands(node) for node in range(len(dag.nodes))}
    return _FIXED[dag]


def what_sums_leave(dag: Dag, arc: Arc) -> Gather | None:
    """The elements of what an arc adds to a sum that are not lost beside the other values, such as under a mask.

    Parameters
    ----------
    dag
        The network.
    arc
        One that ends at a sum.

    Returns
    -------
    Gather or None
        From the elements of the sum to themselves; None where nothing is lost.
    """
    known, constants = fixed_elements(dag), constants_of(dag)
    shape = dag.nodes[arc.target].shape
    left = torch.ones(shape, dtype=torch.bool)
    for other in dag.arcs_into[arc.target]:
        if other is arc or not any(known[other.source]):
            continue
        fixed: Known = known[other.source]
        for step in _whole(other.steps):
            fixed = (_after(step, fixed, constants),)
        passes = None if fixed[0] is None else sum_passes(fixed[0].known())
        left = left if passes is None else left & passes
    return None if bool(left.all()) else where_passed(left, shape, shape)


class _Sweep(Interpreter):
    """Follows what is fixed through a network; values are `Fixed`, or None where all is free."""

    dag: Dag

    def __init__(self, dag: Dag) -> None:
        super().__init__(dag, garbage_collect_values=False)
        self.constants = constants_of(dag)

    def follow(self, steps: Sequence[Step], operands: Known) -> Any:
        for step in _whole(steps):
            operands = (_after(step, operands, self.constants),)
        return operands[0] if len(operands) == 1 else operands

    def step(self, step: Step, operands: Known) -> Fixed | None:
        return _after(step, operands, self.constants)

    def add(self, values: Sequence[Fixed | None]) -> Fixed | None:
        present = [value for value in values if value is not None]
        if not present:
            return None
        free = torch.full(present[0].free.shape, len(present) < len(values))
        for value in present:
            free = free | value.free
        for value in present:
            passes = sum_passes(value.known())
            free = free if passes is None else free & passes
        total = sum((value.values for value in present[1:]), present[0].values)
        return _unless_free(Fixed(free, total))


def _constant(value: Tensor) -> Fixed:
    return Fixed(torch.zeros(value.shape, dtype=torch.bool), value)


def _after(step: Step, operands: Known, constants: Values) -> Fixed | None:
    """What is fixed of the result of a step, given what is fixed of its operands."""
    if not any(operands) and not _may_fix(step):
        return None
    options: dict[str, Any] = {"sizes": constants.sizes}
    try:
        free = torch.zeros(step.shape, dtype=torch.bool)
        for slot, shape in enumerate(step.source_shapes):
            call = Call(step, slot, constants, _structural(constants), options, constants, operands)
            # Nothing flows through a comparison, but its result changes with what it compares.
            element_map = elementwise(call) if operator_of(step).comparison else step_map(call)
            known = operands[slot] if slot < len(operands) else None
            if known is None and isinstance(element_map, Gather) and element_map.is_filled:
                return None
            reached = torch.ones(shape) if known is None else known.free.float()
            free |= element_map.apply(reached).reshape(step.shape) > 0
    except InputError:
        return None
    if free.all():
        return None
    return Fixed(free, _example_result(step, operands, constants))


def _example_result(step: Step, operands: Known, constants: Values) -> Tensor:
    """The result where it is fixed, from random numbers where the operands are not."""
    given = [value.values.dtype for value in operands if value is not None]
    given += [constants[name].dtype for name in step.values]
    dtype = next((d for d in given if d.is_floating_point), torch.float64)
    generator = torch.Generator().manual_seed(0)
    filled = []
    for slot, shape in enumerate(step.source_shapes):
        known = operands[slot] if slot < len(operands) else None
        drawn = torch.rand(shape, generator=generator, dtype=dtype)
        if operator_of(step).comparison and set(given) == {torch.bool}:
            drawn = drawn > 0.5
        if known is None:
            filled.append(drawn)
        elif known.values.is_floating_point():
            filled.append(torch.where(known.free, drawn, known.values))
        else:
            filled.append(known.values)  # whole numbers and bools stay what they are, as what indexes and masks
    try:
        result = step.run(tuple(filled), constants)
    except (RuntimeError, TypeError, IndexError):
        result = None  # such as where it reads integers
    unknown = torch.full(step.shape, float("nan"))
    return result.detach() if isinstance(result, Tensor) and result.shape == step.shape else unknown


def _structural(constants: Values) -> Callable[[str], Weight]:
    def weight(name: str) -> Weight:
        value = constants[name].detach().cpu()
        return Weight(torch.ones(value.shape), value != 0)

    return weight


def _may_fix(step: Step) -> bool:
    """Whether a step may fix elements of its result that the input could change before."""
    record = operator_of(step)
    combined = len(step.args) > 1 and all(isinstance(given, Hole) for given in step.args)
    return record.view or (record.passes is not None and not combined)


def _unless_free(fixed: Fixed) -> Fixed | None:
    return None if fixed.free.all() else fixed


def _whole(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, one that returns a tuple and the choice of one of its entries as one."""
    position = 0
    while position < len(steps):
        step = steps[position]
        if not step.shape and position + 1 < len(steps) and operator_of(steps[position + 1]).entry:
            step = with_entry(step, steps[position + 1])
            position += 1
        yield step
        position += 1
