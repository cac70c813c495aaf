"""Rows of a weight that are multiplied by the same inputs, wherever they lie in the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod

import torch
from torch import Tensor

__all__ = ["Rows", "as_matrix", "covers", "place_of", "rows_of_index", "uses_of_elements", "written_back"]


@dataclass(frozen=True)
class Rows:
    """Rows of a weight that are multiplied by the same inputs: all of them, or a part, as in attention.

    Two are equal when they are the same elements in the same order.

    Attributes
    ----------
    name
        Of the weight.
    shape
        (groups, rows, inputs, *kernel); the groups, as of a convolution or of several experts, have inputs of their
        own.
    strides, offset
        Where the elements lie in the memory of the parameter, 0 along axes of one element; None and 0 where they lie in
        no such order.
    layout
        The strides of the parameter.
    digest
        Tells apart orders of elements without strides.
    index
        In the place of strides, the number of each element in the parameter, which counts them in row-major order.
    computed
        What the inputs are multiplied by, where this is computed from the parameter and has other values; of `shape`.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    offset: int = 0
    layout: tuple[int, ...] = field(default=(), compare=False)
    digest: str = ""
    index: Tensor | None = field(default=None, compare=False, repr=False)
    computed: Tensor | None = field(default=None, compare=False, repr=False)

    def view(self, tensor: Tensor) -> Tensor:
        """These rows of a tensor of the weight's shape, as a view where it lies in memory as the weight, else copied.

        Parameters
        ----------
        tensor
            The weight, or such as scores of it.

        Returns
        -------
        Tensor
            (groups, rows, inputs, *kernel).
        """
        if self.index is not None:
            return tensor.detach().flatten()[self.index.to(tensor.device)]
        assert self.strides is not None, "rows have either strides or an index"
        laid = self._laid(tensor.detach())
        return laid.as_strided(self.shape, self.strides, laid.storage_offset() + self.offset)

    def _laid(self, tensor: Tensor) -> Tensor:
        """The tensor itself where its elements lie in memory as those of the weight do, else a copy that does."""
        if tensor.stride() == self.layout:
            return tensor
        return tensor.new_empty_strided(tensor.shape, self.layout).copy_(tensor)

    def write(self, tensor: Tensor, values: Tensor) -> None:
        """Put values in the place of these rows.

        Parameters
        ----------
        tensor
            As for `view`; changed in place.
        values
            As many as `view` gives, in their order.
        """
        tensor, values = tensor.detach(), values.to(tensor).view(self.shape)
        if self.index is None:
            laid = self._laid(tensor)
            self.view(laid).copy_(values)
            if laid is not tensor:
                tensor.copy_(laid)
        else:
            flat = tensor.flatten()
            flat[self.index.to(tensor.device)] = values
            tensor.copy_(flat.view(tensor.shape))

    def matrices(self, tensor: Tensor) -> Tensor:
        """These rows as matrices (groups, rows, columns), with the columns in the order of the inputs.

        Parameters
        ----------
        tensor
            As for `view`.

        Returns
        -------
        Tensor
            (groups, rows, columns).
        """
        return self.view(tensor).flatten(2)

    @property
    def kernel(self) -> int:
        """How many places the kernel of a convolution has; 1 where there is none."""
        return prod(self.shape[3:])


def place_of(name: str, view: Tensor, source: Tensor, weight: Tensor, numbers: Tensor | None) -> Rows | None:
    """The rows of a weight that a view shows.

    Parameters
    ----------
    name
        Of the weight.
    view
        (groups, rows, inputs, *kernel), a view of the memory of `source`.
    source
        The parameter, or what is computed from it.
    weight
        The parameter.
    numbers
        Of the parameter's element in the place of each element of `source`, in row-major order; None where they are in
        the same places.

    Returns
    -------
    Rows or None
        None where the view shows other memory too.
    """
    offset = int(view.storage_offset() - source.storage_offset())
    extent = _extent(source)
    if offset < 0 or offset + _extent(view) > extent:
        return None
    if numbers is None and source.stride() == weight.stride() and extent == weight.numel():
        strides = tuple(step if size > 1 else 0 for size, step in zip(view.shape, view.stride(), strict=True))
        return Rows(name, tuple(view.shape), strides, offset, weight.stride())
    numbers = torch.arange(weight.numel(), device=weight.device).view(weight.shape) if numbers is None else numbers
    memory = numbers.new_empty(extent)
    memory.as_strided(source.shape, source.stride()).copy_(numbers)
    index = memory.as_strided(view.shape, view.stride(), offset).clone(memory_format=torch.contiguous_format)
    return rows_of_index(name, index)


def rows_of_index(name: str, index: Tensor) -> Rows:
    """The rows of a weight that elements with these numbers are.

    Parameters
    ----------
    name
        Of the weight.
    index
        int64, (groups, rows, inputs, *kernel).

    Returns
    -------
    Rows
        Told apart from others by their elements and the order of these.
    """
    index = index.contiguous()
    return Rows(name, tuple(index.shape), digest=sha256(index.cpu().numpy().tobytes()).hexdigest(), index=index)


def as_matrix(tensor: Tensor, parts: Sequence[Rows]) -> Tensor:
    """A tensor of the weight's shape with its outputs along the first axis and their inputs along the second.

    Parameters
    ----------
    tensor
        As for `Rows.view`.
    parts
        All rows of the weight.

    Returns
    -------
    Tensor
        (outputs, inputs, *kernel); where parts have unequal numbers of inputs, one row of all elements.
    """
    views = [rows.view(tensor).flatten(0, 1) for rows in parts]
    if len({view.shape[1:] for view in views}) > 1:
        return torch.cat([view.flatten() for view in views])[None]
    return torch.cat(views)


def covers(weight: Tensor, parts: Sequence[Rows]) -> bool:
    """Whether rows are the whole weight, each element once.

    Parameters
    ----------
    weight
        The parameter.
    parts
        Rows of it.

    Returns
    -------
    bool
        False also where some are used in several ways.
    """
    return bool((uses_of_elements(weight, parts) == 1).all())


def uses_of_elements(weight: Tensor, parts: Sequence[Rows]) -> Tensor:
    """How often each element of a weight is in rows.

    Parameters
    ----------
    weight
        The parameter.
    parts
        Rows of it.

    Returns
    -------
    Tensor
        int64, in the shape of the weight.
    """
    uses = torch.zeros_like(weight, dtype=torch.int64, requires_grad=False)
    for rows in parts:
        rows.write(uses, rows.view(uses) + 1)
    return uses


def written_back(matrix: Tensor, parts: Sequence[Rows], like: Tensor) -> Tensor:
    """The tensor of the weight's shape from what `as_matrix` makes of it.

    Parameters
    ----------
    matrix
        As `as_matrix` gives it, of any type.
    parts
        All rows of the weight.
    like
        The weight.

    Returns
    -------
    Tensor
        Of the weight's shape and the matrix's type.
    """
    result = torch.zeros_like(like, dtype=matrix.dtype, requires_grad=False)
    sizes = [torch.Size(rows.shape).numel() for rows in parts]
    for rows, values in zip(parts, matrix.flatten().split(sizes), strict=True):
        rows.write(result, values)
    return result


def _extent(tensor: Tensor) -> int:
    """How many elements of memory lie between the first and the last of a tensor, both included."""
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
