"""Which axis of a parameter an axis of a value runs over that is computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from .additive_graph import AdditiveGraph
from .derived_weights import carried_elements, kept_elements, main_parameter

__all__ = ["ParameterAxis", "carried", "parameter_axis", "shape_of"]


@dataclass(frozen=True, eq=False)
class ParameterAxis:
    """An axis of a parameter, and the places along it that an axis of a value runs over.

    Attributes
    ----------
    name
        Of the parameter.
    axis
        One of its axes.
    places
        For every index of the value's axis the index of the parameter's, int64; each appears once.
    """

    name: str
    axis: int
    places: Tensor


_AXES: WeakKeyDictionary[AdditiveGraph, dict[tuple[str, int], ParameterAxis | None]] = WeakKeyDictionary()
_CARRIED: WeakKeyDictionary[AdditiveGraph, dict[str, tuple[str, Tensor] | None]] = WeakKeyDictionary()


def shape_of(dag: AdditiveGraph, name: str) -> tuple[int, ...]:
    """The shape of a parameter, buffer or constant.

    Parameters
    ----------
    dag
        The network.
    name
        Its name.

    Returns
    -------
    tuple
        Of one sample, where a constant depends on their number.
    """
    known = dag.state.get(name)
    return tuple(dag.constants[name].shape if known is None else known.shape)


def carried(dag: AdditiveGraph, name: str) -> tuple[str, Tensor] | None:
    """The parameter whose zeros are zeros of a value, and for every element of the value which of its elements that is.

    Parameters
    ----------
    dag
        The network.
    name
        A parameter, buffer or constant.

    Returns
    -------
    tuple or None
        Name, and numbers of elements in the value's shape; None where there is none for some element, those aside that
        are zero whatever the parameter is.
    """
    known = _CARRIED.setdefault(dag, {})
    if name not in known:
        parameter = main_parameter(dag, name)
        index = None if parameter is None else carried_elements(dag, name, parameter)
        if parameter is not None and index is not None and (index < 0).any():
            index = _with_constant_zeros(dag, name, parameter, index)
        known[name] = None if parameter is None or index is None else (parameter, index)
    return known[name]


def _with_constant_zeros(dag: AdditiveGraph, name: str, parameter: str, index: Tensor) -> Tensor | None:
    """The numbers with those of elements that a constant factor makes zero, as a mask does, which go with their
    neighbours; None where something else is no element's."""
    everything = {n: torch.ones_like(dag.state[n], dtype=torch.bool) for n in dag.parameters_behind([name])}
    if bool((kept_elements(dag, name, everything).cpu() & (index < 0)).any()):
        return None
    value = dag.state[parameter]
    numbers = torch.arange(value.numel()).view(value.shape)
    for order in permutations(range(value.ndim)):
        moved = numbers.permute(order)
        if moved.shape == index.shape and torch.equal(torch.where(index < 0, index, moved), index):
            return moved.contiguous()
    return None


def parameter_axis(dag: AdditiveGraph, name: str, axis: int) -> ParameterAxis | None:
    """The axis of a parameter that an axis of a value runs over.

    Parameters
    ----------
    dag
        The network.
    name
        A parameter or buffer, whose axes are its own, or a constant computed from parameters.
    axis
        One of the value's axes.

    Returns
    -------
    ParameterAxis or None
        None where leaving out an index of the value's axis is not leaving out an index of one axis of a parameter, as
        where its elements are mixed, or two axes have become one.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> class Half(nn.Linear):
    ...     def forward(self, x):
    ...         return x @ self.weight[2:].t()
    >>> dag = topo.trace(Half(3, 4), (3,))
    >>> found = parameter_axis(dag, list(dag.constants)[-1], 1)
    >>> found.name, found.axis, found.places.tolist()
    ('weight', 0, [2, 3])
    """
    if name in dag.state:
        return ParameterAxis(name, axis, torch.arange(dag.state[name].shape[axis]))
    known = _AXES.setdefault(dag, {})
    if (name, axis) not in known:
        known[name, axis] = _found(dag, name, axis)
    return known[name, axis]


def _found(dag: AdditiveGraph, name: str, axis: int) -> ParameterAxis | None:
    found = carried(dag, name)
    if found is None:
        return None
    parameter, index = found
    coordinates = np.unravel_index(index.numpy(), tuple(dag.state[parameter].shape))
    for place, along in enumerate(coordinates):
        by_index = torch.from_numpy(np.ascontiguousarray(along)).movedim(axis, 0).reshape(index.shape[axis], -1)
        places = by_index[:, 0]
        if bool((by_index == places[:, None]).all()) and len(places.unique()) == len(places):
            return ParameterAxis(parameter, place, places)
    return None
