"""Inputs and targets of the samples of one split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import torch
from torch import Tensor

from ..errors import counted
from .inputs import IGNORED, Inputs, kind_of, map_inputs

__all__ = ["Split", "samples_for"]


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs as they were read and their targets.

    Images are one tensor (N, C, H, W), uint8 or float; tokens are whole numbers (N, positions); a model of several
    inputs has a tuple of tensors, or a dict of them by argument name, each with the N samples along its first axis.

    Attributes
    ----------
    inputs
        A tensor, or a tuple or dict of tensors, the samples along their first axes.
    targets
        Classes, int64: one a sample, (N,), or one a position, (N, positions), where -100 asks for no answer. Or
        numbers of floating point, or labels as bools, of any shape behind the samples.
    """

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"Split({counted(len(self), 'sample')})"

    @property
    def is_of_positions(self) -> bool:
        """Whether a sample has a target at each of its positions, such as the next token of a text."""
        return self.has_classes and self.targets.ndim > 1

    @property
    def has_classes(self) -> bool:
        """Whether targets are classes, not numbers or labels."""
        return kind_of(self.targets) == "classes"

    @cached_property
    def n_answers(self) -> int:
        """How many answers are asked for: one a sample, or one a position that has a target."""
        return int(self.class_counts.sum()) if self.has_classes else len(self)

    @cached_property
    def class_counts(self) -> Tensor:
        """How often each class is a target, int64 (largest class + 1,); positions without a target do not count."""
        counted = self.targets[self.targets != IGNORED] if self.is_of_positions else self.targets
        return torch.bincount(counted)

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device.

        Parameters
        ----------
        device
            Where the tensors go.

        Returns
        -------
        Split
            A new one.
        """
        return Split(map_inputs(lambda tensor: tensor.to(device), self.inputs), self.targets.to(device))

    def first(self, per_class: int) -> Split:
        """The first `per_class` samples of each class, in their order; of all where targets are no classes of samples.

        Parameters
        ----------
        per_class
            How many samples; all of a class that has fewer.

        Returns
        -------
        Split
            A new one.
        """
        if self.is_of_positions or not self.has_classes:
            return self.take(torch.arange(min(per_class, len(self)), device=self.targets.device))
        order = torch.argsort(self.targets, stable=True)
        counts = torch.bincount(self.targets)
        starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        rank = torch.arange(len(self), device=order.device) - starts
        kept = order[rank < per_class].sort().values
        return self.take(kept)

    def take(self, index: Tensor) -> Split:
        """The samples with these numbers, in this order; `index` is on the split's device.

        Parameters
        ----------
        index
            Numbers of samples, int64.

        Returns
        -------
        Split
            A new one.
        """
        return Split(map_inputs(lambda tensor: tensor.index_select(0, index), self.inputs), self.targets[index])


def samples_for(count: int, targets: Tensor) -> int:
    """How many samples have about so many targets.

    Parameters
    ----------
    count
        Of targets.
    targets
        (samples, positions), `IGNORED` where a position has none.

    Returns
    -------
    int
        From 1 up, as if all samples had the mean number of targets.

    Examples
    --------
    >>> samples_for(40, torch.tensor([[1, 2, 3, 4], [0, 1, -100, -100]]))
    14
    """
    return max(1, ceil(count * len(targets) / max(int((targets != IGNORED).sum()), 1)))
