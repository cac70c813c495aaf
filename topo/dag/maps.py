"""Linear maps between the elements of two tensors: what an operation means for the graph.

A map is the operation's structural twin: linear and non-negative. Elements are numbered in row-major order.
`matrix()` lists every edge as a CSR matrix (source elements, target elements); `apply(x)` evaluates the same
map on a tensor without building an edge, and autograd gives its transpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from .matrices import compose, csr, kronecker, merge, repeat_block

__all__ = ["AxisMaps", "Chain", "Convolution", "Gather", "LinearMap", "Union", "Weight"]

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONVOLVE_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
# A kernel element, and the positions (source, target) that it joins, row by row, int32.
Placement = tuple[tuple[int, ...], np.ndarray, np.ndarray]


class LinearMap(Protocol):
    """A non-negative linear map from a tensor of `source_shape` to one of `target_shape`."""

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of what it reads."""

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of what it gives."""

    def matrix(self) -> sparse.csr_array:
        """Edges: CSR (source elements, target elements), int32 indices, float32 weights, stored zeros included."""

    def edge_count(self) -> int:
        """An upper bound of the number of edges, exact for a single layer, found without building them."""

    def fan_in(self) -> int:
        """The largest number of edges into one target element."""

    def apply(self, x: Tensor) -> Tensor:
        """The map on a tensor of `source_shape`, differentiable.

        Parameters
        ----------
        x
            Of `source_shape`.

        Returns
        -------
        Tensor
            Of `target_shape`, on the device and of the type of `x`.
        """


@dataclass(frozen=True, eq=False)
class Weight:
    """Absolute weights and which of them are kept, both shaped like the parameter.

    Attributes
    ----------
    magnitude
        Absolute values.
    kept
        bool.
    """

    magnitude: Tensor
    kept: Tensor

    @property
    def effective(self) -> Tensor:
        return self.magnitude * self.kept


@dataclass(frozen=True, eq=False)
class Gather:
    """Every target element reads one source element: ``y[j] = x[index[j]]``, or nothing where index is -1.

    `index` is int64 of `target_shape`; None for the identity, which may regroup the axes.

    Attributes
    ----------
    source_shape, target_shape
        Shapes of what is read and of the result.
    index
        The number of the element read, for each element of the result.
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    index: np.ndarray | None = None

    @classmethod
    def reading(cls, source_shape: tuple[int, ...], target_shape: tuple[int, ...], index: np.ndarray) -> Gather:
        """With this index, noticing when it is the identity.

        Parameters
        ----------
        source_shape, target_shape
            Shapes of what is read and of the result.
        index
            For every element of the result the number of the one that it reads, or below zero for none.

        Returns
        -------
        Gather
            Without an index where that is the identity.
        """
        n = prod(source_shape)
        same = index.size == n and bool((index.ravel() == np.arange(n)).all())
        return cls(source_shape, target_shape, None if same else index)

    @cached_property
    def is_bijective(self) -> bool:
        """Whether the elements are only renumbered."""
        if self.index is None:
            return True
        n, flat = prod(self.source_shape), self.index.ravel()
        return len(flat) == n and bool((flat >= 0).all()) and bool((np.bincount(flat, minlength=n) == 1).all())

    @property
    def is_filled(self) -> bool:
        """Whether every element of the result reads one."""
        return self.index is None or bool((self.index >= 0).all())

    def matrix(self) -> sparse.csr_array:
        n = prod(self.source_shape)
        if self.index is None:
            each = np.arange(n + 1, dtype=np.int32)
            return sparse.csr_array((np.ones(n, np.float32), each[:-1], each), shape=(n, n))
        flat = self.index.ravel()
        targets = np.flatnonzero(flat >= 0).astype(np.int32)
        return csr(np.ones(len(targets), np.float32), flat[targets].astype(np.int32), targets, (n, flat.size))

    def edge_count(self) -> int:
        return prod(self.source_shape) if self.index is None else int((self.index >= 0).sum())

    def fan_in(self) -> int:
        return 1

    def apply(self, x: Tensor) -> Tensor:
        if self.index is None:
            return x.reshape(self.target_shape)
        index = torch.from_numpy(np.ascontiguousarray(self.index)).to(x.device)
        return x.reshape(-1)[index.clamp(min=0)] * (index >= 0)


@dataclass(frozen=True, eq=False)
class AxisMaps:
    """A map along each of some axes: pooling, means, interpolation, linear layers, products with activations.

    `maps` pairs an axis of the source with its `Weight` of shape (target length, source length); the other
    axes stay. The result has these lengths replaced; `target_shape` may regroup the axes.

    Attributes
    ----------
    source_shape, target_shape
        Shapes of what is read and of the result.
    maps
        Pairs of an axis and its weight.
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    maps: tuple[tuple[int, Weight], ...]

    def matrix(self) -> sparse.csr_array:
        factors: dict[int, sparse.csr_array] = {axis: _weight_csr(weight).T.tocsr() for axis, weight in self.maps}
        result: sparse.csr_array | None = None
        same = 1
        # From the last axis to the first: runs of untouched axes are one identity factor.
        for axis in reversed(range(len(self.source_shape))):
            if axis not in factors:
                same *= self.source_shape[axis]
                continue
            result = _append_identity(result, same)
            same = 1
            result = factors[axis] if result is None else kronecker(factors[axis], result)
        if result is None:
            return Gather((same,), (same,)).matrix()
        return repeat_block(result, same)

    def edge_count(self) -> int:
        mapped = {axis: int(weight.kept.sum()) for axis, weight in self.maps}
        return prod(mapped.get(axis, length) for axis, length in enumerate(self.source_shape))

    def fan_in(self) -> int:
        return prod(int(weight.kept.sum(1).max()) for _, weight in self.maps)

    def apply(self, x: Tensor) -> Tensor:
        x = x.reshape(self.source_shape)
        for axis, weight in self.maps:
            factor = weight.effective.to(dtype=x.dtype, device=x.device)
            x = torch.movedim(torch.movedim(x, axis, -1) @ factor.T, -1, axis)
        return x.reshape(self.target_shape)


@dataclass(frozen=True, eq=False)
class Convolution:
    """Convolution over 1 to 3 axes, plain or transposed; shapes are (samples, channels, *axes).

    `padding` is one pair (before, after) an axis. A transposed convolution's `weight` has the source channels
    first, as in torch.

    Attributes
    ----------
    source_shape, target_shape
        Shapes of what is read and of the result.
    weight
        The kernel, in the parameter's shape.
    stride, dilation
        One number an axis.
    padding
        One pair an axis.
    groups
        Groups of channels.
    transposed
        Whether it is a transposed convolution.
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    weight: Weight
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    def placements(self) -> tuple[Placement, ...]:
        """Every element of the kernel that is used, and the positions, source and target, that it joins."""
        kernel = tuple(self.weight.kept.shape[2:])
        before = tuple(pair[0] for pair in self.padding)
        lengths = self.source_shape[2:], self.target_shape[2:]
        if not self.transposed:
            return _placements(*lengths, kernel, self.stride, before, self.dilation)
        swapped = _placements(*reversed(lengths), kernel, self.stride, before, self.dilation)
        return tuple((taps, sources, targets) for taps, targets, sources in swapped)

    def matrix(self) -> sparse.csr_array:
        kept = self.weight.kept.detach().cpu().numpy()
        magnitude = self.weight.magnitude.detach().cpu().to(torch.float32).numpy()
        source_area, target_area = prod(self.source_shape[2:]), prod(self.target_shape[2:])
        pieces = []
        for taps, source_positions, target_positions in self.placements():
            tap: tuple[Any, ...] = (slice(None), slice(None), *taps)
            first, second = np.nonzero(kept[tap])
            if len(first):
                values = magnitude[tap][first, second]
                pieces.append((*self.channels(first, second), values, source_positions, target_positions))
        total = sum(len(piece[0]) * len(piece[3]) for piece in pieces)
        sources, targets = np.empty(total, np.int32), np.empty(total, np.int32)
        weights = np.empty(total, np.float32)
        start = 0
        for source_channel, target_channel, values, source_positions, target_positions in pieces:
            size = (len(values), len(source_positions))
            part, start = slice(start, start + prod(size)), start + prod(size)
            np.add.outer(source_channel * source_area, source_positions, out=sources[part].reshape(size))
            np.add.outer(target_channel * target_area, target_positions, out=targets[part].reshape(size))
            weights[part].reshape(size)[:] = values[:, None]
        shape = (prod(self.source_shape[1:]), prod(self.target_shape[1:]))
        return repeat_block(csr(weights, sources, targets, shape), self.source_shape[0])

    def edge_count(self) -> int:
        kept = self.weight.kept.sum(dim=(0, 1)).cpu().numpy()
        return self.source_shape[0] * sum(int(kept[taps]) * len(positions) for taps, positions, _ in self.placements())

    def fan_in(self) -> int:
        kept = self.weight.kept
        if not self.transposed:
            return int(kept.flatten(1).sum(1).max())
        leading, inner = kept.shape[:2]
        return int(kept.reshape(self.groups, leading // self.groups, inner, -1).sum(dim=(1, 3)).max())

    def channels(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source and target channels of the weights at these places along the first two axes.

        Parameters
        ----------
        first, second
            Places along these axes.

        Returns
        -------
        tuple
            Two arrays as long as they, int32.
        """
        leading, inner = self.weight.kept.shape[:2]
        absolute = second + first // (leading // self.groups) * inner
        pair = (first, absolute) if self.transposed else (absolute, first)
        return pair[0].astype(np.int32), pair[1].astype(np.int32)

    def apply(self, x: Tensor) -> Tensor:
        dimensions = len(self.stride)
        x = x.reshape(self.source_shape)
        weight = self.weight.effective.to(dtype=x.dtype, device=x.device)
        if self.transposed:
            y = CONVOLVE_TRANSPOSED[dimensions](x, weight, None, self.stride, 0, 0, self.groups, self.dilation)
            # Cropping here, not in the call, leaves the output size free: rows that no tap reaches are zero.
            for axis in range(dimensions):
                before, length = self.padding[axis][0], self.target_shape[2 + axis]
                short = max(0, before + length - y.shape[2 + axis])
                pad = [0, 0] * (dimensions - 1 - axis) + [0, short]
                y = F.pad(y, pad).narrow(2 + axis, before, length)
            return y
        around = [size for pair in reversed(self.padding) for size in pair]
        return CONVOLVE[dimensions](F.pad(x, around), weight, None, self.stride, 0, self.dilation, self.groups)


@dataclass(frozen=True, eq=False)
class Chain:
    """One map after the other.

    Attributes
    ----------
    maps
        The maps, in order.
    """

    maps: tuple[LinearMap, ...]

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.maps[0].source_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.maps[-1].target_shape

    def matrix(self) -> sparse.csr_array:
        first, *rest = self._moving()
        # From the front: views before a layer are joined to each other before they meet its many edges.
        result = first.matrix()
        for later in rest:
            result = compose(result, later.matrix())
        return result

    def edge_count(self) -> int:
        moving = self._moving()
        return moving[-1].edge_count() * prod(m.fan_in() for m in moving[:-1])

    def fan_in(self) -> int:
        return prod(m.fan_in() for m in self.maps)

    def _moving(self) -> list[LinearMap]:
        """The maps that are not the identity, or one that is."""
        return [m for m in self.maps if not (isinstance(m, Gather) and m.index is None)] or [self.maps[0]]

    def apply(self, x: Tensor) -> Tensor:
        for step in self.maps:
            x = step.apply(x.reshape(step.source_shape))
        return x


@dataclass(frozen=True, eq=False)
class Union:
    """Several maps between the same two tensors, side by side: their edges merge, their weights add.

    Attributes
    ----------
    maps
        The maps, at least one.
    """

    maps: tuple[LinearMap, ...]

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.maps[0].source_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.maps[0].target_shape

    def matrix(self) -> sparse.csr_array:
        return merge([m.matrix() for m in self.maps])

    def edge_count(self) -> int:
        return sum(m.edge_count() for m in self.maps)

    def fan_in(self) -> int:
        return sum(m.fan_in() for m in self.maps)

    def apply(self, x: Tensor) -> Tensor:
        return sum((m.apply(x).reshape(self.target_shape) for m in self.maps[1:]), self.maps[0].apply(x))


@lru_cache(maxsize=64)
def _placements(
    many: tuple[int, ...],
    few: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Placement, ...]:
    """For every element of a kernel that touches the tensor, the positions it joins.

    Position q of the tensor of lengths `few` is joined to position q * stride - before + tap * dilation of the one
    of lengths `many`, where that is inside. The same few geometries recur in a network and over its masks.
    """
    placements: list[Placement] = []
    for taps in product(*map(range, kernel)):
        sides = [np.zeros(1, np.int32), np.zeros(1, np.int32)]
        for axis, tap in enumerate(taps):
            reading = np.arange(few[axis], dtype=np.int32)
            read = reading * stride[axis] - before[axis] + tap * dilation[axis]
            inside = (read >= 0) & (read < many[axis])
            for side, (positions, length) in enumerate(((read[inside], many[axis]), (reading[inside], few[axis]))):
                sides[side] = np.add.outer(sides[side] * np.int32(length), positions).ravel()
        if len(sides[0]):
            placements.append((taps, sides[0], sides[1]))
    return tuple(placements)


def _weight_csr(weight: Weight) -> sparse.csr_array:
    """CSR of a 2-d weight: kept entries, zeros among them included."""
    rows, columns = np.nonzero(weight.kept.detach().cpu().numpy())
    values = weight.magnitude.detach().cpu().to(torch.float32).numpy()[rows, columns]
    height, width = weight.kept.shape
    return csr(values, rows.astype(np.int32), columns.astype(np.int32), (height, width))


def _append_identity(block: sparse.csr_array | None, size: int) -> sparse.csr_array | None:
    """What the factors so far become with an untouched axis of `size` elements before them."""
    if size == 1:
        return block
    return Gather((size,), (size,)).matrix() if block is None else repeat_block(block, size)
