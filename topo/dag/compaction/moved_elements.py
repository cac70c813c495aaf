"""Operations that only move elements, on what is left of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import sympy
import torch
from torch import Tensor, fx
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from ..elements import Hole, Size, Step, Value, Values, place_of
from ..maps import Gather
from ..operators import aten, operator_of
from ..relations import WeightLookup, map_of
from .graph_writer import GraphWriter
from .remaining import Remaining, inseparable

__all__ = ["MovedElements"]


class MovedElements:
    """Writes operations that only move elements: themselves with new sizes where that gives the right elements, else a
    choice along one axis, else of single elements.

    Parameters
    ----------
    writer
        What writes the graph.
    """

    def __init__(self, writer: GraphWriter) -> None:
        self.writer = writer
        self.lookup = WeightLookup(writer.dag)

    def write(self, run: tuple[Step, ...], value: fx.Node, source: Remaining, target: Remaining) -> fx.Node:
        """What an operation becomes.

        Parameters
        ----------
        run
            The operation and, where it returns a tuple, the choice of an entry.
        value
            What is left of its input.
        source, target
            Which elements are left of its input and of its result.

        Returns
        -------
        Node
            What is left of its result.

        Raises
        ------
        Inseparable
            When the operation cannot do without what goes.
        """
        step = run[0]
        moved = map_of(self.writer.dag, run, source.shape, 0, self.lookup, {})
        assert isinstance(moved, Gather)  # what a view is
        index = torch.arange(source.kept.numel()) if moved.index is None else torch.from_numpy(moved.index).reshape(-1)
        index = index[target.kept.reshape(-1)]
        wanted = torch.where(index >= 0, source.numbers[index.clamp(min=0)], -1)
        by_numbers = bool(step.values) and not any(self._values[name].is_floating_point() for name in step.values)
        if source.box is not None and target.box is not None:
            # Numbers of channels in a constant are those of the whole network: what they choose is in `wanted`.
            renumbered = by_numbers and not (source.complete and target.complete)
            for resized in () if renumbered else (False, True):
                made = self._natively(run, value, source, target, wanted, resized)
                if made is not None:
                    return made
            made = None
            if by_numbers or not step.values:
                made = self._along_one_axis(step, value, source, target, wanted)
            if made is not None:
                return made
        if source.shape[0] != 1 or target.shape[0] != 1 or (step.values and not by_numbers):
            raise inseparable(f"operation {place_of(step)}", source, target)
        flat = self.writer.call(aten.FLATTEN, value, 1) if source.box else value
        if (wanted < 0).any():
            flat = self._with_constant(step, flat, 1, 2, source)
            wanted = torch.where(wanted < 0, source.count, wanted)
        if not torch.equal(wanted, torch.arange(source.count)):
            flat = self.writer.select(flat, 1, wanted)
        if target.box is None:
            return flat
        return self.writer.call(aten.RESHAPE, flat, [-1, *target.box[1:]])

    def _natively(
        self,
        run: tuple[Step, ...],
        value: fx.Node,
        source: Remaining,
        target: Remaining,
        wanted: Tensor,
        resized: bool,
    ) -> fx.Node | None:
        source_box, target_box = source.box, target.box
        assert source_box is not None and target_box is not None  # the caller has asked
        step = run[0]
        if resized and (not step.shape or not operator_of(step).sizes):
            return None
        arguments = [_scaled(a, step, target.shape, target_box) for a in step.args] if resized else list(step.args)
        if not step.values:
            numbers = torch.arange(source.count).reshape(source_box)
            args, kwargs = self._run_arguments(arguments, step, numbers)
            try:
                tried = step.operation(*args, **kwargs)
                for later in run[1:]:
                    tried = tried[later.args[1]]
            except (RuntimeError, IndexError, ValueError):
                return None
            if tried.shape != target_box or not torch.equal(tried.reshape(-1), wanted) or (wanted < 0).any():
                return None
        return self.writer.step(run, (value,), target, arguments)

    def _run_arguments(self, arguments: Any, step: Step, hole: Tensor) -> Any:
        """Arguments to run an operation with on one sample, without its constants."""

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return hole
            if isinstance(leaf, Size):
                return self.writer.size_of_one_sample(leaf)
            return None if isinstance(leaf, Value) else leaf

        return pytree.tree_map(fill, (arguments, dict(step.kwargs)))

    @cached_property
    def _values(self) -> Values:
        return self.writer.dag.values(self.writer.dag.state)

    def _along_one_axis(
        self, step: Step, value: fx.Node, source: Remaining, target: Remaining, wanted: Tensor
    ) -> fx.Node | None:
        source_box, target_box = source.box, target.box
        assert source_box is not None and target_box is not None  # the caller has asked
        if len(source_box) != len(target_box):
            return None
        if source_box == target_box and torch.equal(wanted, torch.arange(source.count)):
            return value
        differing = [axis for axis in range(len(source_box)) if source_box[axis] != target_box[axis]]
        for axis in differing[:1] or range(len(source_box)):
            padded = list(source_box)
            padded[axis] += 1
            numbers = torch.full(padded, -1)
            numbers.narrow(axis, 0, source_box[axis]).copy_(torch.arange(source.count).reshape(source_box))
            # The first element of each slice of the result tells which slice of the source it is.
            firsts = wanted.reshape(target_box).movedim(axis, 0).flatten(1)[:, 0]
            stride = prod(source_box[axis + 1 :])
            places = torch.where(firsts < 0, source_box[axis], firsts // stride % source_box[axis])
            chosen = numbers.index_select(axis, places)
            if chosen.shape == target_box and torch.equal(chosen.reshape(-1), wanted):
                if (wanted < 0).any():
                    value = self._with_constant(step, value, axis, len(source_box), source)
                return self.writer.select(value, axis, places)
        return None

    def _with_constant(self, step: Step, value: fx.Node, axis: int, ndim: int, source: Remaining) -> fx.Node:
        """The tensor with one slice more that holds what the operation fills in."""
        args, kwargs = self._run_arguments(step.args, step, torch.zeros(source.shape, dtype=torch.float64))
        filled = step.operation(*args, **kwargs).unique()
        filled = filled[filled != 0] if filled.numel() > 1 else filled
        if filled.numel() != 1:
            raise inseparable(f"operation {place_of(step)}", source)
        around = [0, 0] * (ndim - 1 - axis) + [0, 1]
        return self.writer.call(F.pad, value, around, "constant", float(filled))


def _scaled(sizes: Any, step: Step, full_shape: Sequence[int], box: Sequence[int]) -> Any:
    """A list of sizes of the result, each in proportion to what is left of that axis; other arguments as they are."""
    if not isinstance(sizes, list | tuple) or len(sizes) != len(step.shape):
        return sizes
    return [
        size
        if full == left or size == -1
        else Size(size.expression * sympy.Rational(left, full))
        if isinstance(size, Size)
        else left
        for size, full, left in zip(sizes, full_shape, box, strict=True)
    ]
