"""What compaction leaves of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

__all__ = ["Inseparable", "Remaining", "inseparable"]


class Inseparable(Exception):
    """An operation cannot be told to do without these units.

    Parameters
    ----------
    where
        The operation, as messages name it.
    units
        Their numbers.
    """

    def __init__(self, where: str, units: Tensor) -> None:
        super().__init__(where)
        self.where, self.units = where, units


@dataclass(frozen=True, eq=False)
class Remaining:
    """What is left of a tensor of one sample: a box or, where it is none, a flat list of its elements in order.

    `labels` (of the tensor's shape) is the unit of each element, -1 for none; `alive` says which units stay.

    Attributes
    ----------
    labels
        The unit of each element, -1 for none, int64 in the tensor's shape.
    alive
        Which units stay, bool, (units,).
    """

    labels: Tensor
    alive: Tensor

    @cached_property
    def kept(self) -> Tensor:
        """Which elements stay, bool of the tensor's shape."""
        return torch.cat([self.alive, torch.tensor([True])])[self.labels]

    @cached_property
    def dead(self) -> Tensor:
        """The units that it has lost."""
        return self.labels[~self.kept].unique()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.kept.shape)

    @cached_property
    def complete(self) -> bool:
        """Whether every element remains."""
        return self.count == self.kept.numel()

    @cached_property
    def count(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def along(self) -> tuple[Tensor, ...]:
        """Which indices of each axis hold something."""
        ndim = self.kept.ndim
        return tuple(self.kept.movedim(axis, 0).flatten(1).any(1) if ndim > 1 else self.kept for axis in range(ndim))

    @cached_property
    def box(self) -> tuple[int, ...] | None:
        """Its shape once the rest is gone, if what is left is a box."""
        shape = tuple(int(kept.sum()) for kept in self.along)
        return shape if prod(shape) == self.count else None

    @cached_property
    def numbers(self) -> Tensor:
        """Element -> its place among those left, -1 for those gone; flat."""
        flat = self.kept.reshape(-1)
        return torch.where(flat, flat.cumsum(0) - 1, -1)


def inseparable(where: str, *parts: Remaining) -> Inseparable:
    """The error of an operation that cannot do without what some tensors have lost.

    Parameters
    ----------
    where
        The operation, as messages name it.
    parts
        What is left of the tensors.

    Returns
    -------
    Inseparable
        To be raised by the caller.
    """
    return Inseparable(where, torch.cat([part.dead for part in parts]).unique())
