"""One operation as seen from one of its inputs: what rules that map elements are asked with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ..elements import Fixed, Hole, Size, Step, Value, Values
from ..maps import Weight

__all__ = ["Call", "NoRule", "argument"]


class NoRule(InputError):
    """An operation, or a way to use it, that no rule describes."""


@dataclass(frozen=True)
class Call:
    """One step as seen from one of its inputs: arguments by position or name, and the weights it may read.

    Attributes
    ----------
    step
        The operation with its arguments.
    slot
        Which of its inputs is meant.
    values
        Parameters, buffers and constants by name.
    lookup
        Gives the weight of a name: absolute values, and which of them are kept.
    options
        ``weights="mean"`` divides by the pooling window; ``attention="values"`` leaves queries and keys out;
        ``masks="open"`` takes attention masks that are computed from the input to allow everything, and lets constants
        that select, such as masks, pass everything on; operations without a rule are then refused, and so they are with
        ``probe=False``. ``reads="values"`` counts all that the value of a result depends on, see `by_values`.
    constants
        As `values`, with trainable parameters as numbers other than zero: zeros are so by construction.
    fixed
        For every input the elements that no input of the network can change; None where there is none. May be empty.
    """

    step: Step
    slot: int
    values: Values
    lookup: Callable[[str], Weight]
    options: Mapping[str, Any]
    constants: Values | None = None
    fixed: tuple[Fixed | None, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether masks and other constants that select are to be passed over."""
        return self.options.get("masks") == "open"

    @property
    def by_values(self) -> bool:
        """Whether results read all that their values depend on: statistics count, and so does what has no slope."""
        return self.options.get("reads") == "values"

    @property
    def entry(self) -> int:
        """Which entry of the tuple that the operation returns is meant; 0 where it returns one tensor."""
        return int(getattr(self.step.operation, "entry", 0))

    def reads(self, given: Any) -> bool:
        """Whether an argument is the input that is meant, which may be several arguments of one step.

        Parameters
        ----------
        given
            An argument as traced.

        Returns
        -------
        bool
            False for parameters, constants and other inputs.
        """
        return isinstance(given, Hole) and given.slot == self.slot

    def constant(self, given: Any) -> Tensor | None:
        """What is known of an argument whatever the input and the parameters; NaN where it is not.

        Parameters
        ----------
        given
            An argument as traced.

        Returns
        -------
        Tensor or None
            None where nothing is known.
        """
        if isinstance(given, Hole):
            fixed = self.fixed[given.slot] if given.slot < len(self.fixed) else None
            return None if fixed is None else fixed.known()
        if isinstance(given, Value):
            try:
                return (self.constants or self.values)[given.name].detach().cpu()
            except (RuntimeError, TypeError, KeyError):
                return None  # a parametrisation that does not take any numbers
        return torch.tensor(given) if isinstance(given, int | float) else None

    def masked(self, given: Any) -> Tensor | None:
        """Which elements of a value masks keep.

        Parameters
        ----------
        given
            An argument as traced.

        Returns
        -------
        Tensor or None
            None where it is no value that masks reach.
        """
        kept_by_masks = getattr(self.lookup, "kept_by_masks", None)
        if kept_by_masks is None or not isinstance(given, Value):
            return None
        kept: Tensor | None = kept_by_masks(given.name)
        return kept

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.step.source_shapes[self.slot]

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.step.shape

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument as traced: a `Hole`, a `Value` or a plain value.

        Parameters
        ----------
        position
            Place among the positional arguments.
        name
            Name as a keyword.
        default
            What it is when it is not given.

        Returns
        -------
        object
            The argument.
        """
        return argument(self.step, position, name, default)

    def integers(self, position: int, name: str, default: Any, count: int) -> tuple[int, ...]:
        """An argument of `count` integers; a single one is repeated.

        Parameters
        ----------
        position
            Place among the positional arguments.
        name
            Name as a keyword.
        default
            What it is when it is not given.
        count
            How many integers there should be.

        Returns
        -------
        tuple
            Of integers.
        """
        given = self.argument(position, name, default)
        values = [self._whole(v) for v in (given if isinstance(given, list | tuple) else [given])]
        return tuple(values * count if len(values) == 1 else values)

    def _whole(self, given: Any) -> int:
        return int(given.expression.xreplace(self.options["sizes"])) if isinstance(given, Size) else int(given)

    def shape_of(self, given: Any) -> tuple[int, ...]:
        """The shape of an argument that is a tensor.

        Parameters
        ----------
        given
            A `Hole` or a `Value`.

        Returns
        -------
        tuple
            Its lengths.
        """
        if isinstance(given, Hole):
            return self.step.source_shapes[given.slot]
        return tuple(self.lookup(given.name).kept.shape)

    def weight(self, position: int, name: str = "weight") -> Weight:
        """The weight given as an argument.

        Parameters
        ----------
        position
            Place among the positional arguments.
        name
            Name as a keyword.

        Returns
        -------
        Weight
            Its magnitudes, and which are kept.

        Raises
        ------
        InputError
            When the weight is computed from the input.
        """
        given = self.argument(position, name)
        if isinstance(given, Hole):
            raise self.refusal("its weight is computed from the input")
        return self.lookup(given.name)

    def refusal(self, why: str) -> NoRule:
        """The error for a step that has no element-level meaning.

        Parameters
        ----------
        why
            What is missing, as half a sentence.

        Returns
        -------
        NoRule
            To be raised by the caller; it names the operation and its module.
        """
        where = f"module {self.step.module!r}" if self.step.module else "the model"
        return NoRule(
            f"cannot encode operation {self.step.name!r} of {where}: {why}; replace the operation or leave that "
            "part of the network out."
        )


def argument(step: Step, position: int, name: str, default: Any = None) -> Any:
    """An argument of a step by its position or its name.

    Parameters
    ----------
    step
        An operation as it runs in the network.
    position
        Place among the positional arguments.
    name
        Name as a keyword.
    default
        What it is when it is not given.

    Returns
    -------
    object
        As traced: a `Hole`, a `Value` or a plain value.
    """
    if position < len(step.args):
        return step.args[position]
    return step.kwargs.get(name, default)
