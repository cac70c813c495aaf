"""Operations along some axes: sums, maxima and statistics, running sums, sorting, differences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ..elements import Hole, Step, Value
from ..maps import AxisMaps, LinearMap, Weight
from .contractions import ones
from .record import FIRST, Call, argument, define, rule
from .selection import elementwise, values_alone

__all__ = ["pooling_weight"]

KEYWORD = 99
"""The place of an argument that is given by keyword alone."""


def pooling_weight(call: Call, kept: np.ndarray) -> Weight:
    """Ones, or with the option ``weights="mean"`` one over the size of the window.

    Parameters
    ----------
    call
        The step and the options.
    kept
        Which elements (columns) each result (row) reads.

    Returns
    -------
    Weight
        Of the shape of `kept`.
    """
    magnitude = kept.astype(np.float64)
    if call.options.get("weights") == "mean":
        magnitude /= np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return Weight(torch.from_numpy(magnitude), torch.from_numpy(kept))


def _reduction(call: Call, position: int = 1, default: int | None = None) -> AxisMaps:
    """Every element along the reduced axes, an argument at this position, reaches the result."""
    rank = len(call.source_shape)
    axes = call.argument(position, "dim", default)
    every = axes is None or axes == [] or isinstance(axes, bool)  # in the place of the axes: whether to correct a bias
    axes = range(rank) if every else [axes] if isinstance(axes, int) else axes
    maps = []
    for axis in sorted(a % rank for a in axes):
        maps.append((axis, pooling_weight(call, np.ones((1, call.source_shape[axis]), bool))))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


def _extreme(call: Call) -> LinearMap:
    """Of two tensors element by element, or along an axis."""
    both = isinstance(call.argument(1, "other"), Hole | Value)
    return elementwise(call) if both else _reduction(call)


def _axes_of(step: Step, position: int = 1) -> Sequence[int]:
    axes = argument(step, position, "dim")
    if isinstance(axes, int) and not isinstance(axes, bool):
        return (axes,)
    return tuple(axes) if isinstance(axes, list | tuple) else ()


def _quantile(call: Call, position: int = 2) -> LinearMap:
    if not isinstance(call.step.args[1], int | float):
        raise call.refusal("it asks for several quantiles at once")
    return _reduction(call, position)


statistic = partial(define, map=_reduction, reduced_axes=_axes_of, grows=lambda step: 1.0)
statistic("mean", pooling=True, affine=FIRST)
statistic("sum", affine=FIRST)
define("nanmean", "nansum", "prod", "logsumexp", map=_reduction)
statistic("std", "std_mean")
statistic("var", grows=lambda step: 2.0)
statistic("var_mean", grows=lambda step: 1.0 if getattr(step.operation, "entry", 0) else 2.0)
statistic("amax", pooling=True, affine=FIRST, rectifier=True)
statistic("amin", affine=FIRST, rectifier=True)
define(
    *("max", "min"),
    map=values_alone(_extreme),
    affine=FIRST,
    rectifier=True,
    reduced_axes=_axes_of,
    grows=lambda step: 1.0,
)
define("aminmax", map=partial(_reduction, position=KEYWORD), affine=FIRST, rectifier=True)
define("median", "nanmedian", map=values_alone(_reduction))
define("mode", map=values_alone(partial(_reduction, default=-1)))
define("kthvalue", map=values_alone(partial(_reduction, position=2, default=-1)))
define("quantile", "nanquantile", map=_quantile)
statistic("linalg_vector_norm", "norm", map=partial(_reduction, position=2), reduced_axes=partial(_axes_of, position=2))


def along(call: Call, axis: int, reads: np.ndarray) -> AxisMaps:
    """A map along one axis, of which the results (rows) read elements (columns).

    Parameters
    ----------
    call
        The step.
    axis
        Axis of the source.
    reads
        Zero where nothing is read, else how much.

    Returns
    -------
    AxisMaps
        The other axes stay.
    """
    weight = Weight(torch.from_numpy(np.abs(reads).astype(np.float64)), torch.from_numpy(reads != 0))
    return AxisMaps(call.source_shape, call.target_shape, ((axis % len(call.source_shape), weight),))


@rule("cumsum", affine=FIRST)
@rule("cumprod", "logcumsumexp")
def _running(call: Call) -> LinearMap:
    """Every place reads those up to it."""
    axis = call.argument(1, "dim", -1)
    return along(call, axis, np.tri(call.source_shape[axis]))


define("cummax", "cummin", map=values_alone(_running))


def _mixed(call: Call, position: int, default: int = -1) -> LinearMap:
    """The values decide what goes where, so that every place may read each."""
    if call.is_open:
        raise call.refusal("which of its elements stay cannot be told")
    axis = call.argument(position, "dim", default) % len(call.source_shape)
    mixed = ones(call.target_shape[axis], call.source_shape[axis])
    return AxisMaps(call.source_shape, call.target_shape, ((axis, mixed),))


define("topk", map=values_alone(partial(_mixed, position=2)))
define("msort", map=partial(_mixed, position=1, default=0))


@rule("sort")
@values_alone
def _sort(call: Call) -> LinearMap:
    # The overload that takes `stable` has all by keyword.
    by_position = len(call.step.args) > 1 and not isinstance(call.step.args[1], bool)
    return _mixed(call, 1 if by_position else KEYWORD)


@rule("diff", affine=FIRST)
def _difference(call: Call) -> LinearMap:
    """Every place reads its neighbours."""
    if len(call.step.source_shapes) > 1 or call.step.values:
        raise call.refusal("something is put before or after its input")
    axis = call.argument(2, "dim", -1)
    return along(call, axis, np.diff(np.eye(call.source_shape[axis]), call.argument(1, "n", 1), axis=0))


@rule("cross", "linalg_cross", affine=((0,), (1,)))
def _cross_product(call: Call) -> LinearMap:
    """Each of three components reads the two others."""
    axis = call.argument(2, "dim", -1)
    if axis is None or call.source_shape != call.target_shape:
        raise call.refusal("its operands are not of one shape, or no axis is given")
    return along(call, axis, 1 - np.eye(3))
