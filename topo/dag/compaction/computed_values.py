"""Values computed from parameters, such as normalised weights, as plain parameters of the smaller network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..dag import Dag
from ..derived_weights import is_view, values_without_nan
from ..elements import Size, Step, Values
from ..parameter_axes import carried

__all__ = ["ComputedValues", "masked_values"]


def masked_values(dag: Dag, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers under masks, and the computed values that are then no numbers with zeros in their place.

    A row of a normalised weight of which nothing is kept is zero divided by zero; nothing of it is kept either.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> bool mask in the parameter's shape.

    Returns
    -------
    dict
        Name -> tensor.
    """
    state = {name: value.detach() for name, value in dag.state.items()}
    for name, mask in masks.items():
        state[name] = state[name].masked_fill(~mask.to(state[name].device), 0.0)
    values, repaired = dag.values(state), values_without_nan(dag, state)
    for name in read_names(dag):
        if name in dag.constants and {*dag.parameters_behind([name])}.intersection(masks):
            value = values[name].detach()
            if value.isnan().any():
                state[name] = repaired[name].detach()
    return state


def read_names(dag: Dag) -> tuple[str, ...]:
    """What steps of a network read of parameters, buffers and what is computed from them.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    tuple
        Names, each once.
    """
    steps = [step for arc in dag.arcs for step in arc.steps]
    steps += [step for output in dag.outputs for step in output.steps]
    steps += [node.combine for node in dag.nodes if node.combine is not None]
    return tuple(dict.fromkeys(name for step in steps for name in step.values))


class ComputedValues:
    """Finds which computed values can be parameters of their own, and computes them.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> bool tensor, True where a weight is kept.
    are_weights
        Whether the parameters hold weights; where they hold something else, only their places may change.
    """

    def __init__(self, dag: Dag, masks: Mapping[str, Tensor], are_weights: bool) -> None:
        self.dag, self.masks, self.are_weights = dag, masks, are_weights

    def folded(self, name: str) -> tuple[str, nn.Parameter] | None:
        """A computed value as a parameter, under the masks.

        Parameters
        ----------
        name
            Of a constant of the network.

        Returns
        -------
        tuple or None
            The name of the parameter that it is computed from, and the parameter that takes its place; None where no
            zeros of one are its zeros, or something else of the network reads the parameters behind it.
        """
        found = carried(self.dag, name)
        behind = self._behind(name)
        if found is None or any(_is_free(self.dag.constants[part]) for part in behind):
            return None
        if not self.are_weights and not is_view(self.dag, name):
            return None
        parameter, index = found
        if any(self._shares(name, parameter, index, other) for other in self._read if other != name):
            return None
        value = self._values[name].detach()
        needs_grad = self.dag.state[parameter].requires_grad
        return parameter, nn.Parameter(value, requires_grad=needs_grad and value.is_floating_point())

    def is_repaired(self, name: str) -> bool:
        """Whether a value is no number under the masks, for which zeros stand.

        Parameters
        ----------
        name
            Of a constant of the network.

        Returns
        -------
        bool
            False where it can be computed as the model does.
        """
        return self.are_weights and name in self._state

    def _shares(self, name: str, parameter: str, index: Tensor, other: str) -> bool:
        """Whether another value is computed from elements of the parameters behind this one."""
        common = {*self.dag.parameters_behind([name])} & {*self.dag.parameters_behind([other])}
        if not common:
            return False
        found = carried(self.dag, other)
        if common != {parameter} or found is None or found[0] != parameter:
            return True
        return bool(torch.isin(index.flatten(), found[1].flatten()).any())

    def _behind(self, name: str) -> list[str]:
        """The constants that a value is computed through, itself among them."""
        waiting, seen = [name], dict[str, None]()
        while waiting:
            part = waiting.pop()
            if part in self.dag.constants and part not in seen:
                seen[part] = None
                waiting.extend(self.dag.constants[part].values)
        return list(seen)

    @cached_property
    def _values(self) -> Values:
        return self.dag.values(self._state)

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        return masked_values(self.dag, self.masks)

    @cached_property
    def _read(self) -> tuple[str, ...]:
        return read_names(self.dag)


def _is_free(step: Step) -> bool:
    """Whether a step depends on the number of samples."""
    return any(isinstance(leaf, Size) for leaf in pytree.tree_leaves((step.args, dict(step.kwargs))))
