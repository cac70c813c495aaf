"""Products of activations with a shape of their own: einsum and attention. Products count as sums."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..elements import Hole, Value
from ..maps import AxisMaps, Gather, LinearMap, Union, Weight
from . import linearized
from .contractions import contracted, einsum_labels, ones
from .pointwise import nothing
from .record import Call, define, rule


@rule("einsum", weights=(1,), linearized=linearized.product_of(torch.einsum))
def _einsum(call: Call) -> LinearMap:
    """A product of activations and weights: summed axes reach one place, axes of other operands alone are filled."""
    equation, operands = call.step.args[:2]
    labels, target = einsum_labels(equation, [len(call.shape_of(operand)) for operand in operands])
    return contracted(call, operands, labels, target)


@rule(
    "scaled_dot_product_attention",
    label="attention",
    linearized=linearized.attention,
    functions=(F.scaled_dot_product_attention,),
)
def _attention(call: Call) -> LinearMap:
    """Softmax attention: the result at a token reads the values at all tokens it may attend to.

    With ``attention="exact"`` the queries and keys count as well, as they do in the Jacobian: every channel of
    a query reaches every channel of its token's result, every channel of a key those of all tokens that may
    attend to it. With ``attention="values"`` only the values do.
    """
    query, key, value = (call.step.args + (None,) * 3)[:3]
    shapes = call.step.source_shapes
    if not all(isinstance(a, Hole) for a in (query, key, value)):
        raise call.refusal("one of its operands is a constant")
    length, tokens = shapes[query.slot][-2], shapes[key.slot][-2]
    allowed = _allowed(call, length, tokens)
    width, depth = shapes[query.slot][-1], call.target_shape[-1]
    rank = len(call.target_shape)
    maps: list[LinearMap] = []
    exact = call.options.get("attention", "exact") == "exact"
    if value.slot == call.slot:
        maps.append(AxisMaps(call.source_shape, call.target_shape, ((rank - 2, allowed),)))
    if key.slot == call.slot and exact:
        axes = ((rank - 2, allowed), (rank - 1, ones(depth, width)))
        maps.append(AxisMaps(call.source_shape, call.target_shape, axes))
    if query.slot == call.slot and exact:
        maps.append(AxisMaps(call.source_shape, call.target_shape, ((rank - 1, ones(depth, width)),)))
    if not maps:
        return nothing(call)
    return maps[0] if len(maps) == 1 else Union(tuple(maps))


def _allowed(call: Call, length: int, tokens: int) -> Weight:
    """Which tokens may be attended to: (queries, keys)."""
    mask = call.argument(3, "attn_mask")
    if isinstance(mask, Hole) and call.options.get("masks") != "open":
        raise call.refusal("its mask is computed from the input")
    allowed = torch.ones(length, tokens, dtype=torch.bool)
    if call.argument(5, "is_causal", False):
        allowed = allowed.tril()
    if isinstance(mask, Value):
        given = call.values[mask.name].detach().cpu()
        given = given if given.dtype == torch.bool else given > -torch.inf
        allowed &= given.reshape(-1, *given.shape[-2:]).any(dim=0)
    return Weight(allowed.double(), allowed)


@rule("glu", linearized=linearized.sum_of_halves)
def _gated_linear_unit(call: Call) -> LinearMap:
    """One half along an axis times the gates that the other half gives: a result reads one element of each."""
    axis = call.argument(1, "dim", -1) % len(call.source_shape)
    halves = np.split(np.arange(prod(call.source_shape)).reshape(call.source_shape), 2, axis)
    return Union(tuple(Gather.reading(call.source_shape, call.target_shape, half) for half in halves))


define(
    "multi_head_attention_forward",
    linearized=linearized.multi_head_attention,
    functions=(F.multi_head_attention_forward,),
    modules=(nn.MultiheadAttention,),
    trained=True,
)
