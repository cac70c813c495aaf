"""Operations that treat every element alike, and those through which nothing flows."""

from __future__ import annotations

from math import prod

import numpy as np

from ..maps import Gather
from .call import Call, rule

__all__ = ["POINTWISE", "broadcast", "nothing"]

# Normalisations count as element-wise: their statistics are treated as constants.
# fmt: off
POINTWISE = (
    "abs", "alias", "batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "native_batch_norm", "clamp", "clamp_max", "clamp_min", "clone", "contiguous", "cos", "celu", "detach",
    "div", "dropout", "elu", "erf", "exp", "expm1", "fill", "floor", "gelu", "group_norm",
    "native_group_norm", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "instance_norm", "layer_norm",
    "native_layer_norm", "leaky_relu", "lift_fresh_copy", "log", "log1p", "log_sigmoid", "log_softmax",
    "_log_softmax", "masked_fill", "maximum", "minimum", "mish", "mul", "native_dropout", "neg", "pow",
    "prelu", "reciprocal", "relu", "relu6", "rms_norm", "_fused_rms_norm", "rrelu", "rsqrt", "rsub", "selu",
    "sigmoid", "sign", "silu", "sin", "softmax", "_softmax", "softplus", "softshrink", "softsign", "sqrt",
    "square", "sub", "tanh", "tanhshrink", "threshold", "to", "_to_copy", "add", "addcmul", "where",
    "bernoulli", "local_response_norm", "normalize",
)
# fmt: on


@rule(*POINTWISE)
def _pointwise(call: Call) -> Gather:
    """Element by element, broadcast where the result is larger."""
    if call.source_shape == call.target_shape:
        return Gather(call.source_shape, call.target_shape)
    return broadcast(call.source_shape, call.target_shape)


def broadcast(source_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> Gather:
    """Elements repeated to fill a larger shape."""
    index = np.arange(prod(source_shape)).reshape(source_shape)
    return Gather.reading(source_shape, target_shape, np.broadcast_to(index, target_shape))


@rule("gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_or", "logical_not", "isnan", "isinf", "isfinite")
def nothing(call: Call) -> Gather:
    """A comparison is constant almost everywhere: nothing flows through it."""
    return Gather(call.source_shape, call.target_shape, np.full(call.target_shape, -1))
