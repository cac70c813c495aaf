"""Softmax attention as one operation: which tokens a result reads, by head and under masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contraction import Contraction
from ..elements import Hole, Value
from ..maps import AxisMaps, Chain, LinearMap, Union, Weight
from . import linearized
from .contractions import ones
from .pointwise import nothing
from .record import Call, define, rule
from .selection import MASKING, broadcast


@dataclass(frozen=True, eq=False)
class _Attention:
    """An attention as seen from one of its operands; axes are heads (and samples), tokens, channels."""

    call: Call

    def operand(self, position: int, name: str) -> Any:
        return self.call.argument(position, name)

    def shape(self, given: Any) -> tuple[int, ...]:
        call = self.call
        return call.step.source_shapes[given.slot] if isinstance(given, Hole) else tuple(call.values[given.name].shape)

    def is_read_as(self, position: int, name: str) -> bool:
        given = self.operand(position, name)
        return isinstance(given, Hole) and given.slot == self.call.slot

    @cached_property
    def scores(self) -> tuple[int, ...]:
        """The shape of the scores: heads, queries, keys."""
        length, tokens = (self.shape(self.operand(i, name))[-2] for i, name in enumerate(("query", "key")))
        return (*self.call.target_shape[:-2], length, tokens)

    @cached_property
    def allowed(self) -> Tensor:
        """Which keys a query may attend to, bool, of as many axes as the scores, one long where all heads agree."""
        *heads, length, tokens = self.scores
        allowed = torch.ones(length, tokens, dtype=torch.bool).view(*(1 for _ in heads), length, tokens)
        if self.call.is_open:
            return allowed
        if self.call.argument(5, "is_causal", False):
            allowed = allowed.tril()
        given = self._mask()
        if given is None:
            return allowed
        allowed = allowed & given.view(*(1 for _ in range(len(self.scores) - given.ndim)), *given.shape)
        for axis in range(len(heads)):
            first = allowed.narrow(axis, 0, 1)
            allowed = first if bool((allowed == first).all()) else allowed
        return allowed

    @cached_property
    def compared(self) -> Tensor:
        """As `allowed`, without the queries that have a single key: its share is 1 whatever their scores are."""
        return self.allowed if self.call.is_open else self.allowed & (self.allowed.sum(-1, keepdim=True) > 1)

    def _mask(self) -> Tensor | None:
        """Where the mask forbids nothing for good; None where it may be anything."""
        mask = self.operand(3, "attn_mask")
        if isinstance(mask, Value):
            given = self.call.values[mask.name].detach().cpu()
            return given if given.dtype == torch.bool else given > MASKING
        fixed = self.call.fixed[mask.slot] if isinstance(mask, Hole) and mask.slot < len(self.call.fixed) else None
        if fixed is None:
            return None
        return fixed.free | (fixed.values if fixed.values.dtype == torch.bool else fixed.values > MASKING)

    def map(self, reads: str, weight: Tensor, weight_reads: str) -> LinearMap:
        """From a tensor with axes `reads` after the heads to the result, by a weight with axes `weight_reads`.

        Axes are called "q" for queries, "k" for keys, "w" for channels that are compared and "d" for those of values.
        """
        call = self.call
        start = call.source_shape
        heads, target = len(self.scores) - 2, call.target_shape
        full = self.scores if reads == "qk" else (*self.scores[:-2], *start[-2:])
        letters = {letter: heads + place for place, letter in enumerate("qkwd")}
        varying = [axis for axis in range(heads) if weight.shape[axis] > 1]
        kept = weight.squeeze([axis for axis in range(heads) if axis not in varying])
        factor = Weight(kept.double(), kept)
        joined: LinearMap
        if not varying and reads in ("kd", "kw"):
            # One mask for all heads is a matrix along the axis of tokens, whose edges are counted and built faster.
            channels = () if reads == "kd" else ((heads + 1, ones(target[-1], full[-1])),)
            joined = AxisMaps(full, target, ((heads, factor), *channels))
        elif reads == "qw" and bool(kept.all()):
            joined = AxisMaps(full, target, ((heads + 1, ones(target[-1], full[-1])),))
        else:
            joined = Contraction(
                full,
                target,
                factor,
                (*range(heads), *(letters[letter] for letter in reads)),
                (*varying, *(letters[letter] for letter in weight_reads)),
                (*range(heads), letters["q"], letters["d"]),
            )
        return joined if start == full else Chain((broadcast(start, full), joined))


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
    attend to it, and a score that is added those of its query; where a query may attend to one token alone, its share
    is 1 whatever the scores are, and only the value counts. With ``attention="values"`` only the values do.
    """
    attention = _Attention(call)
    exact = call.options.get("attention", "exact") == "exact"
    maps = []
    if attention.is_read_as(2, "value"):
        maps.append(attention.map("kd", attention.allowed, "qk"))
    if attention.is_read_as(1, "key") and exact:
        maps.append(attention.map("kw", attention.compared, "qk"))
    if attention.is_read_as(0, "query") and exact:
        maps.append(attention.map("qw", attention.compared.any(dim=-1), "q"))
    if attention.is_read_as(3, "attn_mask") and exact and not call.is_open:
        maps.append(attention.map("qk", attention.compared, "qk"))
    if not maps:
        return nothing(call)
    return maps[0] if len(maps) == 1 else Union(tuple(maps))


define(
    "multi_head_attention_forward",
    linearized=linearized.multi_head_attention,
    functions=(F.multi_head_attention_forward,),
    modules=(nn.MultiheadAttention,),
    trained=True,
)
