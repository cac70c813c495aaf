"""Operations that only move elements: reshaping, slicing, padding, concatenation, shuffles."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..edge_list import EdgeList
from ..elements import Hole, Step, Value, Values
from ..maps import AxisMaps, Gather, LinearMap, Weight
from . import aten
from .aten import RESHAPE
from .composer import Composer
from .contractions import ones, spread, together
from .probing import probed_map
from .record import FIRST, Call, define, operator_of
from .selection import elementwise, places

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
    difference = runs[1] - runs[0]
    moved = difference == n
    if not (moved | (difference == 0)).all():
        raise call.refusal("it adds elements up")
    index = torch.where(moved, runs[0] - 1, -1.0).to(torch.int64)
    return Gather.reading(call.source_shape, call.target_shape, index.numpy())


def _as_double(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


def _chosen(call: Call) -> LinearMap:
    """Elements by their places; where these are computed from the input, it may be any along an axis."""
    indices = [given for given in _flat(call.step.args[1:]) if isinstance(given, Hole)]
    if not indices:
        return _view(call)
    if call.is_open:
        raise call.refusal("what it chooses is computed from the input")
    if any(given.slot == call.slot for given in indices) and call.step.args[0] != Hole(call.slot):
        return places(call)
    axis = call.argument(1, "dim")
    if not isinstance(axis, int):
        axis = call.argument(2, "dim")
    rest = [n == m for a, (n, m) in enumerate(zip(call.source_shape, call.target_shape)) if a != axis]
    if not isinstance(axis, int) or len(call.source_shape) != len(call.target_shape) or not all(rest):
        raise call.refusal("what it chooses is computed from the input")
    mixed = ones(call.target_shape[axis], call.source_shape[axis])
    return AxisMaps(call.source_shape, call.target_shape, ((axis % len(call.source_shape), mixed),))


def _rows_by_index(compose: Composer, table: Any, indices: Any) -> Any:
    """Rows of a table, such as ``table[tokens]``, as an embedding."""
    is_first_axis = isinstance(indices, list | tuple) and len(indices) == 1
    return _looked_up(compose, table, indices[0]) if is_first_axis else NotImplemented


def _rows_selected(compose: Composer, table: Any, axis: int, indices: Any) -> Any:
    return _looked_up(compose, table, indices) if axis == 0 else NotImplemented


def _looked_up(compose: Composer, table: Any, indices: Any) -> Any:
    """Rows that the input of the network chooses from a table that it does not compute."""
    axes = compose.axes(table)
    whole = compose.type_of(indices) in (torch.int64, torch.int32)
    if axes < 2 or not whole or compose.varies(table) or not compose.varies(indices):
        return NotImplemented
    counted = compose(aten.REMAINDER, indices, compose.length(table, 0))  # from the end, where they are negative
    if axes == 2:
        return compose(aten.EMBEDDING, table, counted)
    rows = compose(aten.EMBEDDING, compose(aten.FLATTEN, table, 1), counted)
    return compose(aten.UNFLATTEN, rows, -1, [compose.length(table, axis) for axis in range(1, axes)])


def _sampled(call: Call) -> LinearMap:
    """Interpolation at given places; where these are computed from the input, they may be anywhere."""
    image, grid = call.step.args[:2]
    if not isinstance(grid, Hole):
        return probed_map(call)
    samples, channels, coordinates, *placed = range(len(call.target_shape) + 1)
    target = (samples, channels, *placed)
    read = tuple(range(target[-1] + 1, target[-1] + 1 + len(placed)))
    maps = []
    if call.reads(image):
        maps.append(spread(call, (samples, channels, *read), target))
    if call.reads(grid):
        maps.append(spread(call, (samples, *placed, coordinates), target))
    return together(maps)


def _flat(arguments: Iterable[Any]) -> list[Any]:
    return [given for one in arguments for given in (one if isinstance(one, list | tuple) else [one])]


def _placed(call: Call) -> Gather:
    """One value within another: a place reads the one or the other, by constant places."""
    if call.is_open:
        raise call.refusal("which of the elements that it places stay cannot be told")
    return _view(call)


def _fold(call: Call) -> LinearMap:
    """Windows laid over each other again: what cuts them out, backwards."""
    size, *window = call.step.args[1:6]
    channels = (*call.target_shape[:-2], *size)
    numbers = torch.arange(prod(channels), dtype=torch.float64).reshape(channels) + 1
    cut = aten.WINDOWS(numbers, *window) - 1
    reading = Gather.reading(channels, call.source_shape, cut.to(torch.int64).numpy())
    return EdgeList(call.source_shape, call.target_shape, reading.matrix().T.tocsr())


def _to_complex(call: Call) -> LinearMap:
    """A complex number reads its two parts."""
    last = len(call.source_shape) - 1
    return AxisMaps(call.source_shape, call.target_shape, ((last, ones(1, 2)),))


def _to_real(call: Call) -> LinearMap:
    """Each of two parts reads the complex number."""
    return spread(call, tuple(range(len(call.source_shape))), tuple(range(len(call.target_shape))))


def _added_at(call: Call) -> LinearMap:
    """Elements added to others at places along an axis; where these are not the same all along it, as probed."""
    base, axis, index, source = call.step.args[:4]
    if not isinstance(index, Value) or not call.reads(source) or call.reads(base):
        return elementwise(call) if call.reads(base) and not call.reads(source) else probed_map(call)
    places, length = call.values[index.name].cpu(), call.source_shape[axis]
    along = places.movedim(axis, 0).reshape(len(places.movedim(axis, 0)), -1) if places.ndim > 1 else places[:, None]
    fits = places.ndim == 1 or tuple(places.shape) == call.source_shape
    if not fits or len(along) != length or bool((along != along[:, :1]).any()):
        return probed_map(call)
    reads = along[:, 0] == torch.arange(call.target_shape[axis])[:, None]
    return AxisMaps(
        call.source_shape, call.target_shape, ((axis % len(call.source_shape), Weight(reads.double(), reads)),)
    )


view = partial(define, map=_view, view=True, affine=FIRST)

# Another layout of the same elements.
view("view", silent=True, sizes=True, any_layout=RESHAPE)
view("_unsafe_view", silent=True, sizes=True, any_layout=RESHAPE)
view("reshape", silent=True, sizes=True)
view("_reshape_alias", sizes=True)
view("flatten", "squeeze", "unsqueeze", silent=True)
view("t", "transpose", "permute", silent=True)
view("as_strided", "movedim", "swapaxes")
define("view_as_complex", map=_to_complex, affine=FIRST)
define("view_as_real", map=_to_real, affine=FIRST)
view("atleast_2d", "unflatten", "view_as", composite=aten.VIEW)

# Some of the elements.
view("getitem", silent=True, entry=True)
view("slice", "select", "split", "chunk", "split_with_sizes", silent=True)
view("diagonal", "im2col", "narrow", "unbind", "unfold")
view("gather", "take", "take_along_dim", map=_chosen)
view("index", map=_chosen, composition=_rows_by_index)
view("index_select", map=_chosen, composition=_rows_selected)

# In another order, or repeated.
view("expand", silent=True, sizes=True)
view("broadcast_to", sizes=True)
view("expand_as", composite=aten.EXPAND)
view("repeat", "repeat_interleave", "tile")
view("channel_shuffle", "flip", "pixel_shuffle", "pixel_unshuffle", "roll", "rot90")
view("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", label="upsample")
view(
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    label="upsample",
)

# With constants around them.
padding = partial(view, surrounds=True)
padding("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
padding("replication_pad1d", "replication_pad2d", "replication_pad3d")
view("diag_embed")

# Several values side by side, or one within another.
view("cat", "concat", fills_slots=True, concatenates=True)
view("stack", fills_slots=True)
define("select_scatter", "slice_scatter", map=_view, view=True, affine=((0, 1),))
define(
    *("scatter", "index_put", "index_copy", "index_fill", "masked_scatter", "diagonal_scatter"),
    map=_placed,
    affine=((0, 1),),
)
define("col2im", map=_fold, affine=FIRST)
# Sums of elements, and interpolation at given places: the same Jacobian at every input.
define("scatter_add", "index_add", map=_added_at, affine=((0, 3),))
define("affine_grid_generator", map=probed_map, affine=FIRST)
define("grid_sampler", map=_sampled, affine=FIRST, steered_by=(1,))
