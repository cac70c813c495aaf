"""Operations that treat every element alike, norms among them, and those through which nothing flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ..elements import Hole, Step
from ..maps import AxisMaps, Chain, Gather, LinearMap, Weight
from . import linearized
from .aten import CAST
from .contractions import ones
from .record import FIRST, Call, argument, define, operator_of, rule
from .selection import (
    as_chosen,
    as_interpolated,
    by_factors,
    compared,
    elementwise,
    forbidden_stay_out,
    nothing,
    of_ones,
    places,
    under_a_fill,
    under_a_product,
    under_a_sum,
    where_passed,
)

__all__ = ["nothing"]


def _last_two_axes(step: Step, ndim: int) -> Sequence[int]:
    return (ndim - 2, ndim - 1)


pointwise = partial(define, map=elementwise, pointwise=True)


def to_the(power: float) -> Callable[[Step], float | None]:
    """What grows to this power with its input.

    Parameters
    ----------
    power
        The exponent.

    Returns
    -------
    callable
        For `Operator.grows`.
    """
    return lambda step: power


def _exponent(step: Step) -> float | None:
    exponent = step.args[1]
    return float(exponent) if isinstance(step.args[0], Hole) and isinstance(exponent, int | float) else None


def _square_or_same(step: Step) -> float | None:
    """A product of the input with itself, or with a number."""
    return float(sum(isinstance(factor, Hole) for factor in step.args[:2]))


def _numerator(step: Step) -> float | None:
    """A quotient by a number, or of a number."""
    numerator, denominator = (isinstance(given, Hole) for given in step.args[:2])
    return None if numerator == denominator else 1.0 if numerator else -1.0


# Copies, and what does nothing in evaluation mode.
copied = partial(pointwise, affine=FIRST, silent=True, grows=to_the(1.0))
copied("clone", "dropout", modules=(nn.modules.dropout._DropoutNd,))
copied("alias", "contiguous", "detach", "lift_fresh_copy", "to", "_to_copy")
define(
    "type_as",  # of the other tensor nothing but the type of its numbers is read
    composition=lambda compose, input, other: compose(CAST, input, compose.type_of(other)),
)
pointwise("native_dropout", affine=FIRST, silent=True)
pointwise("bernoulli")

# Arithmetic. Products count as sums.
pointwise(
    "add",
    grows=to_the(1.0),
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
    grows=to_the(1.0),
    passes=partial(under_a_sum, sign=-1),
    linearized=linearized.difference,
    aliases=("__sub__", "__isub__"),
)
pointwise("rsub", affine=((0, 1),), aliases=("__rsub__",))
pointwise("neg", affine=FIRST, grows=to_the(1.0), linearized=linearized.opposite, aliases=("__neg__",))
pointwise(
    "mul",
    affine=((0,), (1,)),
    grows=_square_or_same,
    balanced_by=-1.0,
    passes=under_a_product,
    linearized=linearized.product_of(torch.mul),
    aliases=("multiply", "__mul__", "__rmul__", "__imul__"),
)
pointwise(
    "div",
    affine=FIRST,
    grows=_numerator,
    balanced_by=1.0,
    linearized=linearized.numerator,
    aliases=("__truediv__", "__itruediv__"),
)
pointwise("addcmul", affine=((0, 1), (0, 2)), passes=by_factors)
pointwise("addcdiv", affine=((0, 1),))
pointwise("lerp", affine=((0, 1),), passes=as_interpolated)
pointwise("atan2", "copysign", "float_power", "fmod", "hypot", "logaddexp", "logaddexp2", "remainder", "xlogy")
pointwise("tril", "triu", affine=FIRST, passes=of_ones, statistics=_last_two_axes)
pointwise("where", affine=((1, 2),), passes=as_chosen, linearized=linearized.chosen)
pointwise("masked_fill", affine=FIRST, passes=under_a_fill, linearized=linearized.filled)
pointwise("maximum", "minimum", "fmax", "fmin", affine=((0, 1),), rectifier=True)
pointwise("abs", affine=FIRST, rectifier=True, grows=to_the(1.0))
pointwise("exp", exponential=True)
pointwise("cos", "erf", "expm1", "log", "log1p", "sin")
pointwise("pow", grows=_exponent)
pointwise("square", grows=to_the(2.0))
pointwise("sqrt", grows=to_the(0.5))
pointwise("reciprocal", grows=to_the(-1.0), linearized=linearized.constant_one)
pointwise("rsqrt", grows=to_the(-0.5), linearized=linearized.constant_one)
pointwise(
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "tan", "digamma", "lgamma", "erfc", "erfinv"
)
pointwise("exp2", exponential=True)
pointwise("log2", "log10", "sinc", "logit", "nan_to_num", "deg2rad", "rad2deg")
pointwise("floor", "ceil", "round", "trunc", "frac", "sign", "sgn")

# Activations.
activation = partial(pointwise, activation=True, linearized=linearized.identity)
activation("relu", affine=FIRST, rectifier=True)
activation("relu6", affine=FIRST, rectifier=True)
activation("hardtanh", affine=FIRST, rectifier=True)
activation("clamp", "clamp_max", "clamp_min", affine=FIRST, rectifier=True, aliases=("clip",), grows=to_the(1.0))
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


def _given_axes(step: Step, ndim: int) -> Sequence[int]:
    axes = argument(step, 1, "dim", -1)
    return [axis % ndim for axis in ([axes] if isinstance(axes, int) else axes)]


def _channels(step: Step, ndim: int) -> Sequence[int]:
    return [1]


def _normalised(call: Call) -> LinearMap:
    """Element by element, the statistics being constants; where values count, each reads all that goes into its own."""
    record = operator_of(call.step)
    if record.affine or not call.by_values or call.slot:
        return elementwise(call)
    shape = call.source_shape
    axes = set(range(2, len(shape))) if record.channel_axis == 1 else set[int]()
    maps = {axis: ones(shape[axis], shape[axis]) for axis in axes}
    for axis in () if record.statistics is None else record.statistics(call.step, len(shape)):
        groups = 1 if record.groups_at is None else call.step.args[record.groups_at]
        each = torch.arange(shape[axis]) * groups // shape[axis]
        together = each[:, None] == each
        maps[axis] = Weight(together.float(), together)
    return AxisMaps(shape, call.target_shape, tuple(maps.items()))


norm = partial(pointwise, norm=True, map=_normalised)
per_channel = partial(norm, channel_axis=1, linearized=linearized.scaled)
per_channel(
    *("_native_batch_norm_legit_no_training", "batch_norm", "native_batch_norm", "cudnn_batch_norm"),
    affine=FIRST,
    label="bn",
    functions=(F.batch_norm,),
    modules=(nn.modules.batchnorm._NormBase,),
)
per_channel("_native_batch_norm_legit", label="bn", functions=())  # by the statistics of the batch
per_channel("instance_norm", functions=(F.instance_norm,), modules=(nn.modules.instancenorm._InstanceNorm,))
per_channel("group_norm", statistics=_channels, groups_at=1, functions=(F.group_norm,), modules=(nn.GroupNorm,))
per_channel("native_group_norm", statistics=_channels, modules=(nn.GroupNorm,))
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
# Exported as the operations that it is made of, and recognised among them.
norm("normalize", statistics=_given_axes, functions=())
# Exported as the operations that it is made of: every channel depends on its neighbours.
define("local_response_norm", linearized=linearized.identity)


def _share_a_sum(call: Call) -> LinearMap:
    """Every result along the axis depends on all scores that are not forbidden."""
    shape = call.source_shape
    (axis,) = _given_axes(call.step, len(shape))
    shared = AxisMaps(shape, shape, ((axis, ones(shape[axis], shape[axis])),))
    passed = None if call.is_open else forbidden_stay_out(call)
    if passed is None or passed.all():
        return shared
    allowed = where_passed(passed, shape, shape)
    return Chain((allowed, shared, allowed))


softmax = partial(
    pointwise,
    statistics=_given_axes,
    exact=_share_a_sum,
    linearized=linearized.identity,
    passes=forbidden_stay_out,
)
softmax("softmax", "_softmax", label="softmax")
softmax("log_softmax", "_log_softmax", label="log_softmax")

# What reads only the shape of its input.
define("zeros_like", "new_zeros", fills=lambda args: 0)
define("ones_like", "new_ones", fills=lambda args: 1)
define("full_like", "new_full", fills=lambda args: args[-1])
define("fill", fills=lambda args: args[-1] if isinstance(args[-1], int | float) else None)


comparison = partial(define, map=compared, comparison=True)
comparison("gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "isfinite", "logical_or", "logical_not", "logical_xor")
comparison("__or__", "__xor__", "bitwise_or", "bitwise_not", "bitwise_xor")
comparison("logical_and", "__and__", "bitwise_and", passes=under_a_product)
define("argmax", "argmin", "argsort", "searchsorted", "bucketize", "one_hot", "count_nonzero", "all", "any", map=places)


@rule("copy", "fill", affine=((1,),))
def _copied(call: Call) -> Gather:
    """The second argument in the shape of the first."""
    source = call.step.args[1]
    return elementwise(call) if isinstance(source, Hole) and source.slot == call.slot else nothing(call)
