"""Which operations of a running model multiply by a weight, and what they multiply it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ..dag.operators import operator_called
from .unfolding import CHUNK, unfolded, unfolded_transposed
from .weight_rows import Rows, place_of, rows_of_index

__all__ = ["WeightUses", "separate_operations"]

Use = Callable[[Rows, Iterator[Tensor]], None]
"""Told the rows of a weight and their inputs (groups, count, columns), some at a time, before they are multiplied."""


@contextmanager
def separate_operations(model: nn.Module) -> Iterator[None]:
    """Attention and recurrent layers as single operations would hide what their weights are multiplied by.

    Parameters
    ----------
    model
        Libraries that run recurrent layers whole are left aside where it has some.

    Yields
    ------
    None
        Within it they run as products of matrices.
    """
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn) if recurrent else ()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    enabled = [library.enabled for library in libraries]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for library in libraries:
            library.enabled = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for library, before in zip(libraries, enabled, strict=True):
            library.enabled = before


@dataclass(frozen=True)
class _Source:
    """A tensor that holds the elements of a weight: the parameter, or what is computed from it.

    `numbers` are those of the parameter's elements in their places, None where they are in the same places and -1 where
    other elements are; `computed` says whether they are not only moved, but may have other values.
    """

    name: str
    tensor: Tensor
    numbers: Tensor | None = None
    computed: bool = False


class WeightUses(TorchDispatchMode):
    """Sees every operation before it runs and reports the uses of weights.

    A weight is recognised by the memory that it lies in, through whatever views an operation takes of it. What is
    computed from weights and other parameters alone holds a weight's elements too where it has been moved, as by
    copies that `einsum` makes, or changed in place, as by weight normalisation.

    Parameters
    ----------
    model
        Its parameters and buffers are what weights may be computed from.
    weights
        Name -> parameter.
    on_use
        Called with rows of a weight and their inputs; what it changes in the weight has its effect at once.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor], on_use: Use) -> None:
        super().__init__()
        self._weights, self._on_use = weights, on_use
        self._sources: dict[int, list[_Source]] = {}
        # By their memory, which is not given to others as long as they are kept here.
        self._constants: dict[int, Tensor] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self._constants[_memory(tensor)] = tensor
        for name, weight in weights.items():
            self._add(_Source(name, weight))

    def _add(self, source: _Source) -> None:
        self._sources.setdefault(_memory(source.tensor), []).append(source)
        self._constants[_memory(source.tensor)] = source.tensor

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        constant = all(_memory(tensor) in self._constants for tensor in given)
        record = operator_called(operation)
        if record is not None and not constant:
            if record.kernel:
                self._convolution(*args)
            elif record.factors is not None:
                self._product(*(args[position] for position in record.factors))
            elif record.outer_factors is not None:
                self._outer_product(*(args[position] for position in record.outer_factors))
            elif record.lookup:
                self._lookup(args[0], args[1])
        result = operation(*args, **(kwargs or {}))
        self._follow(operation, args, kwargs or {}, given, constant, result)
        return result

    def _convolution(
        self,
        inputs: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        transposed: bool,
        output_padding: Sequence[int],
        groups: int,
    ) -> None:
        def matrices() -> Iterator[Tensor]:
            if transposed:
                return unfolded_transposed(inputs, kernel.shape[2:], stride, padding, dilation, groups, output_padding)
            return unfolded(inputs, kernel.shape[2:], stride, padding, dilation, groups)

        self._report(kernel.unflatten(0, (groups, -1)).movedim(1 + transposed, 1), matrices)

    def _product(self, left: Tensor, right: Tensor) -> None:
        for matrix, inputs in ((right.mT, left), (left, right.mT)):
            if matrix.ndim == 2:
                matrix, inputs = matrix[None], inputs[None]
            if matrix.shape[0] == 1 or matrix.stride(0) == 0:  # one weight, perhaps expanded over the batch
                matrix, inputs = matrix[:1], inputs.reshape(1, -1, inputs.shape[-1])
            self._report(matrix, partial(_alone, inputs))

    def _outer_product(self, first: Tensor, weight: Tensor, second: Tensor) -> None:
        """A bilinear layer: its rows are multiplied by the products of each element of one input with each of other."""

        def products() -> Iterator[Tensor]:
            yield (first[..., :, None] * second[..., None, :]).reshape(1, -1, weight.shape[1] * weight.shape[2])

        self._report(weight.flatten(1)[None], products)

    def _lookup(self, table: Tensor, tokens: Tensor) -> None:
        """A table of embeddings multiplies vectors that are one at a token and zero elsewhere."""

        def one_hot() -> Iterator[Tensor]:
            for part in tokens.flatten().split(max(1, CHUNK // len(table))):
                yield F.one_hot(part.long(), len(table)).to(table.dtype)[None]

        self._report(table.mT[None], one_hot)

    def _report(self, view: Tensor, inputs: Callable[[], Iterator[Tensor]]) -> None:
        for source in self._sources.get(_memory(view), []):
            weight = self._weights[source.name]
            rows = place_of(source.name, view, source.tensor, weight, source.numbers)
            if rows is None:
                continue
            part: slice | Tensor = slice(None)
            if rows.index is not None and bool((rows.index < 0).any()):
                # Only some rows of what is multiplied are of this weight.
                own = (rows.index >= 0).flatten(2).all(2).all(0)
                if not own.any() or bool((rows.index[:, ~own] >= 0).any()):
                    continue
                part = own
                rows = rows_of_index(source.name, rows.index[:, own])
            parts = inputs()
            if rows.index is not None:
                rows, regroup = _without_copies(rows)
                parts = map(regroup, parts)
            if source.tensor is weight:
                self._on_use(rows, parts)
                continue
            computed = source.computed or not torch.equal(source.tensor, self._values(source))
            if not computed:
                self._on_use(rows, parts)
                source.tensor.copy_(self._values(source))
                continue
            # What was computed from a weight before it was changed: told what it is now, or else without what is zero.
            shown = view[: rows.shape[0]]
            value = shown[:, part].clone()
            self._on_use(replace(rows, computed=value), parts)
            if torch.equal(value, shown[:, part]):
                source.tensor.masked_fill_(self._values(source) == 0, 0)
            else:
                shown[:, part] = value

    def _values(self, source: _Source) -> Tensor:
        """The weight's own values in the places of a source."""
        weight = self._weights[source.name].detach()
        if source.numbers is None:
            return weight
        own = weight.flatten()[source.numbers.clamp(min=0)]
        return torch.where(source.numbers < 0, source.tensor, own)

    def _follow(
        self, operation: Any, args: Any, kwargs: Mapping[str, Any], given: Sequence[Tensor], constant: bool, result: Any
    ) -> None:
        """Note results that are computed from parameters alone, and which of them hold the elements of a weight."""
        results = [value for value in pytree.tree_leaves(result) if isinstance(value, Tensor)]
        if not constant:
            for tensor in results:  # values flow into what was a constant
                if self._constants.pop(_memory(tensor), None) is not None:
                    self._sources.pop(_memory(tensor), None)
            return
        new = [tensor for tensor in results if _memory(tensor) not in self._constants]
        self._constants.update({_memory(tensor): tensor for tensor in new})
        if len(new) != 1 and not (new and new[0] is results[0]):
            return
        for place, tensor in enumerate(given):
            for source in self._sources.get(_memory(tensor), []):
                self._add_if_it_holds(source, tensor, new[0], operation, args, kwargs, place)

    def _add_if_it_holds(
        self,
        source: _Source,
        read: Tensor,
        result: Tensor,
        operation: Any,
        args: Any,
        kwargs: Mapping[str, Any],
        place: int,
    ) -> None:
        weight = self._weights[source.name]
        shown = place_of(source.name, read, source.tensor, weight, source.numbers)
        record = operator_called(operation)
        if shown is None or not result.is_floating_point():
            return
        numbers = shown.view(_numbers(weight.shape, weight.device)) if shown.index is None else shown.index
        own = _numbers(read.shape, read.device)
        moved = _run_on_numbers(operation, args, kwargs, place, own)
        if moved is not None and moved.shape == result.shape:
            elsewhere = moved < 0
            found = torch.where(elsewhere, result, read.flatten()[moved.clamp(min=0)])
            if torch.equal(found, result) and not elsewhere.all():
                places = torch.where(elsewhere, -1, numbers.flatten()[moved.clamp(min=0)])
                self._add(_Source(source.name, result, places, source.computed))
                return
        if result.shape == read.shape and (record is None or record.factors is None):
            self._add(_Source(source.name, result, numbers.contiguous(), computed=True))


def _numbers(shape: torch.Size, device: torch.device) -> Tensor:
    return torch.arange(shape.numel(), device=device).view(shape)


def _run_on_numbers(operation: Any, args: Any, kwargs: Mapping[str, Any], place: int, numbers: Tensor) -> Tensor | None:
    """The result with the numbers of its elements in the place of one tensor: where these get to, if it moves them.

    -1 stands where an operation that moves elements of several tensors, such as a concatenation, has put those of
    another.
    """
    record = operator_called(operation)
    joins = record is not None and record.fills_slots
    seen = iter(range(len(pytree.tree_leaves((args, kwargs)))))

    def exchanged(tensor: Tensor) -> Tensor:
        if next(seen) == place:
            return numbers.double() + 1  # zero is what fills or is masked
        return torch.zeros_like(tensor, dtype=torch.float64) if joins and tensor.is_floating_point() else tensor

    args, kwargs = pytree.tree_map_only(Tensor, exchanged, (args, kwargs))
    try:
        result = operation(*args, **kwargs)
    except (RuntimeError, TypeError):
        return None
    result = pytree.tree_leaves(result)[0]
    least = 0 if joins else 1
    whole = isinstance(result, Tensor) and bool((result == result.round()).all()) and bool((result >= least).all())
    return result.long() - 1 if whole and int(result.max()) <= numbers.numel() else None


def _without_copies(rows: Rows) -> tuple[Rows, Callable[[Tensor], Tensor]]:
    """Of groups that are copies of each other the first ones, and how the inputs of all of them are joined."""
    assert rows.index is not None
    flat = rows.index.flatten(1)
    first, inverse, counts = flat.unique(dim=0, return_inverse=True, return_counts=True)
    if len(first) == len(flat) or len(set(counts.tolist())) > 1:
        return rows, lambda inputs: inputs
    order = inverse.argsort(stable=True)
    index = first.view(-1, *rows.shape[1:])

    def joined(inputs: Tensor) -> Tensor:
        return inputs[order].unflatten(0, (len(first), -1)).flatten(1, 2)

    return replace(rows, shape=tuple(index.shape), index=index), joined


def _alone(inputs: Tensor) -> Iterator[Tensor]:
    yield inputs


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
