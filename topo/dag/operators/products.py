"""Products of activations with a shape of their own: einsum and attention. Products count as sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..elements import Hole, Step, Value
from ..maps import Gather, LinearMap, Union
from . import linearized
from .contractions import Labels, contracted, contraction_layer, einsum_labels
from .record import Call, Layer, argument, define, rule

Factors = tuple[Sequence[Any], Sequence[Labels], Labels]
"""The factors of a product, a label for each axis of each, and those of the result."""


def product(*names: str, labelled: Callable[[Step, Sequence[int]], Factors], **facts: Any) -> None:
    """Record operations that are sums of products over axes, with a weight among the factors or without.

    Parameters
    ----------
    names
        Names of the operations.
    labelled
        From a step and the numbers of axes of its tensors, in order, to its `Factors`.
    facts
        Further fields of `Operator`.
    """

    def element_map(call: Call) -> LinearMap:
        ranks = [len(call.shape_of(given)) for given in _tensors(call.step)]
        return contracted(call, *labelled(call.step, ranks))

    def layer(step: Step, weight: Value, shape: tuple[int, ...]) -> Layer | None:
        ranks = [len(shape) if given == weight else len(step.source_shapes[0]) for given in _tensors(step)]
        return contraction_layer(step, weight, shape, *labelled(step, ranks))

    define(*names, map=element_map, layer=layer if facts.get("weights") else None, **facts)


def _tensors(step: Step) -> list[Any]:
    leaves = pytree.tree_leaves(step.args)
    return [leaf for leaf in leaves if isinstance(leaf, Hole | Value)]


def _einsum(step: Step, ranks: Sequence[int]) -> Factors:
    """Summed axes reach one place, axes of other operands alone are filled."""
    return (step.args[1], *einsum_labels(step.args[0], ranks))


def _tensordot(step: Step, ranks: Sequence[int]) -> Factors:
    left, right, summed, with_these = step.args[:4]
    first = list(range(ranks[0]))
    second = list(range(ranks[0], ranks[0] + ranks[1]))
    for axis, other in zip(summed, with_these, strict=True):
        second[other] = first[axis]
    common = set(first) & set(second)
    result = tuple(label for label in (*first, *second) if label not in common)
    return (left, right), [tuple(first), tuple(second)], result


def _inner(step: Step, ranks: Sequence[int]) -> Factors:
    first = tuple(range(1, ranks[0]))
    second = tuple(range(ranks[0], ranks[0] + ranks[1] - 1))
    return step.args[:2], [(*first, 0), (*second, 0)], (*first, *second)


def _outer(step: Step, ranks: Sequence[int]) -> Factors:
    return step.args[:2], [(0,), (1,)], (0, 1)


def _vecdot(step: Step, ranks: Sequence[int]) -> Factors:
    """Sums of products along an axis of two tensors that broadcast."""
    rank = len(step.shape) + 1
    axis = argument(step, 2, "dim", -1) % rank
    labels = [tuple(range(rank - own, rank)) for own in ranks]
    return step.args[:2], labels, tuple(label for label in range(rank) if label != axis)


product("einsum", labelled=_einsum, weights=(1,), linearized=linearized.product_of(torch.einsum))
product("tensordot", labelled=_tensordot, weights=(0, 1), affine=((0,), (1,)))
product("inner", labelled=_inner, weights=(0, 1), affine=((0,), (1,)))
product("outer", "ger", labelled=_outer, affine=((0,), (1,)))
product("linalg_vecdot", labelled=_vecdot, weights=(0, 1), affine=((0,), (1,)))


@rule("glu", linearized=linearized.sum_of_halves)
def _gated_linear_unit(call: Call) -> LinearMap:
    """One half along an axis times the gates that the other half gives: a result reads one element of each."""
    axis = call.argument(1, "dim", -1) % len(call.source_shape)
    halves = np.split(np.arange(prod(call.source_shape)).reshape(call.source_shape), 2, axis)
    return Union(tuple(Gather.reading(call.source_shape, call.target_shape, half) for half in halves))
