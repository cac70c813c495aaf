"""Operations written as others: what the composition of an operation may ask and do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...errors import InputError

__all__ = ["Composer"]


class Composer:
    """Runs the operations that another one is made of, on tensors.

    Examples
    --------
    >>> import torch
    >>> compose = Composer()
    >>> compose(torch.add, torch.ones(2), torch.ones(2), name="sums")
    tensor([2., 2.])
    """

    def __call__(self, operation: Callable[..., Any], *args: Any, name: str = "") -> Any:
        """The result of an operation.

        Parameters
        ----------
        operation
            An overload such as ``torch.ops.aten.tanh.default``.
        args
            Its arguments.
        name
            What the result is, for whoever looks at the network.

        Returns
        -------
        object
            What the operation returns.
        """
        return operation(*args)

    def length(self, value: Any, axis: int) -> int:
        """The length of a value along an axis that does not count samples.

        Parameters
        ----------
        value
            A tensor, or what stands for one.
        axis
            One of its axes.

        Returns
        -------
        int
            The length.
        """
        return int(value.shape[axis])

    def axes(self, value: Any) -> int:
        """The number of axes of a value.

        Parameters
        ----------
        value
            A tensor, or what stands for one.

        Returns
        -------
        int
            How many there are.
        """
        return int(value.ndim)

    def type_of(self, value: Any) -> torch.dtype:
        """The type of the numbers of a value.

        Parameters
        ----------
        value
            A tensor, or what stands for one.

        Returns
        -------
        torch.dtype
            Such as ``torch.float32``.
        """
        kind: torch.dtype = value.dtype
        return kind

    def counts_samples(self, value: Any, axis: int) -> bool:
        """Whether an axis is known to be the one along which a traced network counts samples.

        Parameters
        ----------
        value
            A tensor, or what stands for one.
        axis
            One of its axes.

        Returns
        -------
        bool
            False where that is not known.
        """
        return False

    def varies(self, value: Any) -> bool:
        """Whether a value is known to be computed from an input of the network.

        Parameters
        ----------
        value
            A tensor, or what stands for one.

        Returns
        -------
        bool
            False where that is not known.
        """
        return False

    def is_zero(self, value: Any) -> bool:
        """Whether a value is known to be zero whatever the input is.

        Parameters
        ----------
        value
            A tensor, or what stands for one.

        Returns
        -------
        bool
            False where that is not known.
        """
        return False

    def refusal(self, why: str) -> InputError:
        """The error where an operation cannot be written as others.

        Parameters
        ----------
        why
            What is missing, as half a sentence with what to do.

        Returns
        -------
        InputError
            To be raised by the caller.
        """
        return InputError(f"cannot follow the model: {why}.")
