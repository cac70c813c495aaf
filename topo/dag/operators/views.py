"""Operations that only move elements: reshaping, slicing, padding, concatenation, shuffles."""

from __future__ import annotations

from functools import partial
from math import prod
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..elements import Step, Values
from ..maps import Gather
from .aten import RESHAPE
from .record import FIRST, Call, define, operator_of

__all__ = ["read_off"]

# Views are the same for every mask of a network; an entry goes when its step does.
_KNOWN: WeakKeyDictionary[Step, dict[int, Gather]] = WeakKeyDictionary()


def _view(call: Call) -> Gather:
    """The element that each element of the result is read from."""
    if call.step.values:
        return read_off(call)
    known = _KNOWN.setdefault(call.step, {})
    if call.slot not in known:
        known[call.slot] = read_off(call)
    return known[call.slot]


def read_off(call: Call) -> Gather:
    """Run an operation that moves elements on their numbers, and read where each element of the result came from.

    A second run with all numbers shifted tells apart the elements that come from a constant.

    Parameters
    ----------
    call
        The operation.

    Returns
    -------
    Gather
        From the elements of the slot that is asked about.

    Raises
    ------
    InputError
        When it returns a tuple.
    """
    step, n = call.step, prod(call.source_shape)
    numbers = torch.arange(n, dtype=torch.float64).reshape(call.source_shape)
    sizes = call.options["sizes"]
    runs = []
    for shift in (1.0, n + 1.0):
        slots = [torch.zeros(shape, dtype=torch.float64) for shape in step.source_shapes]
        slots[call.slot] = numbers + shift
        slots_or_tuple = (tuple(slots),) if operator_of(step).entry else tuple(slots)
        values = {name: _as_double(call.values[name]) for name in step.values}
        try:
            runs.append(step.run(slots_or_tuple, Values(values, {}, sizes)))
        except (RuntimeError, IndexError) as error:
            raise call.refusal("what it moves where is computed from the input") from error
    if isinstance(runs[0], list | tuple):
        raise call.refusal("it returns a tuple that is not read entry by entry")
    moved = (runs[1] - runs[0]) == n
    index = torch.where(moved, runs[0] - 1, -1.0).to(torch.int64)
    return Gather.reading(call.source_shape, call.target_shape, index.numpy())


def _as_double(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


view = partial(define, map=_view, view=True, affine=FIRST)

# Another layout of the same elements.
view("view", silent=True, sizes=True, any_layout=RESHAPE)
view("_unsafe_view", silent=True, sizes=True, any_layout=RESHAPE)
view("reshape", silent=True, sizes=True)
view("_reshape_alias", sizes=True)
view("flatten", "squeeze", "unsqueeze", silent=True)
view("t", "transpose", "permute", silent=True)
view("as_strided", "movedim", "swapaxes")
view("atleast_2d", "unflatten", "view_as", composite=True)

# Some of the elements.
view("getitem", silent=True, entry=True)
view("slice", "select", "split", "chunk", "split_with_sizes", silent=True)
view("diagonal", "gather", "im2col", "index", "index_select", "narrow", "unbind", "unfold")

# In another order, or repeated.
view("expand", silent=True, sizes=True)
view("broadcast_to", sizes=True)
view("expand_as", composite=True)
view("repeat", "repeat_interleave", "tile")
view("channel_shuffle", "flip", "pixel_shuffle", "pixel_unshuffle", "roll")
view("upsample_nearest1d", "upsample_nearest2d", label="upsample")

# With constants around them.
view("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")

# Several values side by side, or one within another.
view("cat", "concat", fills_slots=True, concatenates=True)
view("stack", fills_slots=True)
define("select_scatter", "slice_scatter", map=_view, view=True, affine=((0, 1),))
