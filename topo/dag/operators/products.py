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


@rule("glu", linearized=linearized.sum_of_halves)
def _gated_linear_unit(call: Call) -> LinearMap:
    """One half along an axis times the gates that the other half gives: a result reads one element of each."""
    axis = call.argument(1, "dim", -1) % len(call.source_shape)
    halves = np.split(np.arange(prod(call.source_shape)).reshape(call.source_shape), 2, axis)
    return Union(tuple(Gather.reading(call.source_shape, call.target_shape, half) for half in halves))
