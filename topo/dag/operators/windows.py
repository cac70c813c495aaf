"""Pooling and interpolation: a map along each of some axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..elements import Values
from ..maps import AxisMaps, LinearMap, Weight
from .record import FIRST, Call, define, rule
from .reductions import pooling_weight
from .selection import nothing, values_alone


@rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    pooling=True,
    affine=FIRST,
    rectifier=True,
    label="max_pool",
)
def _max_pool(call: Call) -> LinearMap:
    if call.entry:
        return nothing(call)
    dimensions = 1 if "1d" in call.step.name else 2 if "2d" in call.step.name else 3
    kernel = call.integers(1, "kernel_size", None, dimensions)
    dilation = call.integers(4, "dilation", 1, dimensions)
    return _windows(call, kernel, call.argument(2, "stride", ()) or kernel, call.argument(3, "padding", 0), dilation)


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", pooling=True, affine=FIRST, label="avg_pool")
def _average_pool(call: Call) -> AxisMaps:
    dimensions = int(call.step.name[-2])
    kernel = call.integers(1, "kernel_size", None, dimensions)
    return _windows(
        call, kernel, call.argument(2, "stride", ()) or kernel, call.argument(3, "padding", 0), (1,) * dimensions
    )


def _windows(call: Call, kernel: Any, stride: Any, padding: Any, dilation: Any) -> AxisMaps:
    """Every element of a window, padding aside, reaches the window's result."""
    count = len(kernel)
    stride, padding = ([v] * count if isinstance(v, int) else (list(v) * count)[:count] for v in (stride, padding))
    first = len(call.source_shape) - count
    maps = []
    for axis in range(count):
        length, places = call.source_shape[first + axis], call.target_shape[first + axis]
        taps = np.arange(kernel[axis]) * dilation[axis] - padding[axis]
        positions = np.add.outer(np.arange(places) * stride[axis], taps)
        inside = (positions >= 0) & (positions < length)
        kept = np.zeros((places, length), bool)
        kept[np.nonzero(inside)[0], positions[inside]] = True
        maps.append((first + axis, pooling_weight(call, kept)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


def _adaptive_pool(call: Call) -> AxisMaps:
    count = int(call.step.name[-2])
    first = len(call.source_shape) - count
    maps = []
    for axis in range(first, len(call.source_shape)):
        length, places = call.source_shape[axis], call.target_shape[axis]
        place, position = np.arange(places)[:, None], np.arange(length)[None, :]
        kept = (position >= place * length // places) & (position < -((place + 1) * length // -places))
        maps.append((axis, pooling_weight(call, kept)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


define(
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    map=_adaptive_pool,
    pooling=True,
    affine=FIRST,
    label="avg_pool",
)
define(
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    map=values_alone(_adaptive_pool),
    pooling=True,
    affine=FIRST,
    rectifier=True,
    label="max_pool",
)


@rule(
    *("upsample_linear1d", "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_bicubic2d"),
    "upsample_trilinear3d",
    affine=FIRST,
    label="upsample",
)
def _interpolation(call: Call) -> AxisMaps:
    """Interpolation along each axis, its coefficients read off the operation itself."""
    count = int(call.step.name.removesuffix("_aa")[-2])
    first = len(call.source_shape) - count
    maps = []
    for axis in range(first, len(call.source_shape)):
        length = call.source_shape[axis]
        # Ones along the other axes stay ones, so a basis along this one shows its coefficients alone.
        probe = torch.eye(length, dtype=torch.float64).reshape(
            (length, 1, *(length if a == axis else 1 for a in range(first, len(call.source_shape))))
        )
        probe = probe.expand(length, 1, *call.source_shape[first:])
        out = call.step.run((probe,), Values({}, {}, call.options["sizes"]))
        picked = out[(slice(None), 0, *(slice(None) if a == axis else 0 for a in range(first, len(call.source_shape))))]
        coefficients = picked.T
        maps.append((axis, Weight(coefficients.abs(), coefficients.abs() > 1e-12)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))
