"""Products of a tensor with one weight of any number of axes, written as an einsum."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .maps import Weight
from .matrices import merge_duplicates

__all__ = ["Contraction"]


@dataclass(frozen=True, eq=False)
class Contraction:
    """``einsum("source,weight->target")`` of a tensor and a weight, labels of axes being integers.

    A batch of matrices, a bilinear form, attention whose weights are zero in places: everything that multiplies
    elements by elements of a weight and adds up. A label that the target alone has is filled with copies.

    Attributes
    ----------
    source_shape, target_shape
        Shapes of what is read and of the result.
    weight
        What it is multiplied by.
    source_labels, weight_labels, target_labels
        A label for every axis; none occurs twice in one of them.

    Examples
    --------
    >>> import torch
    >>> matrices = torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]])
    >>> batch = Contraction((2, 1), (2, 2), Weight(matrices, matrices != 0), (0, 1), (0, 1, 2), (0, 2))
    >>> batch.matrix().toarray().tolist()
    [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    weight: Weight
    source_labels: tuple[int, ...]
    weight_labels: tuple[int, ...]
    target_labels: tuple[int, ...]

    @property
    def _lengths(self) -> dict[int, int]:
        """Label -> length of its axes."""
        pairs = (
            (self.source_labels, self.source_shape),
            (self.weight_labels, tuple(self.weight.kept.shape)),
            (self.target_labels, self.target_shape),
        )
        return {label: length for labels, shape in pairs for label, length in zip(labels, shape, strict=True)}

    def along_weight(self) -> Contraction:
        """The same at one place along every axis that the weight has not."""
        ends = ((self.source_labels, self.source_shape), (self.target_labels, self.target_shape))
        (read, source), (written, target) = (
            tuple(zip(*((label, n) for label, n in zip(*end, strict=True) if label in self.weight_labels), strict=True))
            or ((), ())
            for end in ends
        )
        return Contraction(source, target, self.weight, read, self.weight_labels, written)

    def matrix(self) -> sparse.csr_array:
        kept = self.weight.kept.detach().cpu().numpy()
        at = np.nonzero(kept)
        values = self.weight.magnitude.detach().cpu().to(torch.float32).numpy()[at]
        lengths = self._lengths
        free = [label for label in lengths if label not in self.weight_labels]
        grid = np.indices([lengths[label] for label in free]).reshape(len(free), prod(lengths[label] for label in free))
        known = {label: at[axis][:, None] for axis, label in enumerate(self.weight_labels)}
        known |= {label: grid[axis][None, :] for axis, label in enumerate(free)}
        size = (len(values), grid.shape[1])
        sources = _numbers(self.source_labels, self.source_shape, known, size)
        targets = _numbers(self.target_labels, self.target_shape, known, size)
        shape = (prod(self.source_shape), prod(self.target_shape))
        return merge_duplicates(np.broadcast_to(values[:, None], size).ravel(), sources, targets, shape)

    def edge_count(self) -> int:
        lengths = self._lengths
        free = prod(length for label, length in lengths.items() if label not in self.weight_labels)
        return int(self.weight.kept.sum()) * free

    def fan_in(self) -> int:
        ends = [axis for axis, label in enumerate(self.weight_labels) if label not in self.target_labels]
        kept = self.weight.kept
        along = kept.sum(dim=ends) if ends else kept.int()
        lengths = self._lengths
        alone = set(self.source_labels) - set(self.weight_labels) - set(self.target_labels)
        return int(along.max()) * prod(lengths[label] for label in alone)

    def apply(self, x: Tensor) -> Tensor:
        factor = self.weight.effective.to(dtype=x.dtype, device=x.device)
        read = {*self.source_labels, *self.weight_labels}
        given = [label for label in self.target_labels if label in read]
        small = {label: number for number, label in enumerate(self._lengths)}  # torch takes numbers below 52 alone
        source, weight, target = (
            [small[label] for label in labels] for labels in (self.source_labels, self.weight_labels, given)
        )
        y = torch.einsum(x.reshape(self.source_shape), source, factor, weight, target)
        shape = [n if label in read else 1 for label, n in zip(self.target_labels, self.target_shape, strict=True)]
        return y.reshape(shape).expand(self.target_shape)


def _numbers(
    labels: tuple[int, ...], shape: tuple[int, ...], known: dict[int, np.ndarray], size: tuple[int, int]
) -> np.ndarray:
    """The number of the element at these places, row by row, for every combination."""
    numbers = np.zeros((1, 1), np.int32)
    for label, length in zip(labels, shape, strict=True):
        numbers = numbers * np.int32(length) + known[label].astype(np.int32)
    return np.broadcast_to(numbers, size).ravel()
