"""What the toolkit asks of single steps, answered from the records of their operations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..elements import Hole, Step, Value, Values
from ..maps import LinearMap
from .call import NoRule
from .probing import probed_map
from .record import OPERATORS, Call, Operator, holes, operator_of

__all__ = [
    "embedding_modules",
    "has_dynamic_weight",
    "is_lookup",
    "is_padding",
    "is_parametric",
    "is_piecewise_affine",
    "is_pooling",
    "is_steered_by",
    "keeps_zero",
    "normalised_axes",
    "step_map",
    "summed_axes",
    "takes_statistics",
    "trained_modules",
    "unrolled_modules",
    "value_uses",
    "weight_of",
]


def step_map(call: Call) -> LinearMap:
    """The map of one step from one of its slots.

    Parameters
    ----------
    call
        The step, the slot that is asked about, and what is known of its inputs.

    Returns
    -------
    LinearMap
        From the elements of that slot to those of the result.

    Raises
    ------
    InputError
        When the operation has neither a rule nor a Jacobian that can be probed.
    """
    record = operator_of(call.step)
    try:
        if record.map is None:
            raise call.refusal("it has no rule")
        exact = record.exact is not None and call.step in call.options.get("exact", ())
        return (record.exact if exact and record.exact else record.map)(call)
    except NoRule:
        if call.is_open or not call.options.get("probe", True):
            raise
    return probed_map(call)


def weight_of(step: Step) -> Value | None:
    """The weight that a step multiplies its one input by, if it does.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    Value or None
        None where there is no such weight, several, or several inputs.
    """
    positions = [position for position in operator_of(step).weights if position < len(step.args)]
    given = pytree.tree_leaves([step.args[position] for position in positions])
    weights = [leaf for leaf in given if isinstance(leaf, Value)]
    return weights[0] if len(weights) == 1 and len(step.source_shapes) == 1 else None


def value_uses(step: Step) -> Iterator[tuple[Value, str]]:
    """What a step does with each parameter, buffer or constant that it reads.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Yields
    ------
    tuple
        The value, and ``"weight"`` (it is multiplied as a matrix or a kernel), ``"factor"`` (it is multiplied as a
        matrix by another value), ``"table"`` (its rows are looked up), ``"bias"``, ``"norm"``, ``"slope"`` of an
        activation, ``"scale"`` (it is multiplied element by element), ``"added"``, ``"joined"`` (it is put beside
        others) or ``"read"`` in another way.
    """
    record = operator_of(step)
    flowing = set(holes(step.args))
    for position, given in [*enumerate(step.args), *((None, given) for given in step.kwargs.values())]:
        leaves = pytree.tree_leaves(given)
        values = [leaf for leaf in leaves if isinstance(leaf, Value)]
        for value in values:
            yield value, _use(record, position, flowing, len(values))


def _use(record: Operator, position: int | None, flowing: set[int], values: int) -> str:
    if record.lookup:
        return "table"
    if position in record.weights:
        return "weight" if flowing or len(record.weights) == values == 1 else "factor"
    if record.outer_factors is not None and position == record.outer_factors[1]:
        return "weight"
    if record.weights:
        return "bias"
    if record.norm:
        return "norm"
    if record.activation:
        return "slope"
    if record.fills_slots:
        return "joined"
    if record.pointwise and position is not None:
        together = any({position, *flowing} <= set(positions) for positions in record.affine)
        return "added" if together or record.addend else "scale"
    return "read"


def has_dynamic_weight(step: Step) -> bool:
    """Whether a layer's weight flows in, computed from the input of the network, in the place of a parameter.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        False for products of two matrices of which either may be the weight, as in attention.
    """
    record = operator_of(step)
    if record.lookup or record.layer is None or len(record.weights) != 1:
        return False
    return isinstance(step.args[record.weights[0]], Hole)


def is_parametric(step: Step) -> bool:
    """Whether the step multiplies its one input by a weight matrix or kernel, so that its result is a node.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        False for norms and biases.
    """
    return weight_of(step) is not None


def is_lookup(step: Step) -> bool:
    """Whether the step looks rows of a table up.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        As its record says.
    """
    return operator_of(step).lookup


def is_pooling(step: Step) -> bool:
    """Whether the step pools windows or whole axes.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        As its record says.
    """
    return operator_of(step).pooling


def is_steered_by(step: Step, slot: int) -> bool:
    """Whether an input of a step says no more than where the step reads others.

    Parameters
    ----------
    step
        An operation as it runs in the network.
    slot
        Which of its inputs.

    Returns
    -------
    bool
        False also where it is read there itself.
    """
    at = [place for place, given in enumerate(step.args) if isinstance(given, Hole) and given.slot == slot]
    return bool(at) and set(at) <= set(operator_of(step).steered_by)


def takes_statistics(step: Step) -> bool:
    """Whether the result is normalised by statistics of the input itself, as by a norm or softmax.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        False for batch norm with running statistics, which is affine.
    """
    record = operator_of(step)
    return (record.norm and not record.affine) or record.exact is not None


def summed_axes(step: Step) -> tuple[int, ...]:
    """The axes along which a step adds its input up, or takes the mean.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    tuple
        Places of axes, not negative; none for other operations.
    """
    record = operator_of(step)
    if record.reduced_axes is None or not record.affine or record.rectifier:
        return ()
    return tuple(axis % len(step.source_shapes[0]) for axis in record.reduced_axes(step))


def normalised_axes(step: Step) -> tuple[int, ...]:
    """The axes along which the results of a step share a sum, as those of softmax do.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    tuple
        Axes; none for other operations, norms among them.
    """
    record = operator_of(step)
    if record.exact is None or record.statistics is None:
        return ()
    return tuple(record.statistics(step, len(step.shape)))


def is_padding(step: Step) -> bool:
    """Whether the step only puts constants, or copies of the elements, around its input.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        As its record says.
    """
    return operator_of(step).surrounds


def is_piecewise_affine(step: Step) -> bool:
    """Whether the step is affine, at least piece by piece, in all that flows into it together.

    Parameters
    ----------
    step
        An operation as it runs in the network.

    Returns
    -------
    bool
        False for a product of two of its inputs, and where an input is passed by keyword.
    """
    flowing = set(holes(step.args))
    by_name = any(isinstance(given, Hole) for given in step.kwargs.values())
    return not by_name and any(flowing <= set(positions) for positions in operator_of(step).affine)


def keeps_zero(step: Step, values: Values) -> bool:
    """Whether the step maps zero to zero, found by running it; a step with several inputs or results counts as not.

    Parameters
    ----------
    step
        An operation as it runs in the network.
    values
        Parameters, buffers and constants by name.

    Returns
    -------
    bool
        False also where running it on zeros fails.
    """
    if operator_of(step).entry:
        return True
    if not step.shape or len(step.source_shapes) != 1:
        return False
    zero = torch.zeros(step.source_shapes[0])
    try:
        read = next((values[name] for name in step.values), zero)
        result = step.run((zero.to(read) if read.is_floating_point() else zero,), values)
    except (RuntimeError, TypeError, IndexError):
        return False
    return isinstance(result, Tensor) and not result.any()


def trained_modules() -> tuple[type, ...]:
    """Classes of modules whose weights of two or more dimensions are prunable."""
    return tuple(dict.fromkeys(module for record in OPERATORS.values() if record.trained for module in record.modules))


def unrolled_modules() -> tuple[type, ...]:
    """Classes of modules that are taken apart into other operations, such as recurrent layers into their steps."""
    records = [record for record in OPERATORS.values() if record.composition is not None]
    return tuple(dict.fromkeys(module for record in records for module in record.modules))


def embedding_modules() -> tuple[type, ...]:
    """Classes of modules whose weights are tables of rows that are looked up, which are never pruned."""
    return tuple(dict.fromkeys(module for record in OPERATORS.values() if record.lookup for module in record.modules))
