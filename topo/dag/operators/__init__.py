"""What operations are: one record an operation, and all that the toolkit asks of them.

To teach the toolkit an operation, define its record in the file of its family: its name in exported graphs, the map
between the elements of an input and those of the result, and what else applies of `Operator`. Tracing, encodings,
coupled channels, compaction, decompositions, linearised models and pruners ask nothing but these records. From outside
the toolkit, `define` and `rule` do the same.

Examples
--------
>>> operator_of("relu").rectifier, operator_of("conv2d").weights, operator_of("layer_norm").norm
(True, (1,), True)
"""

from __future__ import annotations

from . import (  # noqa: F401  (define their records)
    attention,
    convolutions,
    embeddings,
    layers,
    pointwise,
    products,
    recurrent,
    reductions,
    views,
    windows,
)
from .composer import Composer
from .questions import (
    embedding_modules,
    has_dynamic_weight,
    is_lookup,
    is_padding,
    is_parametric,
    is_piecewise_affine,
    is_pooling,
    is_steered_by,
    keeps_zero,
    normalised_axes,
    step_map,
    summed_axes,
    takes_statistics,
    trained_modules,
    unrolled_modules,
    value_uses,
    weight_of,
)
from .record import OPERATORS, Call, Layer, Operator, define, operator_called, operator_of, rule

__all__ = [
    "OPERATORS",
    "Call",
    "Composer",
    "Layer",
    "Operator",
    "define",
    "embedding_modules",
    "has_dynamic_weight",
    "is_lookup",
    "is_padding",
    "is_parametric",
    "is_piecewise_affine",
    "is_pooling",
    "is_steered_by",
    "keeps_zero",
    "normalised_axes",
    "operator_called",
    "operator_of",
    "rule",
    "step_map",
    "summed_axes",
    "takes_statistics",
    "trained_modules",
    "unrolled_modules",
    "value_uses",
    "weight_of",
]
