"""What each operation means for the graph: one rule an operation, or a family of operations.

A rule takes a `Call` and returns the map from the slot in question to the result. To teach the toolkit a new
operation, add its name to `POINTWISE` or `VIEWS`, or write a rule of a few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..dag import Hole, Step, Value
from .maps import AxisMaps, Chain, Convolution, Gather, LinearMap, Union, Weight

__all__ = ["PARAMETRIC", "RULES", "Call", "is_parametric", "is_pooling", "step_map"]

# Normalisations count as element-wise: their statistics are treated as constants.
POINTWISE = frozenset(
    [
        "abs",
        "alias",
        "batch_norm",
        "_native_batch_norm_legit_no_training",
        "cudnn_batch_norm",
        "native_batch_norm",
        "clamp",
        "clamp_max",
        "clamp_min",
        "clone",
        "contiguous",
        "cos",
        "celu",
        "detach",
        "div",
        "dropout",
        "elu",
        "erf",
        "exp",
        "expm1",
        "fill",
        "floor",
        "gelu",
        "group_norm",
        "native_group_norm",
        "hardshrink",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "instance_norm",
        "layer_norm",
        "native_layer_norm",
        "leaky_relu",
        "lift_fresh_copy",
        "log",
        "log1p",
        "log_sigmoid",
        "log_softmax",
        "_log_softmax",
        "masked_fill",
        "maximum",
        "minimum",
        "mish",
        "mul",
        "native_dropout",
        "neg",
        "pow",
        "prelu",
        "reciprocal",
        "relu",
        "relu6",
        "rms_norm",
        "_fused_rms_norm",
        "rrelu",
        "rsqrt",
        "rsub",
        "selu",
        "sigmoid",
        "sign",
        "silu",
        "sin",
        "softmax",
        "_softmax",
        "softplus",
        "softshrink",
        "softsign",
        "sqrt",
        "square",
        "sub",
        "tanh",
        "tanhshrink",
        "threshold",
        "to",
        "_to_copy",
        "add",
        "addcmul",
        "where",
        "bernoulli",
        "local_response_norm",
        "normalize",
    ]
)
VIEWS = frozenset(
    [
        "_reshape_alias",
        "_unsafe_view",
        "as_strided",
        "atleast_2d",
        "broadcast_to",
        "cat",
        "channel_shuffle",
        "chunk",
        "concat",
        "constant_pad_nd",
        "diagonal",
        "expand",
        "expand_as",
        "flatten",
        "flip",
        "gather",
        "getitem",
        "im2col",
        "index",
        "index_select",
        "movedim",
        "narrow",
        "pad",
        "permute",
        "pixel_shuffle",
        "pixel_unshuffle",
        "reflection_pad1d",
        "reflection_pad2d",
        "repeat",
        "repeat_interleave",
        "replication_pad1d",
        "replication_pad2d",
        "reshape",
        "roll",
        "select",
        "select_scatter",
        "slice",
        "slice_scatter",
        "split",
        "split_with_sizes",
        "squeeze",
        "stack",
        "swapaxes",
        "t",
        "tile",
        "transpose",
        "unbind",
        "unflatten",
        "unfold",
        "unsqueeze",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "view",
        "view_as",
    ]
)


@dataclass(frozen=True)
class Call:
    """One step as seen from one of its inputs: arguments by position or name, and the weights it may read."""

    step: Step
    slot: int
    values: Mapping[str, Tensor]
    weigh: Callable[[str], Weight]
    options: Mapping[str, Any]

    @property
    def source_shape(self) -> tuple[int, ...]:
        return self.step.source_shapes[self.slot]

    @property
    def target_shape(self) -> tuple[int, ...]:
        return self.step.shape

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument as traced: a `Hole`, a `Value` or a plain value."""
        if position < len(self.step.args):
            return self.step.args[position]
        return self.step.kwargs.get(name, default)

    def integers(self, position: int, name: str, default: Any, count: int) -> tuple[int, ...]:
        """An argument of `count` integers; a single one is repeated."""
        found = self.argument(position, name, default)
        values = [int(v) for v in ([found] if isinstance(found, int) else found)]
        return tuple(values * count if len(values) == 1 else values)

    def flows_into(self, position: int) -> bool:
        """Whether the argument at `position` is the input this call is seen from."""
        found = self.step.args[position]
        return isinstance(found, Hole) and found.slot == self.slot

    def weight(self, position: int, name: str = "weight") -> Weight:
        found = self.argument(position, name)
        if isinstance(found, Hole):
            raise self.refusal("its weight is computed from the input")
        return self.weigh(found.name)

    def refusal(self, why: str) -> InputError:
        """The error for a step that has no element-level meaning."""
        where = f"module {self.step.module!r}" if self.step.module else "the model"
        return InputError(
            f"cannot encode operation {self.step.name!r} of {where}: {why}; replace the operation or leave that "
            "part of the network out."
        )


Rule = Callable[[Call], LinearMap]
RULES: dict[str, Rule] = {}
PARAMETRIC: set[str] = set()


def rule(*names: str, parametric: bool = False) -> Callable[[Rule], Rule]:
    """Register the rule of the operations called `names`; `parametric` ones have a weight and make a node."""

    def add(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
            if parametric:
                PARAMETRIC.add(name)
        return function

    return add


def is_parametric(step: Step) -> bool:
    """Whether the step multiplies its one input by a weight matrix or kernel, so that its result is a node."""
    if step.name not in PARAMETRIC:
        return False
    leaves = [arg for arg in step.args if isinstance(arg, Hole | Value)]
    return any(isinstance(leaf, Value) for leaf in leaves) and len(step.source_shapes) == 1


def is_pooling(step: Step) -> bool:
    """Whether the step pools windows or whole axes."""
    return "pool" in step.name or step.name in ("mean", "amax")


def step_map(call: Call) -> LinearMap:
    """The map of one step from one of its slots; raises `InputError` for an operation without a rule."""
    name = call.step.name
    if name in RULES:
        return RULES[name](call)
    if name in VIEWS:
        return _view(call)
    if name in POINTWISE:
        return _pointwise(call)
    raise call.refusal("the toolkit knows no element-level meaning for it")


def _pointwise(call: Call) -> Gather:
    """Element by element, broadcast where the result is larger."""
    if call.source_shape == call.target_shape:
        return Gather(call.source_shape, call.target_shape)
    return _broadcast(call.source_shape, call.target_shape)


def _broadcast(source_shape: tuple[int, ...], target_shape: tuple[int, ...]) -> Gather:
    """Elements repeated to fill a larger shape."""
    index = np.arange(prod(source_shape)).reshape(source_shape)
    return Gather.reading(source_shape, target_shape, np.broadcast_to(index, target_shape))


def _view(call: Call) -> Gather:
    """Run the operation on element numbers and read where each result element came from.

    A second run with all numbers shifted tells apart the elements that come from a constant.
    """
    step, n = call.step, prod(call.source_shape)
    numbers = torch.arange(n, dtype=torch.float64).reshape(call.source_shape)
    sizes = call.options["sizes"]
    runs = []
    for shift in (1.0, n + 1.0):
        slots = [torch.zeros(shape, dtype=torch.float64) for shape in step.source_shapes]
        slots[call.slot] = numbers + shift
        slots_or_tuple = (tuple(slots),) if step.name == "getitem" else tuple(slots)
        values = {name: _as_double(call.values[name]) for name in step.values}
        runs.append(step.run(slots_or_tuple, values, sizes))
    if isinstance(runs[0], list | tuple):
        raise call.refusal("it returns a tuple that is not read entry by entry")
    moved = (runs[1] - runs[0]) == n
    index = torch.where(moved, runs[0] - 1, -1.0).to(torch.int64)
    return Gather.reading(call.source_shape, call.target_shape, index.numpy())


def _as_double(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


@rule("linear", "addmm", "mm", "matmul", "bmm", parametric=True)
def _matrix_product(call: Call) -> LinearMap:
    """A weight times the last axis, or the product of two activations, each taken as the sum over the other."""
    name, args = call.step.name, call.step.args
    if name == "linear":
        return _along_last(call, call.weight(1))
    if name == "addmm":
        args = args[1:]
    left, right = args[0], args[1]
    if isinstance(right, Value):
        weight = call.weigh(right.name)
        if weight.kept.ndim == 2:
            return _along_last(call, Weight(weight.magnitude.T, weight.kept.T))
        raise call.refusal("its constant factor has more than two axes")
    if isinstance(left, Value):
        weight = call.weigh(left.name)
        if weight.kept.ndim == 2 and len(call.source_shape) >= 2:
            return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 2, weight),))
        raise call.refusal("its constant factor has more than two axes")
    ones = []
    if isinstance(left, Hole) and left.slot == call.slot:
        ones.append(_factor(call, -1, call.target_shape[-1]))
    if isinstance(right, Hole) and right.slot == call.slot:
        ones.append(_factor(call, -2, call.target_shape[-2]))
    return ones[0] if len(ones) == 1 else Union(tuple(ones))


def _along_last(call: Call, weight: Weight) -> AxisMaps:
    return AxisMaps(call.source_shape, call.target_shape, ((len(call.source_shape) - 1, weight),))


def _factor(call: Call, axis: int, length: int) -> LinearMap:
    """From a factor of a matrix product to the result: every element along `axis` reaches all `length` places."""
    source, target = call.source_shape, call.target_shape
    if len(source) < 2 or len(target) < 2:
        raise call.refusal("products with vectors are not supported")
    ones = _ones(length, source[axis])
    replaced = list(source)
    replaced[axis] = length
    spread = AxisMaps(source, tuple(replaced), ((len(source) + axis, ones),))
    if tuple(replaced) == target:
        return spread
    return Chain((spread, _broadcast(tuple(replaced), target)))


def _ones(rows: int, columns: int) -> Weight:
    return Weight(torch.ones(rows, columns), torch.ones(rows, columns, dtype=torch.bool))


@rule("bilinear", "lstm", "gru", "rnn_tanh", "rnn_relu", "embedding", "sort", "topk", "argmax", "cumsum")
def _unsupported(call: Call) -> LinearMap:
    raise call.refusal("it has no fixed relation between elements that the toolkit knows")


@rule(
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    parametric=True,
)
def _convolution(call: Call) -> LinearMap:
    weight = call.weight(1)
    dimensions = weight.kept.ndim - 2
    stride = call.integers(3, "stride", 1, dimensions)
    padding = call.argument(4, "padding", 0)
    name = call.step.name
    if name == "convolution":
        transposed, groups = bool(call.argument(6, "transposed")), int(call.argument(8, "groups"))
        dilation = call.integers(5, "dilation", 1, dimensions)
    elif name.startswith("conv_transpose"):
        transposed, groups = True, int(call.argument(6, "groups", 1))
        dilation = call.integers(7, "dilation", 1, dimensions)
    else:
        transposed, groups = False, int(call.argument(6, "groups", 1))
        dilation = call.integers(5, "dilation", 1, dimensions)
    if isinstance(padding, str):
        reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.kept.shape[2:], strict=True)]
        pairs = tuple((r // 2, r - r // 2) for r in reach)
    else:
        pairs = tuple((p, p) for p in call.integers(4, "padding", 0, dimensions))
    source, target = call.source_shape, call.target_shape
    if len(source) == dimensions + 1:
        source, target = (1, *source), (1, *target)
    return Convolution(source, target, weight, stride, pairs, dilation, groups, transposed)


@rule("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(call: Call) -> AxisMaps:
    dimensions = 1 if "1d" in call.step.name else 2 if "2d" in call.step.name else 3
    kernel = call.integers(1, "kernel_size", None, dimensions)
    dilation = call.integers(4, "dilation", 1, dimensions)
    return _windows(call, kernel, call.argument(2, "stride", ()) or kernel, call.argument(3, "padding", 0), dilation)


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _average_pool(call: Call) -> AxisMaps:
    dimensions = int(call.step.name[-2])
    kernel = call.integers(1, "kernel_size", None, dimensions)
    return _windows(
        call, kernel, call.argument(2, "stride", ()) or kernel, call.argument(3, "padding", 0), (1,) * dimensions
    )


def _windows(call: Call, kernel: Any, stride: Any, padding: Any, dilation: Any) -> AxisMaps:
    """Every element of a window, padding aside, reaches the window's result."""
    count = len(kernel)
    stride, padding = ([v] * count if isinstance(v, int) else (list(v) * count)[:count] for v in (stride, padding))
    first = len(call.source_shape) - count
    maps = []
    for axis in range(count):
        length, places = call.source_shape[first + axis], call.target_shape[first + axis]
        taps = np.arange(kernel[axis]) * dilation[axis] - padding[axis]
        positions = np.add.outer(np.arange(places) * stride[axis], taps)
        inside = (positions >= 0) & (positions < length)
        kept = np.zeros((places, length), bool)
        kept[np.nonzero(inside)[0], positions[inside]] = True
        maps.append((first + axis, _pooling_weight(call, kept)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


@rule(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d"
)
def _adaptive_pool(call: Call) -> AxisMaps:
    count = int(call.step.name[-2])
    first = len(call.source_shape) - count
    maps = []
    for axis in range(first, len(call.source_shape)):
        length, places = call.source_shape[axis], call.target_shape[axis]
        place, position = np.arange(places)[:, None], np.arange(length)[None, :]
        kept = (position >= place * length // places) & (position < -((place + 1) * length // -places))
        maps.append((axis, _pooling_weight(call, kept)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


@rule("mean", "sum", "amax", "amin", "max", "min", "logsumexp", "linalg_vector_norm", "norm")
def _reduction(call: Call) -> AxisMaps:
    """Every element along the reduced axes reaches the result."""
    rank = len(call.source_shape)
    axes = call.argument(2 if "norm" in call.step.name else 1, "dim")
    axes = range(rank) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    maps = []
    for axis in sorted(a % rank for a in axes):
        maps.append((axis, _pooling_weight(call, np.ones((1, call.source_shape[axis]), bool))))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


def _pooling_weight(call: Call, kept: np.ndarray) -> Weight:
    """Ones, or with the option ``weights="mean"`` one over the size of the window."""
    magnitude = kept.astype(np.float64)
    if call.options.get("weights") == "mean":
        magnitude /= np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return Weight(torch.from_numpy(magnitude), torch.from_numpy(kept))


@rule(
    "upsample_bilinear2d", "upsample_linear1d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "upsample_trilinear3d"
)
def _interpolation(call: Call) -> AxisMaps:
    """Interpolation along each axis, its coefficients read off the operation itself."""
    count = int(call.step.name.removesuffix("_aa")[-2])
    first = len(call.source_shape) - count
    maps = []
    for axis in range(first, len(call.source_shape)):
        length = call.source_shape[axis]
        # Ones along the other axes stay ones, so a basis along this one shows its coefficients alone.
        probe = torch.eye(length, dtype=torch.float64).reshape(
            (length, 1, *(length if a == axis else 1 for a in range(first, len(call.source_shape))))
        )
        probe = probe.expand(length, 1, *call.source_shape[first:])
        out = call.step.run((probe,), {}, call.options["sizes"])
        picked = out[(slice(None), 0, *(slice(None) if a == axis else 0 for a in range(first, len(call.source_shape))))]
        coefficients = picked.T
        maps.append((axis, Weight(coefficients.abs(), coefficients.abs() > 1e-12)))
    return AxisMaps(call.source_shape, call.target_shape, tuple(maps))


@rule("gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_or", "logical_not", "isnan", "isinf", "isfinite")
def _nothing(call: Call) -> Gather:
    """A comparison is constant almost everywhere: nothing flows through it."""
    return Gather(call.source_shape, call.target_shape, np.full(call.target_shape, -1))


@rule("einsum")
def _einsum(call: Call) -> LinearMap:
    """A product of activations: summed axes reach one place, axes of other operands alone are filled."""
    inputs, _, result = call.step.args[0].replace(" ", "").partition("->")
    if "." in inputs or not result:
        raise call.refusal("its equation has an ellipsis or no result")
    maps = []
    for labels, operand in zip(inputs.split(","), call.step.args[1], strict=True):
        if not isinstance(operand, Hole):
            raise call.refusal("one of its operands is a constant")
        if operand.slot == call.slot:
            maps.append(_einsum_operand(call, labels, result))
    return maps[0] if len(maps) == 1 else Union(tuple(maps))


def _einsum_operand(call: Call, labels: str, result: str) -> LinearMap:
    if len(set(labels)) != len(labels):
        raise call.refusal("its equation repeats an index of one operand")
    shape = call.source_shape
    summed = [axis for axis, label in enumerate(labels) if label not in result]
    short = tuple(1 if axis in summed else length for axis, length in enumerate(shape))
    reduced = AxisMaps(shape, short, tuple((axis, _ones(1, shape[axis])) for axis in summed))
    numbers = np.arange(prod(short)).reshape(short).squeeze(tuple(summed))
    left = [label for label in labels if label in result]
    ordered = numbers.transpose([left.index(label) for label in result if label in left])
    spread = ordered[tuple(slice(None) if label in left else None for label in result)]
    placed = Gather.reading(short, call.target_shape, np.broadcast_to(spread, call.target_shape))
    return Chain((reduced, placed)) if summed else placed


@rule("scaled_dot_product_attention")
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
        axes = ((rank - 2, allowed), (rank - 1, _ones(depth, width)))
        maps.append(AxisMaps(call.source_shape, call.target_shape, axes))
    if query.slot == call.slot and exact:
        maps.append(AxisMaps(call.source_shape, call.target_shape, ((rank - 1, _ones(depth, width)),)))
    if not maps:
        return _nothing(call)
    return maps[0] if len(maps) == 1 else Union(tuple(maps))


def _allowed(call: Call, length: int, tokens: int) -> Weight:
    """Which tokens may be attended to: (queries, keys)."""
    mask = call.argument(3, "attn_mask")
    if isinstance(mask, Hole):
        raise call.refusal("its mask is computed from the input")
    allowed = torch.ones(length, tokens, dtype=torch.bool)
    if call.argument(5, "is_causal", False):
        allowed = allowed.tril()
    if isinstance(mask, Value):
        given = call.values[mask.name].detach().cpu()
        given = given if given.dtype == torch.bool else given > -torch.inf
        allowed &= given.reshape(-1, *given.shape[-2:]).any(dim=0)
    return Weight(allowed.double(), allowed)
