"""Operations that treat every element alike, norms among them, and those through which nothing flows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..elements import Step
from ..maps import Gather
from . import linearized
from .record import FIRST, Call, argument, define, rule
from .selection import (
    as_chosen,
    elementwise,
    forbidden_stay_out,
    under_a_fill,
    under_a_product,
    under_a_sum,
)

__all__ = ["nothing"]

pointwise = partial(define, map=elementwise, pointwise=True)

# Copies, and what does nothing in evaluation mode.
pointwise("clone", "dropout", affine=FIRST, silent=True, modules=(nn.modules.dropout._DropoutNd,))
pointwise("alias", "contiguous", "detach", "lift_fresh_copy", "to", "_to_copy", affine=FIRST, silent=True)
pointwise("native_dropout", affine=FIRST, silent=True)
pointwise("bernoulli")

# Arithmetic. Products count as sums.
pointwise(
    "add",
    affine=((0, 1),),
    addend=1,
    passes=under_a_sum,
    linearized=linearized.with_addend,
    aliases=("__add__", "__radd__", "__iadd__"),
)
pointwise(
    "sub",
    affine=((0, 1),),
    addend=-1,
    passes=partial(under_a_sum, sign=-1),
    linearized=linearized.difference,
    aliases=("__sub__", "__isub__"),
)
pointwise("rsub", affine=((0, 1),), aliases=("__rsub__",))
pointwise("neg", affine=FIRST, linearized=linearized.opposite, aliases=("__neg__",))
pointwise(
    "mul",
    affine=((0,), (1,)),
    passes=under_a_product,
    linearized=linearized.product_of(torch.mul),
    aliases=("multiply", "__mul__", "__rmul__", "__imul__"),
)
pointwise("div", affine=FIRST, linearized=linearized.numerator, aliases=("__truediv__", "__itruediv__"))
pointwise("addcmul", affine=((0, 1), (0, 2)))
pointwise("where", affine=((1, 2),), passes=as_chosen, linearized=linearized.chosen)
pointwise("masked_fill", affine=FIRST, passes=under_a_fill, linearized=linearized.filled)
pointwise("maximum", "minimum", affine=((0, 1),), rectifier=True)
pointwise("abs", affine=FIRST, rectifier=True)
pointwise("cos", "erf", "exp", "expm1", "log", "log1p", "pow", "sin", "sqrt", "square")
pointwise("reciprocal", "rsqrt", linearized=linearized.constant_one)
pointwise("fill", "floor", "sign")

# Activations.
activation = partial(pointwise, activation=True, linearized=linearized.identity)
activation("relu", affine=FIRST, rectifier=True)
activation("relu6", affine=FIRST, rectifier=True)
activation("hardtanh", affine=FIRST, rectifier=True)
activation("clamp", "clamp_max", "clamp_min", affine=FIRST, rectifier=True, aliases=("clip",))
activation("leaky_relu", "rrelu", affine=FIRST, rectifier=True)
activation("prelu", "_prelu_kernel", affine=FIRST, rectifier=True, channel_axis=1)
activation("threshold", affine=FIRST, rectifier=True, aliases=("_threshold",))
activation("hardshrink", affine=FIRST, rectifier=True)
activation("softshrink", affine=FIRST, rectifier=True)
activation("elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "softplus", "sigmoid", "hardsigmoid", "tanh")
activation("log_sigmoid", "softsign", "tanhshrink")


# Norms: what a statistic is taken over stays or goes together.


def _last_axes(step: Step, ndim: int) -> Sequence[int]:
    return range(ndim - len(step.args[1]), ndim)


def _given_axes(step: Step, ndim: int, position: int = 1) -> Sequence[int]:
    axes = argument(step, position, "dim", -1)
    return [axis % ndim for axis in ([axes] if isinstance(axes, int) else axes)]


def _channels(step: Step, ndim: int) -> Sequence[int]:
    return [1]


norm = partial(pointwise, norm=True)
per_channel = partial(norm, channel_axis=1, linearized=linearized.scaled)
per_channel(
    *("_native_batch_norm_legit_no_training", "batch_norm", "native_batch_norm", "cudnn_batch_norm"),
    affine=FIRST,
    label="bn",
    functions=(F.batch_norm,),
    modules=(nn.modules.batchnorm._NormBase,),
)
per_channel("instance_norm", functions=(F.instance_norm,), modules=(nn.modules.instancenorm._InstanceNorm,))
per_channel(
    *("group_norm", "native_group_norm"),
    statistics=_channels,
    functions=(F.group_norm,),
    modules=(nn.GroupNorm,),
)
norm(
    *("layer_norm", "native_layer_norm"),
    statistics=_last_axes,
    linearized=linearized.scaled,
    label="layer_norm",
    functions=(F.layer_norm,),
    modules=(nn.LayerNorm,),
)
norm(
    *("rms_norm", "_fused_rms_norm"),
    statistics=_last_axes,
    linearized=linearized.scaled,
    label="rms_norm",
    functions=(F.rms_norm,),
)
pointwise("local_response_norm", statistics=_channels, linearized=linearized.identity)
pointwise("normalize", statistics=partial(_given_axes, position=2))
softmax = partial(pointwise, statistics=_given_axes, linearized=linearized.identity, passes=forbidden_stay_out)
softmax("softmax", "_softmax", label="softmax")
softmax("log_softmax", "_log_softmax", label="log_softmax")

# What reads only the shape of its input.
define("zeros_like", "new_zeros", fills=lambda args: 0)
define("ones_like", "new_ones", fills=lambda args: 1)
define("full_like", "new_full", fills=lambda args: args[-1])


@rule(
    *("gt", "ge", "lt", "le", "eq", "ne", "logical_or", "logical_not", "logical_xor", "isnan", "isinf", "isfinite"),
    *("__or__", "__xor__", "bitwise_or", "bitwise_not", "bitwise_xor"),
    comparison=True,
)
@rule("logical_and", "__and__", "bitwise_and", comparison=True, passes=under_a_product)
def nothing(call: Call) -> Gather:
    """A comparison is constant almost everywhere: nothing flows through it."""
    return Gather(call.source_shape, call.target_shape, np.full(call.target_shape, -1))
