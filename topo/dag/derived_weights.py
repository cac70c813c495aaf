"""Weights that are computed from parameters: which parameter holds them, and which of them are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .additive_graph import AdditiveGraph
from .elements import Values
from .operators import operator_of

__all__ = ["carried_elements", "constants_behind", "is_view", "kept_elements", "main_parameter", "values_without_nan"]


def main_parameter(dag: AdditiveGraph, weight: str) -> str | None:
    """Name of the parameter that a weight is, or is computed from; of several the largest, of equal ones the first.

    Parameters
    ----------
    dag
        The network.
    weight
        Name of a parameter, a buffer or a constant.

    Returns
    -------
    str or None
        None where no parameter is behind it.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> dag = topo.trace(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (4,))
    >>> [main_parameter(dag, name) for name in dag.constants]
    ['weight']
    """
    behind = dag.parameters_behind([weight])
    return max(behind, key=lambda name: dag.state[name].numel(), default=None)


def kept_elements(dag: AdditiveGraph, weight: str, kept: Mapping[str, Tensor]) -> Tensor:
    """Which elements of a weight are not forced to zero by the parameters' pruned elements, by constants or by zeros.

    The weight is computed with random numbers in the place of what is kept of the parameters: what is zero then is zero
    for every value that they may have. What is no number then, such as a row that is divided by its norm and of which
    nothing is kept, counts as zero.

    Parameters
    ----------
    dag
        The network.
    weight
        Name of a parameter, a buffer or a constant.
    kept
        Parameter -> bool tensor of its shape; of others, their non-zeros are kept.

    Returns
    -------
    Tensor
        bool, of the weight's shape and on its device.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> dag = topo.trace(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), (2,))
    >>> kept_elements(dag, "_weight_norm", {"weight": torch.tensor([[True, False], [False, False]])}).tolist()
    [[True, False], [False, False]]
    """
    if weight in dag.state:
        return kept[weight].to(dag.state[weight].device) if weight in kept else dag.state[weight].detach() != 0
    parameters = _floating_parameters(dag, weight)
    known = {
        name: (kept[name].to(value.device) if name in kept else value.detach() != 0)
        for name, value in parameters.items()
    }
    if is_view(dag, weight):
        ones = {name: part.to(parameters[name].dtype) for name, part in known.items()}
        return _computed(dag, weight, ones) != 0
    result: Tensor | None = None
    for draw in (_positive, _signed):
        drawn = {name: draw(value, place) * known[name] for place, (name, value) in enumerate(parameters.items())}
        found = _computed(dag, weight, drawn) != 0
        result = found if result is None else result | found
    assert result is not None
    return result


def carried_elements(dag: AdditiveGraph, weight: str, parameter: str) -> Tensor | None:
    """For every element of a weight the element of a parameter that makes it zero by being zero.

    So it is through views, and through parametrisations that treat every element alike or scale it: pruning elements of
    the parameter prunes elements of the weight. It is not where elements are mixed, as where their mean is taken off.
    A mask in the model that is all zero, as of a layer that `torch.nn.utils.prune` has pruned whole, is looked through.

    Parameters
    ----------
    dag
        The network.
    weight
        Name of a parameter or a constant.
    parameter
        Name of a parameter that it may be computed from.

    Returns
    -------
    Tensor or None
        int64 of the weight's shape: numbers of elements of the parameter, row by row, -1 where no element of it alone
        makes the weight's zero. None where that is so everywhere.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> class Doubled(nn.Linear):
    ...     def forward(self, x):
    ...         return x @ (2 * self.weight.t())
    >>> dag = topo.trace(Doubled(2, 3, bias=False), (2,))
    >>> carried_elements(dag, list(dag.constants)[-1], "weight").tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    value = dag.state[parameter]
    count = value.numel()
    numbers = torch.arange(count).reshape(value.shape)
    if weight == parameter:
        return numbers
    parameters = _floating_parameters(dag, weight)
    if parameter not in parameters:
        return None
    if is_view(dag, weight):
        # Whatever is moved beside the elements of the parameter counts as no element of it.
        others = {name: torch.zeros_like(p) for name, p in parameters.items()}
        found = _computed(dag, weight, {**others, parameter: numbers.to(value.device).double() + 1})
        return None if not found.any() else found.long().cpu() - 1
    followed = _followed(dag, weight, parameter, parameters, {})
    if followed is None and (hidden := _zero_buffers(dag, weight)):
        return _followed(dag, weight, parameter, parameters, hidden)
    return followed


def _zero_buffers(dag: AdditiveGraph, weight: str) -> dict[str, Tensor]:
    """Ones in the place of each buffer of zeros that a weight is computed from."""
    behind = {value for name in constants_behind(dag, weight) for value in dag.constants[name].values}
    buffers = behind & dag.state.keys() - dag.parameters_behind([weight])
    return {name: torch.ones_like(dag.state[name]) for name in sorted(buffers) if not dag.state[name].any()}


def _followed(
    dag: AdditiveGraph, weight: str, parameter: str, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> Tensor | None:
    """`carried_elements` of a weight that is computed, with other values in the place of some buffers."""
    value = dag.state[parameter]
    numbers = torch.arange(value.numel()).reshape(value.shape)
    for draw in (_positive, _signed):
        drawn = {name: draw(p, place) for place, (name, p) in enumerate(parameters.items())}

        def is_zero(zeros: Tensor, drawn: dict[str, Tensor] = drawn) -> Tensor:
            state = {**buffers, **drawn, parameter: drawn[parameter].masked_fill(zeros.to(value.device), 0.0)}
            return (_computed(dag, weight, state) == 0).cpu()

        never = is_zero(torch.zeros_like(numbers, dtype=torch.bool))
        index = _read_off(numbers, never, is_zero)
        if index is not None or not never.any():
            return index
    return None


def _read_off(numbers: Tensor, never: Tensor, is_zero: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The element that each result follows, from which results are zero when some elements are; None for none.

    `never` are the results that are zero in any case.
    """
    generator = torch.Generator().manual_seed(0)
    index = torch.where(never, -1, numbers) if never.shape == numbers.shape else None
    # By chance alone few elements may do as one would that follows another element.
    chances = [torch.rand(numbers.shape, generator=generator) < 0.5 for _ in range(2 if numbers.numel() > 64 else 9)]
    seen = [is_zero(zeros) for zeros in chances]

    def explains(index: Tensor) -> bool:
        expected = (torch.where(index < 0, never, zeros.reshape(-1)[index.clamp(min=0)]) for zeros in chances)
        return bool((index >= 0).any()) and all(map(torch.equal, expected, seen))

    if all(torch.equal(never, zeros) for zeros in seen):
        return None
    if index is None or not explains(index):
        index = torch.zeros(never.shape, dtype=torch.int64)
        for bit in range(numbers.numel().bit_length()):
            # Numbers from one, for zero says that no element is followed.
            index |= is_zero(((numbers + 1) >> bit & 1).bool()).long() << bit
        index = torch.where(never | (index > numbers.numel()), 0, index) - 1
    return index if explains(index) else None


def _floating_parameters(dag: AdditiveGraph, weight: str) -> dict[str, Tensor]:
    return {name: dag.state[name] for name in dag.parameters_behind([weight]) if dag.state[name].is_floating_point()}


def values_without_nan(dag: AdditiveGraph, state: Mapping[str, Tensor]) -> Values:
    """Parameters, buffers and constants by name; what is no number where a constant is computed is zero.

    So is a row of pruned weights that is divided by its own norm, and it spreads to no other row.

    Parameters
    ----------
    dag
        The network.
    state
        What stands in for some of its parameters.

    Returns
    -------
    Values
        By name.
    """
    known = dag.values()
    return _WithoutNan({**dag.state, **state}, dag.constants, known.sizes)


class _WithoutNan(Values):
    def __getitem__(self, name: str) -> Tensor:
        computed = name not in self._known
        value = super().__getitem__(name)
        if computed and isinstance(value, Tensor) and value.is_floating_point():
            value = self._known[name] = value.masked_fill(value.isnan(), 0.0)
        return value


def _computed(dag: AdditiveGraph, weight: str, state: Mapping[str, Any]) -> Tensor:
    with torch.no_grad():
        return values_without_nan(dag, state)[weight].detach()


def is_view(dag: AdditiveGraph, weight: str) -> bool:
    """Whether a weight is a parameter, or parts of parameters, in another shape or order.

    Parameters
    ----------
    dag
        The network.
    weight
        Name of a parameter, a buffer or a constant.

    Returns
    -------
    bool
        False where anything is computed from their numbers.
    """
    return all(operator_of(dag.constants[name]).view for name in constants_behind(dag, weight))


def constants_behind(dag: AdditiveGraph, value: str) -> Iterator[str]:
    """Names of the constants that a value is, or is computed from.

    Parameters
    ----------
    dag
        The network.
    value
        Name of a parameter, a buffer or a constant.

    Yields
    ------
    str
        Each once, the value itself first.
    """
    waiting, seen = [value], set()
    while waiting:
        name = waiting.pop()
        if name in dag.constants and name not in seen:
            seen.add(name)
            yield name
            waiting.extend(dag.constants[name].values)


def _size(value: Tensor) -> float:
    """A typical magnitude of a parameter's elements, one where all are zero."""
    found = float(value.detach().double().square().mean().sqrt())
    return found if 0 < found < torch.inf else 1.0


def _positive(value: Tensor, place: int) -> Tensor:
    """Numbers of a parameter's magnitude, near enough to each other that none is rounded away beside the others."""
    drawn = torch.rand(value.shape, generator=torch.Generator().manual_seed(place))
    return ((1 + drawn / 4) * _size(value)).to(value)


def _signed(value: Tensor, place: int) -> Tensor:
    """Numbers around one of both signs."""
    generator = torch.Generator().manual_seed(1000 + place)
    drawn = torch.rand(value.shape, generator=generator)
    signs = torch.randint(2, value.shape, generator=generator) * 2 - 1
    return ((1 + drawn) * signs).to(value)
