"""What one arc means for the elements of the two tensors it joins."""

from __future__ import annotations

from .arc_relation import Relation, Weigher, relation
from .maps import AxisMaps, Chain, Convolution, Gather, LinearMap, Union, Weight
from .matrices import compose, merge
from .rules import is_parametric, is_pooling

__all__ = [
    "AxisMaps",
    "Chain",
    "Convolution",
    "Gather",
    "LinearMap",
    "Relation",
    "Union",
    "Weigher",
    "Weight",
    "compose",
    "is_parametric",
    "is_pooling",
    "merge",
    "relation",
]
