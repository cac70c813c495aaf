"""Operations that only move elements: reshaping, slicing, padding, concatenation, shuffles."""

from __future__ import annotations

from math import prod
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..elements import Step, Values
from ..maps import Gather
from .call import Call, rule

# fmt: off
VIEWS = (
    "_reshape_alias", "_unsafe_view", "as_strided", "atleast_2d", "broadcast_to", "cat", "channel_shuffle",
    "chunk", "concat", "constant_pad_nd", "diagonal", "expand", "expand_as", "flatten", "flip", "gather",
    "getitem", "im2col", "index", "index_select", "movedim", "narrow", "pad", "permute", "pixel_shuffle",
    "pixel_unshuffle", "reflection_pad1d", "reflection_pad2d", "repeat", "repeat_interleave",
    "replication_pad1d", "replication_pad2d", "reshape", "roll", "select", "select_scatter", "slice",
    "slice_scatter", "split", "split_with_sizes", "squeeze", "stack", "swapaxes", "t", "tile", "transpose",
    "unbind", "unflatten", "unfold", "unsqueeze", "upsample_nearest1d", "upsample_nearest2d", "view",
    "view_as",
)
# fmt: on


# Views are the same for every mask of a network; an entry goes when its step does.
_KNOWN: WeakKeyDictionary[Step, dict[int, Gather]] = WeakKeyDictionary()


@rule(*VIEWS)
def _view(call: Call) -> Gather:
    """The element that each element of the result is read from."""
    if call.step.values:
        return _read_off(call)
    known = _KNOWN.setdefault(call.step, {})
    if call.slot not in known:
        known[call.slot] = _read_off(call)
    return known[call.slot]


def _read_off(call: Call) -> Gather:
    """Run the operation on element numbers and read where each result element came from.

    A second run with all numbers shifted tells apart the elements that come from a constant.
    """
    step, n = call.step, prod(call.source_shape)
    numbers = torch.arange(n, dtype=torch.float64).reshape(call.source_shape)
    sizes = call.options["sizes"]
    runs = []
    for shift in (1.0, n + 1.0):
        slots = [torch.zeros(shape, dtype=torch.float64) for shape in step.source_shapes]
        slots[call.slot] = numbers + shift
        slots_or_tuple = (tuple(slots),) if step.name == "getitem" else tuple(slots)
        values = {name: _as_double(call.values[name]) for name in step.values}
        runs.append(step.run(slots_or_tuple, Values(values, {}, sizes)))
    if isinstance(runs[0], list | tuple):
        raise call.refusal("it returns a tuple that is not read entry by entry")
    moved = (runs[1] - runs[0]) == n
    index = torch.where(moved, runs[0] - 1, -1.0).to(torch.int64)
    return Gather.reading(call.source_shape, call.target_shape, index.numpy())


def _as_double(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value
