"""Linear layers, bilinear ones, and products of matrices, of two activations too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..elements import Hole, Step, Value
from ..maps import AxisMaps, Chain, LinearMap, Weight
from . import linearized
from .aten import MATMUL
from .composer import Composer
from .contractions import contracted, contraction_layer, matrix_labels, together
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
    addend, *factors = call.step.args[:3]
    maps: list[LinearMap] = []
    if call.reads(addend):
        maps.append(broadcast(call.source_shape, call.target_shape))
    if any(map(call.reads, factors)):
        maps.append(_matrix_product(call, 1, 2))
        passed = None if call.is_open else _beside_the_sum(call)
        if passed is not None and not passed.all():
            maps[-1] = Chain((maps[-1], where_passed(passed, call.target_shape, call.target_shape)))
    return together(maps)


def _beside_the_sum(call: Call) -> Tensor | None:
    known = call.constant(call.step.args[0])
    return None if known is None else sum_passes(known)


def _along_last(call: Call, weight: Weight) -> AxisMaps:
    return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 1, weight),))


def _linear(call: Call) -> LinearMap:
    """A weight along the last axis; also what a weight or a bias that is computed from the input reaches."""
    given, weight, bias = (*call.step.args, None)[:3]
    maps: list[LinearMap] = []
    if call.reads(bias):
        maps.append(broadcast(call.source_shape, call.target_shape))
    if isinstance(weight, Value) and call.reads(given):
        maps.append(_along_last(call, call.lookup(weight.name)))
    elif call.reads(given) or call.reads(weight):
        batch = tuple(range(2, 1 + len(call.target_shape)))
        maps.append(contracted(call, (given, weight), [(*batch, 1), (0, 1)], (*batch, 0)))
    return together(maps)


def _matrix_layer(
    step: Step, weight: Value, shape: tuple[int, ...], left: int, right: int, bias: int | None = None
) -> Layer | None:
    """A matrix times the last axis, or any other product of two matrices of which one is a weight."""
    factors = [step.args[left], step.args[right]]
    addend = None if bias is None else step.args[bias]
    if len(shape) == 2 and isinstance(factors[0], Hole) and factors[1] == weight:
        return _dense_layer(step, weight, addend, reads=0)
    if isinstance(addend, Hole):
        return None  # its input is also added to the product
    ranks = [len(shape) if factor == weight else len(step.source_shapes[0]) for factor in factors]
    first, second, target = matrix_labels(*ranks)
    return contraction_layer(step, weight, shape, factors, [first, second], target, _name(addend))


def _dense_layer(step: Step, weight: Value, bias: Any, reads: int) -> Layer | None:
    if isinstance(bias, Hole):
        return None  # its input is also added to the product
    source, target = step.source_shapes[0], step.shape
    positions = prod(source[:-1])
    return Layer(weight.name, _name(bias), reads, 1 - reads, len(source) - 1, len(target) - 1, 1, positions)


def _name(value: Any) -> str | None:
    return value.name if isinstance(value, Value) else None


define(
    "linear",
    map=_linear,
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


def _added_products(call: Call, labels: Sequence[tuple[int, ...]], target: tuple[int, ...]) -> LinearMap:
    """Products of two factors, added up and to something."""
    addend, *factors = call.step.args[:3]
    maps: list[LinearMap] = []
    if call.reads(addend):
        maps.append(broadcast(call.source_shape, call.target_shape))
    if any(map(call.reads, factors)):
        maps.append(contracted(call, factors, labels, target))
    return together(maps)


def _one_by_one(compose: Composer, matrices: Sequence[Any]) -> Any:
    """Products of two, from an activation on, so that each of the other matrices is a weight of one of them."""
    first = next((place for place, matrix in enumerate(matrices) if compose.varies(matrix)), 0)
    product = matrices[first]
    for matrix in matrices[first + 1 :]:
        product = compose(MATMUL, product, matrix)
    for matrix in reversed(matrices[:first]):
        product = compose(MATMUL, matrix, product)
    return product


added = partial(define, weights=(1, 2), affine=((0, 1), (0, 2)))
added("addbmm", map=partial(_added_products, labels=[(3, 0, 1), (3, 1, 2)], target=(0, 2)))
added("addmv", map=partial(_added_products, labels=[(0, 1), (1,)], target=(0,)))
added("addr", map=partial(_added_products, labels=[(0,), (1,)], target=(0, 1)))
define("linalg_multi_dot", "chain_matmul", composition=_one_by_one)


def _bilinear(call: Call) -> LinearMap:
    """Products of all pairs of elements of two inputs, weighted and added up."""
    first, second, weight, bias = (*call.step.args, None)[:4]
    maps: list[LinearMap] = []
    if call.reads(bias):
        maps.append(broadcast(call.source_shape, call.target_shape))
    if any(map(call.reads, (first, second, weight))):
        batch = tuple(range(3, 2 + len(call.target_shape)))
        labels = [(*batch, 1), (*batch, 2), (0, 1, 2)]
        maps.append(contracted(call, (first, second, weight), labels, (*batch, 0)))
    return together(maps)


define("bilinear", map=_bilinear, modules=(nn.Bilinear,), outer_factors=(0, 2, 1), trained=True)
define("_trilinear", outer_factors=(0, 1, 2))  # which runs it
