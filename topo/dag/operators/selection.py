"""Where the result of an operation reads its input: everywhere, or where constants among its arguments let it.

A constant chooses another value, is zero under a product, or is minus infinity under a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..elements import Hole
from ..maps import AxisMaps, Chain, Gather, LinearMap
from .call import Call, argument
from .contractions import ones
from .record import operator_of

__all__ = [
    "as_chosen",
    "as_interpolated",
    "broadcast",
    "by_factors",
    "compared",
    "elementwise",
    "everything",
    "forbidden_stay_out",
    "nothing",
    "of_ones",
    "places",
    "sum_passes",
    "under_a_fill",
    "under_a_product",
    "under_a_sum",
    "values_alone",
    "where_passed",
]

# Added to a score, this much or less stands for minus infinity; anything is lost in a sum with what is HUGE.
MASKING, HUGE = -1e4, 1e30


def broadcast(source_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> Gather:
    """Elements repeated to fill a larger shape.

    Parameters
    ----------
    source_shape
        Shape of what is repeated.
    target_shape
        A shape that it broadcasts to.

    Returns
    -------
    Gather
        From the elements of the one to those of the other.
    """
    index = np.arange(prod(source_shape)).reshape(source_shape)
    return Gather.reading(source_shape, target_shape, np.broadcast_to(index, target_shape))


def elementwise(call: Call) -> Gather:
    """Element by element, broadcast where the result is larger; nothing where a constant decides the result."""
    passes = operator_of(call.step).passes
    passed = None if passes is None or call.is_open else passes(call)
    if passed is not None and not passed.all():
        return where_passed(passed, call.source_shape, call.target_shape)
    shape = call.source_shape
    if shape == call.target_shape:
        return Gather(shape, shape)
    axis = operator_of(call.step).channel_axis % len(call.target_shape)
    if len(shape) == 1 and call.slot and shape[0] == call.target_shape[axis]:
        along = (*shape, *(1 for _ in call.target_shape[axis + 1 :]))  # a scale or shift of channels
        return Gather(shape, call.target_shape, broadcast(along, call.target_shape).index)
    return broadcast(shape, call.target_shape)


def nothing(call: Call) -> Gather:
    """No element of the result reads one: what is constant, or almost everywhere so.

    Parameters
    ----------
    call
        The step.

    Returns
    -------
    Gather
        Without an edge.
    """
    return Gather(call.source_shape, call.target_shape, np.full(call.target_shape, -1))


def everything(call: Call) -> LinearMap:
    """Every element of the result reads all."""
    shape = call.source_shape
    summed = AxisMaps(shape, (1,) * len(shape), tuple((axis, ones(1, size)) for axis, size in enumerate(shape)))
    return Chain((summed, Gather((1,) * len(shape), call.target_shape, np.zeros(call.target_shape, dtype=np.int64))))


def compared(call: Call) -> LinearMap:
    """A comparison is constant almost everywhere; its value depends on what it compares, element by element.

    Parameters
    ----------
    call
        The step.

    Returns
    -------
    LinearMap
        Without an edge, unless values count.
    """
    return elementwise(call) if call.by_values else nothing(call)


def places(call: Call) -> LinearMap:
    """Places, counts and other whole numbers are constant almost everywhere; which of them stay cannot be told.

    Their values may depend on all elements.

    Parameters
    ----------
    call
        The step.

    Returns
    -------
    LinearMap
        Without an edge, unless values count.
    """
    if call.is_open:
        raise call.refusal("its result counts or numbers elements")
    return everything(call) if call.by_values else nothing(call)


def values_alone(rule: Callable[[Call], LinearMap]) -> Callable[[Call], LinearMap]:
    """A rule of an operation that returns values and their places.

    Parameters
    ----------
    rule
        Of the values.

    Returns
    -------
    callable
        The same for the values, and for the places as `places`.
    """

    def of_entry(call: Call) -> LinearMap:
        return places(call) if call.entry else rule(call)

    return of_entry


def where_passed(passed: Tensor, source_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> Gather:
    """Elements where they are passed on, repeated to fill a larger shape.

    Parameters
    ----------
    passed
        bool, of a shape that broadcasts to that of the result.
    source_shape, target_shape
        Shapes of what is read and of the result.

    Returns
    -------
    Gather
        From the elements of the one to those of the other.
    """
    numbers = np.broadcast_to(np.arange(prod(source_shape)).reshape(source_shape), target_shape)
    return Gather(source_shape, target_shape, np.where(passed.expand(target_shape).numpy(), numbers, -1))


def _partner(call: Call) -> Tensor | None:
    """What is known of the one of two arguments that the other, the input, is combined with."""
    pair = call.step.args[0], argument(call.step, 1, "other")
    reads = [isinstance(given, Hole) and given.slot == call.slot for given in pair]
    return None if all(reads) else call.constant(pair[1] if reads[0] else pair[0])


def under_a_product(call: Call) -> Tensor | None:
    """A constant factor of zero leaves nothing of the other.

    Parameters
    ----------
    call
        A product of two arguments.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    factor, masked = _partner(call), _masked_partner(call)
    passes = None if factor is None else factor != 0
    return passes if masked is None else masked if passes is None else masked & passes


def _masked_partner(call: Call) -> Tensor | None:
    """Which elements masks keep of the one of two arguments that the other, the input, is combined with."""
    kept = [call.masked(given) for given in (call.step.args[0], argument(call.step, 1, "other"))]
    return next((mask for mask in kept if mask is not None), None)


def under_a_sum(call: Call, sign: int = 1) -> Tensor | None:
    """Nothing is left of what is added to an infinite number, or to what stands for one in a mask.

    Parameters
    ----------
    call
        A sum of two arguments.
    sign
        Of the constant.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    addend = _partner(call)
    return None if addend is None else sum_passes(sign * addend)


def sum_passes(addend: Tensor) -> Tensor | None:
    """Where something is left of a number in the sum with this constant.

    Parameters
    ----------
    addend
        The constant. A mask of zeros and one number of at most -10,000 counts as one of zeros and minus infinity.

    Returns
    -------
    Tensor or None
        bool; None for everywhere.
    """
    if not addend.is_floating_point():
        return None
    low = addend <= MASKING
    is_mask = bool(((addend == 0) | low).all()) and addend.unique().numel() == 2
    return ~((addend.abs() > HUGE) | low) if is_mask else ~(addend.abs() > HUGE)


def under_a_fill(call: Call) -> Tensor | None:
    """What a constant mask fills with a number is lost; of what it is filled with the rest is.

    Parameters
    ----------
    call
        Input, mask and filling.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    mask = call.constant(argument(call.step, 1, "mask"))
    if mask is None:
        return None
    first = call.step.args[0]
    return mask != (1 if isinstance(first, Hole) and first.slot == call.slot else 0)


def as_chosen(call: Call) -> Tensor | None:
    """A constant condition chooses the one or the other.

    Parameters
    ----------
    call
        Condition, what is chosen where it holds, and what elsewhere.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    chosen = call.constant(call.step.args[0])
    reads = [isinstance(given, Hole) and given.slot == call.slot for given in call.step.args[1:]]
    if chosen is None or all(reads):
        return None
    return chosen != (0 if reads[0] else 1)


def forbidden_stay_out(call: Call) -> Tensor | None:
    """Softmax turns what is fixed at minus infinity to zero, and a score that is left alone to one.

    Parameters
    ----------
    call
        A softmax.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    known, axis = call.constant(call.step.args[0]), call.argument(1, "dim", -1)
    if known is None:
        return torch.zeros(call.source_shape, dtype=torch.bool) if call.source_shape[axis] == 1 else None
    passed = ~(known <= MASKING / 2)
    return passed & (passed.sum(axis, keepdim=True) > 1)


def as_interpolated(call: Call) -> Tensor | None:
    """Where a constant share of the second lies between, not at, none and all.

    Parameters
    ----------
    call
        First value, second value and share of the second.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    share = call.constant(argument(call.step, 2, "weight"))
    reads = [isinstance(given, Hole) and given.slot == call.slot for given in call.step.args[:2]]
    if share is None or all(reads):
        return None
    return share != 1 if reads[0] else share != 0


def by_factors(call: Call) -> Tensor | None:
    """Of a sum with a product, the other constant factor being zero leaves nothing of one.

    Parameters
    ----------
    call
        What is added to, and two factors.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    reads = [isinstance(given, Hole) and given.slot == call.slot for given in call.step.args[:3]]
    if sum(reads) > 1 or reads[0]:
        return None
    other = call.constant(call.step.args[2 if reads[1] else 1])
    return None if other is None else other != 0


def of_ones(call: Call) -> Tensor | None:
    """What an operation that only sets elements to zero leaves.

    Parameters
    ----------
    call
        The step.

    Returns
    -------
    Tensor or None
        Where the input is passed on; None for everywhere.
    """
    result: Tensor = call.step.run((torch.ones(call.source_shape),), call.values)
    return result != 0
