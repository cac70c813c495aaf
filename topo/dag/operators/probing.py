"""The map of an operation without a rule, read off its Jacobian at random inputs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ...errors import warn
from ..edge_list import EdgeList
from ..elements import Step, Values
from ..maps import Gather, LinearMap
from .call import Call
from .record import holes, operator_of

__all__ = ["MOST_ENTRIES", "probed_map", "rules_alone"]

MOST_ENTRIES = 2**25
"""An operation is probed when its Jacobian, blocks of independent elements aside, has at most so many entries."""
# Probes go on until so many in a row have shown nothing new; after the most of them all that may depend does.
AGREEING, MOST_PROBES = 4, 24
ROWS_AT_ONCE = 2**24

_RULES_ALONE: ContextVar[bool] = ContextVar("rules_alone", default=False)
_KNOWN: WeakKeyDictionary[Step, dict[int, LinearMap]] = WeakKeyDictionary()
_FAILURES = (RuntimeError, TypeError, IndexError, ValueError)
Function = Callable[[Tensor], Tensor]
_Shape = tuple[int, ...]
_Draw = Callable[[_Shape, torch.Generator, Sequence[_Shape]], Tensor]


@contextmanager
def rules_alone() -> Iterator[None]:
    """Refuse operations without a rule, in place of probing them, which takes time and warns.

    Yields
    ------
    None
        For a ``with`` block.
    """
    token = _RULES_ALONE.set(True)
    try:
        yield
    finally:
        _RULES_ALONE.reset(token)


def probed_map(call: Call) -> LinearMap:
    """The map of one input of an operation without a rule, with one warning for each operation.

    Parameters
    ----------
    call
        The step, the slot that is asked about, and what is known of its inputs.

    Returns
    -------
    LinearMap
        With the non-zeros of the Jacobian at several random inputs as edges. Their weights are its absolute entries
        where these are the same at all inputs, and one elsewhere.

    Raises
    ------
    InputError
        When the operation can not be differentiated, or its Jacobian is too large.
    """
    step = call.step
    if call.is_open or (_RULES_ALONE.get() and step not in _KNOWN):
        raise call.refusal("it has no rule")
    if step not in _KNOWN:
        started = time.perf_counter()
        found = {slot: _Probing(call, slot).map() for slot in range(len(step.source_shapes))}
        _KNOWN[step] = found
        exact = any(set(holes(step.args)) <= {*positions} for positions in operator_of(step).affine)
        if not exact and not all(_joins_nothing(known) for known in found.values()):
            _warn(call, found, time.perf_counter() - started)
    return _KNOWN[step][call.slot]


def _joins_nothing(known: LinearMap) -> bool:
    return known.edge_count() == 0


def _warn(call: Call, found: dict[int, LinearMap], seconds: float) -> None:
    where = f"module {call.step.module!r}" if call.step.module else "the model"
    sizes = " and ".join(f"{prod(known.source_shape):,} x {prod(known.target_shape):,}" for known in found.values())
    warn(
        f"operation {call.step.name!r} of {where} has no rule: its edges are the non-zeros of its Jacobian "
        f"({sizes} elements) at random inputs, found in {seconds:.1f} s; edges that only other "
        "inputs would show may be missing, and a record of it would be exact.",
    )


@dataclass
class _Probing:
    """The Jacobian's structure from one input of an operation."""

    call: Call
    slot: int

    def __post_init__(self) -> None:
        self.is_complex = False
        self.step = self.call.step
        self.source_shape, self.target_shape = self.step.source_shapes[self.slot], self.step.shape

    def map(self) -> LinearMap:
        functions = self._functions()
        first = next(functions, None)
        if first is None:
            return Gather(self.source_shape, self.target_shape, np.full(self.target_shape, -1))
        axes = self._independent_axes(*first)
        grid = _Grid(self.source_shape, self.target_shape, axes)
        if grid.entries > MOST_ENTRIES:
            raise self.call.refusal(
                f"it has no rule, and its Jacobian of {grid.entries:,} entries is too large to be probed"
            )
        return grid.as_map(*self._joined(grid, first, functions))

    def _joined(
        self, grid: _Grid, first: tuple[Function, Tensor], functions: Iterator[tuple[Function, Tensor]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The non-zeros of all probes, and the entries where they are the same at each."""
        found = grid.jacobian(*first)
        values: np.ndarray | None = None if self.is_complex else found
        joined: np.ndarray = found != 0
        agreeing = probes = 1
        while agreeing < AGREEING:
            following = next(functions, None)
            if following is None or probes >= MOST_PROBES:
                joined = grid.everything() if probes >= MOST_PROBES else joined
                break
            entries = grid.jacobian(*following)
            probes += 1
            if values is not None and not np.allclose(entries, values, rtol=1e-6, atol=1e-9):
                values = None
            new = (entries != 0) & ~joined
            joined |= new
            agreeing = 1 if new.any() else agreeing + 1
        return joined, values

    def _functions(self) -> Iterator[tuple[Function, Tensor]]:
        """The operation as a function of the input, and a place where it and its slope are finite, again and again."""
        generator = torch.Generator().manual_seed(0)
        reason: Exception = ValueError()
        for draw, kind, signed in product(_DRAWS, (torch.float64, torch.float32), (True, False)):
            useless = 0
            while useless < AGREEING:
                function, x = self._drawn(generator, draw, kind, signed)
                try:
                    slope = _sensitivity(function, x)
                    if slope is None:
                        return  # whole numbers are constant almost everywhere
                    if not slope.isfinite().all():
                        raise ValueError("its slope is not finite")
                except _FAILURES as error:
                    reason, useless = error, useless + 1
                    if isinstance(error, ValueError):
                        continue
                    break
                useless, self.is_complex = 0, draw is _complexes
                yield function, x
        if not self._takes(_reals) and (self._takes(_places) or self._takes(_truths)):
            return
        raise self.call.refusal(f"it has no rule, and can not be differentiated at random inputs ({_short(reason)})")

    def _takes(self, draw: _Draw) -> bool:
        """Whether the input may be one of whole numbers, or of truth values."""
        generator = torch.Generator().manual_seed(0)
        for others, kind in product((_reals, _places), (torch.float64, torch.float32)):
            function, _ = self._drawn(generator, others, kind, False)
            try:
                function(draw(self.source_shape, generator, self.step.source_shapes))
            except _FAILURES:
                continue
            return True
        return False

    def _drawn(
        self, generator: torch.Generator, draw: _Draw, kind: torch.dtype, signed: bool
    ) -> tuple[Function, Tensor]:
        """The operation with random other inputs and weights of one type, and a place."""
        shapes = self.step.source_shapes
        others = [_as_type(draw(shape, generator, shapes), kind) for shape in shapes]
        x = (_definite if draw is _definite else _reals)(self.source_shape, generator, shapes).to(kind)
        if signed:
            x = x * torch.where(torch.rand(x.shape, generator=generator) < 0.5, -1, 1)
        values = _Typed(self.call.constants or self.call.values, kind, self.call.options["sizes"])
        # Along one direction of the plane of complex numbers: where both parts count in some way, so does it.
        turned = draw(self.source_shape, generator, shapes) if draw is _complexes else None
        return partial(self._run, values, others, turned), x

    def _run(self, values: Values, others: Sequence[Tensor], turned: Tensor | None, x: Tensor) -> Tensor:
        x = x if turned is None else x * turned
        slots = tuple(x if slot == self.slot else other for slot, other in enumerate(others))
        result = self.step.run((slots,) if operator_of(self.step).entry else slots, values)
        if not isinstance(result, Tensor):
            raise TypeError("it returns several results")
        # Of a complex number both parts count.
        return result.real + 0.7 * result.imag if result.is_complex() else result

    def _independent_axes(self, function: Function, x: Tensor) -> list[tuple[int, int]]:
        """Pairs of axes of source and result along which every place depends on the same place alone."""
        pairs: list[tuple[int, int]] = []
        for axis, length in enumerate(self.source_shape):
            for other, same in enumerate(self.target_shape):
                taken = any(other == b for _, b in pairs)
                if length == same > 1 and not taken and self._is_independent(function, x, axis, other):
                    pairs.append((axis, other))
                    break
        return pairs

    def _is_independent(self, function: Function, x: Tensor, axis: int, other: int) -> bool:
        length = self.source_shape[axis]
        generator = torch.Generator().manual_seed(1)
        for place in sorted({0, 1, length // 2, length - 1}):
            cotangent = torch.zeros(self.target_shape, dtype=x.dtype)
            chosen = cotangent.select(other, place)
            chosen.copy_(torch.rand(chosen.shape, generator=generator, dtype=x.dtype) + 0.5)
            gradient = _pullback(function, x)(cotangent)
            elsewhere = torch.arange(length) != place
            if gradient.index_select(axis, elsewhere.nonzero()[:, 0]).any():
                return False
        return True


class _Typed(Values):
    """Values of one type of floating-point numbers."""

    def __init__(self, behind: Values, kind: torch.dtype, sizes: Any) -> None:
        super().__init__({}, {}, sizes)
        self.behind, self.kind = behind, kind

    def __getitem__(self, name: str) -> Tensor:
        return _as_type(self.behind[name].detach().cpu(), self.kind)


def _as_type(value: Tensor, kind: torch.dtype) -> Tensor:
    return value.to(kind) if value.is_floating_point() else value


def _short(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:120]


def _reals(shape: tuple[int, ...], generator: torch.Generator, shapes: Sequence[tuple[int, ...]]) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 0.8 + 0.1


def _places(shape: tuple[int, ...], generator: torch.Generator, shapes: Sequence[tuple[int, ...]]) -> Tensor:
    """Whole numbers that are places along any axis."""
    most = min((length for other in shapes for length in other if length > 1), default=1)
    return torch.randint(0, most, shape, generator=generator)


def _truths(shape: tuple[int, ...], generator: torch.Generator, shapes: Sequence[tuple[int, ...]]) -> Tensor:
    return torch.rand(shape, generator=generator) < 0.5


def _definite(shape: _Shape, generator: torch.Generator, shapes: Sequence[_Shape]) -> Tensor:
    """Positive definite matrices where they are square."""
    drawn = _reals(shape, generator, shapes)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return drawn
    return drawn @ drawn.mT + torch.eye(shape[-1], dtype=drawn.dtype)


def _complexes(shape: _Shape, generator: torch.Generator, shapes: Sequence[_Shape]) -> Tensor:
    return torch.complex(_reals(shape, generator, shapes), _reals(shape, generator, shapes))


_DRAWS = (_reals, _places, _truths, _definite, _complexes)


def _sensitivity(function: Function, x: Tensor) -> Tensor | None:
    """The gradient of the sum; None where the result is of whole numbers."""
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        y = function(x)
        if not y.is_floating_point():
            return None
        if not y.requires_grad:
            raise RuntimeError("it has no derivative")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that were registered without a derivative
            (gradient,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
    if gradient is None:
        raise RuntimeError("it has no derivative")
    return gradient


def _pullback(function: Function, x: Tensor) -> Function:
    """From derivatives by the result to derivatives by the input, at `x`."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        y = function(leaf)

    def pull(cotangent: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(y, leaf, cotangent, retain_graph=True, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else gradient

    def pull_many(cotangents: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(
            y, leaf, cotangents, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        return x.new_zeros((len(cotangents), *x.shape)) if gradient is None else gradient

    def any_number(cotangent: Tensor) -> Tensor:
        if cotangent.ndim == y.ndim:
            return pull(cotangent)
        try:
            return pull_many(cotangent)
        except RuntimeError:
            return torch.stack([pull(one) for one in cotangent])

    return any_number


class _Grid:
    """The Jacobian of a function that is independent along pairs of axes: one block for every place along these."""

    def __init__(
        self, source_shape: tuple[int, ...], target_shape: tuple[int, ...], pairs: Sequence[tuple[int, int]]
    ) -> None:
        self.source_shape, self.target_shape = source_shape, target_shape
        self.source_apart = [a for a, _ in pairs]
        self.target_apart = [b for _, b in pairs]
        self.source_together = [a for a in range(len(source_shape)) if a not in self.source_apart]
        self.target_together = [b for b in range(len(target_shape)) if b not in self.target_apart]
        self.apart = [source_shape[a] for a in self.source_apart]
        self.read = [source_shape[a] for a in self.source_together]
        self.written = [target_shape[b] for b in self.target_together]
        self.shape = (prod(self.written), prod(self.read), prod(self.apart))
        self.entries = prod(self.shape)

    def everything(self) -> np.ndarray:
        return np.ones(self.shape, bool)

    def jacobian(self, function: Function, x: Tensor) -> np.ndarray:
        """Absolute derivatives: (places of the result in a block, of the source in it, blocks)."""
        pull = _pullback(function, x)
        rows = prod(self.written)
        at_once = max(1, ROWS_AT_ONCE // max(prod(self.source_shape), prod(self.target_shape), 1))
        order = [*self.source_together, *self.source_apart]
        parts = []
        for start in range(0, rows, at_once):
            numbers = torch.arange(start, min(start + at_once, rows))
            unit = torch.zeros(len(numbers), rows, dtype=x.dtype)
            unit[torch.arange(len(numbers)), numbers] = 1.0
            # One of a block, for all blocks at once.
            shape = [1] * len(self.target_shape)
            for axis, length in zip(self.target_together, self.written, strict=True):
                shape[axis] = length
            cotangents = unit.reshape(len(numbers), *shape).expand(-1, *self.target_shape)
            gradients = pull(cotangents.contiguous())
            moved = gradients.permute(0, *(1 + axis for axis in order)).reshape(len(numbers), *self.shape[1:])
            parts.append(moved.abs().double().numpy())
        return np.concatenate(parts) if parts else np.zeros(self.shape)

    def as_map(self, joined: np.ndarray, values: np.ndarray | None) -> EdgeList:
        """The map with these edges, and these weights if there are any."""
        written, read, block = np.nonzero(joined)
        weights = np.ones(len(written)) if values is None else values[written, read, block]
        sources = self._numbers(self.source_shape, self.source_together, read, self.source_apart, block)
        targets = self._numbers(self.target_shape, self.target_together, written, self.target_apart, block)
        size = (prod(self.source_shape), prod(self.target_shape))
        edges = sparse.coo_array((weights.astype(np.float32), (sources, targets)), shape=size).tocsr()
        edges.indices, edges.indptr = edges.indices.astype(np.int32), edges.indptr.astype(np.int32)
        return EdgeList(self.source_shape, self.target_shape, edges)

    def _numbers(
        self, shape: tuple[int, ...], together: list[int], within: np.ndarray, apart: list[int], block: np.ndarray
    ) -> np.ndarray:
        """Numbers of elements from their place within a block and the number of the block."""
        places: list[np.ndarray] = [np.zeros(len(within), np.int64)] * len(shape)
        for axes, numbers in ((together, within), (apart, block)):
            if axes:
                for axis, place in zip(axes, np.unravel_index(numbers, [shape[a] for a in axes]), strict=True):
                    places[axis] = place
        return np.ravel_multi_index(places, shape) if shape else np.zeros(len(within), np.int64)
