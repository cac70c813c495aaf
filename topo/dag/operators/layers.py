"""Operations with a weight: linear layers and convolutions; products of two activations among the former."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..elements import Hole, Step, Value
from ..maps import AxisMaps, Chain, Convolution, LinearMap, Weight
from . import linearized
from .contractions import contracted, matrix_labels
from .record import Call, Layer, argument, define
from .selection import broadcast, sum_passes, where_passed

DENSE = (nn.Linear,)


def _matrix_product(call: Call, left: int, right: int) -> LinearMap:
    """A weight times an axis, or the product of two activations, each taken as the sum over the other."""
    factors = [call.step.args[left], call.step.args[right]]
    ranks = [len(call.shape_of(factor)) for factor in factors]
    first, second, target = matrix_labels(*ranks)
    return contracted(call, factors, [first, second], target)


def _matrix_product_and_sum(call: Call) -> LinearMap:
    """The same, added to something: what is added to minus infinity is lost."""
    addend = call.step.args[0]
    if isinstance(addend, Hole) and addend.slot == call.slot:
        return broadcast(call.source_shape, call.target_shape)
    product = _matrix_product(call, 1, 2)
    passed = None if call.is_open else _beside_the_sum(call)
    if passed is None or passed.all():
        return product
    return Chain((product, where_passed(passed, call.target_shape, call.target_shape)))


def _beside_the_sum(call: Call) -> Tensor | None:
    known = call.constant(call.step.args[0])
    return None if known is None else sum_passes(known)


def _along_last(call: Call, weight: Weight) -> AxisMaps:
    return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 1, weight),))


def _matrix_layer(
    step: Step, weight: Value, shape: tuple[int, ...], left: int, right: int, bias: int | None = None
) -> Layer | None:
    """A matrix times the last axis; other products use their weight in another way."""
    if len(shape) != 2 or not isinstance(step.args[left], Hole) or step.args[right] != weight:
        return None
    return _dense_layer(step, weight, None if bias is None else step.args[bias], reads=0)


def _dense_layer(step: Step, weight: Value, bias: Any, reads: int) -> Layer:
    source, target = step.source_shapes[0], step.shape
    positions = prod(source[:-1])
    return Layer(weight.name, _name(bias), reads, 1 - reads, len(source) - 1, len(target) - 1, 1, positions)


def _name(value: Any) -> str | None:
    return value.name if isinstance(value, Value) else None


define(
    "linear",
    map=lambda call: _along_last(call, call.weight(1)),
    layer=lambda step, weight, shape: _dense_layer(step, weight, argument(step, 2, "bias"), reads=1),
    weights=(1,),
    affine=((0, 2), (1, 2)),
    modules=DENSE,
    trained=True,
)
define(
    *("mm", "matmul", "bmm", "mv", "dot"),
    map=partial(_matrix_product, left=0, right=1),
    layer=partial(_matrix_layer, left=0, right=1),
    weights=(0, 1),
    factors=(0, 1),
    affine=((0,), (1,)),
    linearized=linearized.product_of(torch.matmul),
    aliases=("__matmul__",),
    modules=DENSE,
)
define(
    *("addmm", "baddbmm"),
    map=_matrix_product_and_sum,
    passes=_beside_the_sum,
    layer=partial(_matrix_layer, left=1, right=2, bias=0),
    weights=(1, 2),
    factors=(1, 2),
    affine=((0, 1), (0, 2)),
    modules=DENSE,
)


@dataclass(frozen=True)
class _Convolution:
    """A form of convolution: where its arguments stand, and whether it is transposed (None: an argument says so)."""

    transposed: bool | None
    dilation: int
    groups: int

    def is_transposed(self, step: Step) -> bool:
        return bool(argument(step, 6, "transposed")) if self.transposed is None else self.transposed

    def map(self, call: Call) -> LinearMap:
        weight = call.weight(1)
        dimensions = weight.kept.ndim - 2
        stride = call.integers(3, "stride", 1, dimensions)
        dilation = call.integers(self.dilation, "dilation", 1, dimensions)
        groups = int(call.argument(self.groups, "groups", 1))
        padding = call.argument(4, "padding", 0)
        if isinstance(padding, str):
            sizes = weight.kept.shape[2:]
            reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, sizes, strict=True)]
            pairs = tuple((r // 2, r - r // 2) for r in reach)
        else:
            pairs = tuple((p, p) for p in call.integers(4, "padding", 0, dimensions))
        source, target = call.source_shape, call.target_shape
        if len(source) == dimensions + 1:
            source, target = (1, *source), (1, *target)
        transposed = self.is_transposed(call.step)
        return Convolution(source, target, weight, stride, pairs, dilation, groups, transposed)

    def layer(self, step: Step, weight: Value, shape: tuple[int, ...]) -> Layer:
        transposed = self.is_transposed(step)
        source, target = step.source_shapes[0], step.shape
        axis = len(target) - (len(shape) - 2) - 1
        # A weight is used once for every position of the tensor that the kernel slides over.
        slid = source if transposed else target
        reads, writes = (0, 1) if transposed else (1, 0)
        groups = int(argument(step, self.groups, "groups", 1))
        bias = _name(argument(step, 2, "bias"))
        return Layer(weight.name, bias, reads, writes, axis, axis, groups, prod(slid[:axis]) * prod(slid[axis + 1 :]))


def _convolutions(*names: str, form: _Convolution) -> None:
    define(
        *names,
        map=form.map,
        layer=form.layer,
        weights=(1,),
        kernel=True,
        affine=((0, 2), (1, 2)),
        modules=(nn.modules.conv._ConvNd,),
        trained=True,
    )


_convolutions("conv1d", "conv2d", "conv3d", form=_Convolution(transposed=False, dilation=5, groups=6))
_convolutions(
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    form=_Convolution(transposed=True, dilation=7, groups=6),
)
_convolutions("convolution", form=_Convolution(transposed=None, dilation=5, groups=8))

# Without a map between elements so far; pruners know their weights.
define("bilinear", modules=(nn.Bilinear,), outer_factors=(0, 2, 1), trained=True)
define("_trilinear", outer_factors=(0, 1, 2))  # which runs it
