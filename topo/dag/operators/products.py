"""Products of activations with a shape of their own: einsum and attention. Products count as sums."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from ..maps import Gather, LinearMap, Union
from . import linearized
from .contractions import contracted, einsum_labels
from .record import Call, rule


@rule("einsum", weights=(1,), linearized=linearized.product_of(torch.einsum))
def _einsum(call: Call) -> LinearMap:
    """A product of activations and weights: summed axes reach one place, axes of other operands alone are filled."""
    equation, operands = call.step.args[:2]
    labels, target = einsum_labels(equation, [len(call.shape_of(operand)) for operand in operands])
    return contracted(call, operands, labels, target)


@rule("tensordot", weights=(0, 1), layer=lambda *_: None, affine=((0,), (1,)))
def _tensordot(call: Call) -> LinearMap:
    left, right, summed, with_these = call.step.args[:4]
    shapes = [call.shape_of(factor) for factor in (left, right)]
    first = list(range(len(shapes[0])))
    second = list(range(len(first), len(first) + len(shapes[1])))
    for axis, other in zip(summed, with_these, strict=True):
        second[other] = first[axis]
    common = set(first) & set(second)
    result = tuple(label for label in (*first, *second) if label not in common)
    return contracted(call, (left, right), [tuple(first), tuple(second)], result)


@rule("inner", weights=(0, 1), layer=lambda *_: None, affine=((0,), (1,)))
def _inner(call: Call) -> LinearMap:
    ranks = [len(call.shape_of(factor)) for factor in call.step.args[:2]]
    first = tuple(range(1, ranks[0]))
    second = tuple(range(ranks[0], ranks[0] + ranks[1] - 1))
    return contracted(call, call.step.args[:2], [(*first, 0), (*second, 0)], (*first, *second))


@rule("outer", "ger", affine=((0,), (1,)))
def _outer(call: Call) -> LinearMap:
    return contracted(call, call.step.args[:2], [(0,), (1,)], (0, 1))


@rule("linalg_vecdot", affine=((0,), (1,)))
def _vecdot(call: Call) -> LinearMap:
    """Sums of products along an axis of two tensors that broadcast."""
    rank = len(call.target_shape) + 1
    labels = [tuple(range(rank - len(call.shape_of(factor)), rank)) for factor in call.step.args[:2]]
    axis = call.argument(2, "dim", -1) % rank
    return contracted(call, call.step.args[:2], labels, tuple(label for label in range(rank) if label != axis))


@rule("glu", linearized=linearized.sum_of_halves)
def _gated_linear_unit(call: Call) -> LinearMap:
    """One half along an axis times the gates that the other half gives: a result reads one element of each."""
    axis = call.argument(1, "dim", -1) % len(call.source_shape)
    halves = np.split(np.arange(prod(call.source_shape)).reshape(call.source_shape), 2, axis)
    return Union(tuple(Gather.reading(call.source_shape, call.target_shape, half) for half in halves))
