"""The record of an operation: all that the toolkit knows of it, in one place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError, nearest, unknown_name
from ..elements import Hole, Step, Value
from ..maps import LinearMap
from .call import Call, argument

__all__ = [
    "OPERATORS",
    "Call",
    "Layer",
    "Operator",
    "argument",
    "define",
    "operator_called",
    "operator_of",
    "rule",
]

FIRST = ((0,),)
"""Affine in the first argument alone, the others being constants."""


@dataclass(frozen=True)
class Layer:
    """A step that multiplies its input by a weight matrix or kernel.

    Attributes
    ----------
    weight, bias
        Names of the values; a weight may also be computed from parameters. The bias may be None.
    reads, writes
        The axes of the weight that run over the units of the input and of the output.
    source_axis, target_axis
        The axes of the input and the output tensor that these units lie along.
    groups
        Of a grouped convolution; the axis of the weight that is shared by the groups counts the units of one group.
    positions
        How often every weight is used on one sample, so that layer and sample cost ``positions * weights``
        multiply-accumulates.
    uniform
        Whether the weight is a matrix or a kernel; False of one with more axes, such as one matrix for each expert.
    alternatives
        The layer by other axes that it reads or writes, of a weight with several, of which one pair counts at a time.
    """

    weight: str
    bias: str | None
    reads: int
    writes: int
    source_axis: int
    target_axis: int
    groups: int
    positions: int
    uniform: bool = True
    alternatives: tuple[Layer, ...] = ()


Rule = Callable[[Call], LinearMap]


@dataclass(frozen=True, eq=False)
class Operator:
    """What the toolkit knows of an operation, or of a family of operations that differ in nothing it asks.

    Attributes
    ----------
    names
        Of the operation in an exported graph, without namespace and overload, such as ``"conv2d"``.
    map
        From a `Call` to the map of the elements of one input to those of the result; None when there is none.
    pointwise
        Treats every element alike. Norms count: their statistics are taken as constants.
    view
        Only moves elements, and fills in constants.
    entry
        Picks an entry of the tuple that another operation returned.
    comparison
        Constant almost everywhere.
    pooling
        Pools windows or whole axes.
    norm
        Normalises its input, and may scale and shift the result by parameters.
    activation
        Bends every number by itself, such as ReLU.
    passes
        From a `Call` to where the result reads the input, a bool tensor that broadcasts to the result's shape, when
        constants among the arguments choose that; None for everywhere.
    statistics
        From a step and the number of axes of its input to the axes over which it takes statistics, so that the
        elements along them stay or go together.
    grows
        From a step with one input to the power to which its result grows when the input does, numbers that are added
        aside; None where it grows otherwise.
    exponential
        Turns sums into products.
    steered_by
        Positions of the arguments that say where it reads the others: what these are made of stays.
    balanced_by
        Of a product or quotient, the power to which its other operand has to grow with the first so that it stays.
    reduced_axes
        From a step that takes a statistic to the axes over which it does.
    exact
        The map that does not take these statistics as constants, for the places where they count; see
        `topo.dag.normalised_axes`.
    channel_axis
        The axis of its result along which its vectors of parameters lie.
    groups_at
        The position of the argument that says in how many groups, one after the other, it takes its statistics.
    affine
        Sets of positions of arguments; in those of a set together the operation is affine, the others being constant.
    rectifier
        Affine only piece by piece.
    weights
        Positions of the arguments of which one may be a weight that multiplies the input. Steps with one are
        parametric and make nodes.
    factors
        Positions of the left and the right factor of a matrix product.
    outer_factors
        Positions of an input, the weight and another input, where the weight multiplies products of their elements.
    kernel
        Whether its weight slides over positions, as in a convolution.
    layer
        From a step, its weight and the shape of this to the `Layer`; None where the weight is used in another way.
    addend
        The sign of its second argument in a sum of two values, 0 when it is no such sum.
    fills
        From the arguments of an operation that reads only the shape of its input to the number that it fills in.
    fills_slots
        Joins several values, each of which fills a slot of the result.
    concatenates
        Joins several values along an axis that they have.
    sizes
        One of its arguments lists the sizes of its result.
    surrounds
        Puts constants, or copies of the elements, around its input.
    composite
        The operation that does the same when it is called with the input and the sizes of the whole result, and in
        place of which it is traced so; None where it is traced as it is.
    composition
        From a `Composer` and the arguments to the results, by operations that say more, which are traced in its place:
        a recurrent layer step by step in time. A tuple where it returns several tensors, NotImplemented where there
        is none for these arguments.
    any_layout
        An operation that does the same wherever the elements of the input lie in memory.
    label, silent
        Its short name in lists of paths, and whether it is left out of them.
    linearized
        Its counterpart in a network made linear and non-negative (`topo.pruning.linearized_model`): takes the function
        that Python code calls, and the arguments. None when it stays as it is.
    functions
        Functions of torch that Python code calls for it and that `linearized` serves; others of the same name stay.
    aliases
        More names of functions that Python code calls for it, beside `names` and their in-place forms.
    modules
        Classes of modules that run it.
    trained
        Whether the weights of two or more dimensions of these modules are prunable.
    lookup
        Whether these modules are tables whose rows are looked up, whose weights are never pruned.
    """

    names: tuple[str, ...]
    map: Rule | None = None
    pointwise: bool = False
    view: bool = False
    entry: bool = False
    comparison: bool = False
    pooling: bool = False
    norm: bool = False
    activation: bool = False
    passes: Callable[[Call], Tensor | None] | None = field(default=None, repr=False)
    statistics: Callable[[Step, int], Sequence[int]] | None = None
    grows: Callable[[Step], float | None] | None = field(default=None, repr=False)
    exponential: bool = False
    steered_by: tuple[int, ...] = ()
    balanced_by: float = 0.0
    reduced_axes: Callable[[Step], Sequence[int]] | None = field(default=None, repr=False)
    exact: Rule | None = field(default=None, repr=False)
    channel_axis: int = -1
    groups_at: int | None = None
    affine: tuple[tuple[int, ...], ...] = ()
    rectifier: bool = False
    weights: tuple[int, ...] = ()
    factors: tuple[int, int] | None = None
    outer_factors: tuple[int, int, int] | None = None
    kernel: bool = False
    layer: Callable[[Step, Value, tuple[int, ...]], Layer | None] | None = None
    addend: int = 0
    fills: Callable[[Sequence[Any]], Any] | None = None
    fills_slots: bool = False
    concatenates: bool = False
    sizes: bool = False
    surrounds: bool = False
    composite: Any = None
    composition: Callable[..., Any] | None = field(default=None, repr=False)
    any_layout: Any = None
    label: str | None = None
    silent: bool = False
    linearized: Callable[..., Any] | None = field(default=None, repr=False)
    functions: tuple[Callable[..., Any], ...] = ()
    aliases: tuple[str, ...] = ()
    modules: tuple[type, ...] = ()
    trained: bool = False
    lookup: bool = False


OPERATORS: dict[str, Operator] = {}
"""Name of the operation -> its record."""
_OWNERS = (torch, Tensor, F, operator)
"""Where Python code finds the functions that run operations."""
_CALLED: dict[Any, Operator] = {}
"""Function, or name of functions, that Python code calls -> the record of the operation."""


def define(*names: str, **facts: Any) -> Operator:
    """Record what is known of the operations called `names`; a later record of a name replaces the earlier one.

    Parameters
    ----------
    names
        Of the operations, in exported graphs.
    facts
        Attributes of their `Operator`.

    Returns
    -------
    Operator
        The record.

    Raises
    ------
    InputError
        When nothing in torch is called one of `names` or of the aliases, or an `Operator` has no such attribute.

    Examples
    --------
    >>> define("sincc", pointwise=True)
    Traceback (most recent call last):
    topo.errors.InputError: torch has no operation 'sincc'; did you mean 'sinc'?
    """
    known = [fact.name for fact in fields(Operator)][1:]
    for fact in facts:
        if fact not in known:
            raise unknown_name(f"fact of operation {names[0]!r}", fact, known)
    record = Operator(names, **facts)
    _check(record)
    OPERATORS.update(dict.fromkeys(names, record))
    if record.functions:
        _CALLED.update(dict.fromkeys(record.functions, record))
    else:
        called = (*names, *record.aliases)
        _CALLED.update(dict.fromkeys((*called, *(f"{name}_" for name in called)), record))
    return record


def _check(record: Operator) -> None:
    """Refuse a record of an operation that does not exist, and functions and modules that are none."""
    for name in (*record.names, *record.aliases):
        if not _exists(name):
            close = nearest(name, {*_registered(), *(known for owner in _OWNERS for known in dir(owner))}, 1)
            hint = f"did you mean {close[0]!r}?" if close else "register it with torch before its record."
            raise InputError(f"torch has no operation {name!r}; {hint}")
    for fact, values in (("functions", record.functions), ("modules", record.modules)):
        for value in values:
            if not callable(value):
                raise InputError(
                    f"{fact} of operation {record.names[0]!r} holds {value!r}; give the {fact} themselves, such as "
                    f"{'torch.nn.functional.relu' if fact == 'functions' else 'torch.nn.ReLU'}."
                )


def _exists(name: str) -> bool:
    """Whether torch or another package has an operation of that name, also one registered since the last look."""
    if any(hasattr(owner, name) for owner in _OWNERS) or name in _registered():
        return True
    _registered.cache_clear()
    return name in _registered()


@cache
def _registered() -> frozenset[str]:
    """Names of all operations that torch can dispatch, those of other packages too, without namespace and overload."""
    return frozenset(name.partition("::")[2].partition(".")[0] for name in torch._C._dispatch_get_all_op_names())


def rule(*names: str, **facts: Any) -> Callable[[Rule], Rule]:
    """Record operations whose map is the decorated function; see `define`.

    Parameters
    ----------
    names
        Names of the operations.
    facts
        Further fields of `Operator`.

    Returns
    -------
    callable
        A decorator that returns its function unchanged.
    """

    def add(function: Rule) -> Rule:
        define(*names, map=function, **facts)
        return function

    return add


def operator_of(operation: Step | str) -> Operator:
    """The record of a step's operation, or of the operation of a name; an empty one when there is none.

    Parameters
    ----------
    operation
        A step, or the name of an operation, such as ``"relu"``.

    Returns
    -------
    Operator
        What is recorded of it.
    """
    name = operation if isinstance(operation, str) else operation.name
    return OPERATORS.get(name) or Operator((name,))


def operator_called(function: Any) -> Operator | None:
    """The record of the operation that Python code calls as `function`, also in place.

    Parameters
    ----------
    function
        A torch function, method or operator overload.

    Returns
    -------
    Operator or None
        None when no record names it.
    """
    packet = getattr(function, "overloadpacket", function)
    return _CALLED.get(packet) or _CALLED.get(getattr(packet, "__name__", None))


def holes(arguments: Iterable[Any]) -> list[int]:
    """The positions of the arguments, lists among them, through which values flow in."""
    return [
        position
        for position, given in enumerate(arguments)
        if isinstance(given, Hole) or (isinstance(given, list | tuple) and any(isinstance(g, Hole) for g in given))
    ]
