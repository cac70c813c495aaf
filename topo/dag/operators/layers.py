"""Operations with a weight: linear layers and convolutions; products of two activations among the former."""

from __future__ import annotations

import torch

from ..dag import Hole, Value
from ..maps import AxisMaps, Chain, Convolution, LinearMap, Union, Weight
from .call import Call, rule
from .pointwise import broadcast

__all__ = ["ones"]


@rule("linear", "addmm", "mm", "matmul", "bmm", parametric=True)
def _matrix_product(call: Call) -> LinearMap:
    """A weight times the last axis, or the product of two activations, each taken as the sum over the other."""
    name, args = call.step.name, call.step.args
    if name == "linear":
        return _along_last(call, call.weight(1))
    if name == "addmm":
        args = args[1:]
    left, right = args[0], args[1]
    if isinstance(right, Value):
        weight = call.lookup(right.name)
        if weight.kept.ndim == 2:
            return _along_last(call, Weight(weight.magnitude.T, weight.kept.T))
        raise call.refusal("its constant factor has more than two axes")
    if isinstance(left, Value):
        weight = call.lookup(left.name)
        if weight.kept.ndim == 2 and len(call.source_shape) >= 2:
            return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 2, weight),))
        raise call.refusal("its constant factor has more than two axes")
    spreads = []
    if isinstance(left, Hole) and left.slot == call.slot:
        spreads.append(_factor(call, -1, call.target_shape[-1]))
    if isinstance(right, Hole) and right.slot == call.slot:
        spreads.append(_factor(call, -2, call.target_shape[-2]))
    return spreads[0] if len(spreads) == 1 else Union(tuple(spreads))


def _along_last(call: Call, weight: Weight) -> AxisMaps:
    return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 1, weight),))


def _factor(call: Call, axis: int, length: int) -> LinearMap:
    """From a factor of a matrix product to the result: every element along `axis` reaches all `length` places."""
    source, target = call.source_shape, call.target_shape
    if len(source) < 2 or len(target) < 2:
        raise call.refusal("products with vectors are not supported")
    replaced = list(source)
    replaced[axis] = length
    spread = AxisMaps(source, tuple(replaced), ((len(source) + axis, ones(length, source[axis])),))
    if tuple(replaced) == target:
        return spread
    return Chain((spread, broadcast(tuple(replaced), target)))


def ones(rows: int, columns: int) -> Weight:
    return Weight(torch.ones(rows, columns), torch.ones(rows, columns, dtype=torch.bool))


@rule(
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    parametric=True,
)
def _convolution(call: Call) -> LinearMap:
    weight = call.weight(1)
    dimensions = weight.kept.ndim - 2
    stride = call.integers(3, "stride", 1, dimensions)
    padding = call.argument(4, "padding", 0)
    name = call.step.name
    if name == "convolution":
        transposed, groups = bool(call.argument(6, "transposed")), int(call.argument(8, "groups"))
        dilation = call.integers(5, "dilation", 1, dimensions)
    elif name.startswith("conv_transpose"):
        transposed, groups = True, int(call.argument(6, "groups", 1))
        dilation = call.integers(7, "dilation", 1, dimensions)
    else:
        transposed, groups = False, int(call.argument(6, "groups", 1))
        dilation = call.integers(5, "dilation", 1, dimensions)
    if isinstance(padding, str):
        reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.kept.shape[2:], strict=True)]
        pairs = tuple((r // 2, r - r // 2) for r in reach)
    else:
        pairs = tuple((p, p) for p in call.integers(4, "padding", 0, dimensions))
    source, target = call.source_shape, call.target_shape
    if len(source) == dimensions + 1:
        source, target = (1, *source), (1, *target)
    return Convolution(source, target, weight, stride, pairs, dilation, groups, transposed)
