"""Convolutions over one to three axes, plain and transposed, also with a kernel that is computed from the input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..edge_list import EdgeList
from ..elements import Hole, Step, Value
from ..maps import Chain, Convolution, Gather, LinearMap, Union, Weight
from ..matrices import merge_duplicates
from .record import Call, Layer, argument, define
from .selection import broadcast


@dataclass(frozen=True)
class _Convolution:
    """A form of convolution: where its arguments stand, and whether it is transposed (None: an argument says so)."""

    transposed: bool | None
    dilation: int
    groups: int

    def is_transposed(self, step: Step) -> bool:
        return bool(argument(step, 6, "transposed")) if self.transposed is None else self.transposed

    def map(self, call: Call) -> LinearMap:
        """From the input by the kernel; a kernel or a bias that is computed from the input reaches what it is for."""
        given, kernel, bias = (*call.step.args, None)[:3]
        maps: list[LinearMap] = []
        if given == Hole(call.slot):
            maps.append(self._from_input(call, _kernel(call, kernel)))
        if kernel == Hole(call.slot):
            maps.append(_from_kernel(self._from_input(call, _kernel(call, kernel)), call))
        if bias == Hole(call.slot):
            maps.append(_from_bias(call, self._from_input(call, _kernel(call, kernel))))
        return maps[0] if len(maps) == 1 else Union(tuple(maps))

    def _from_input(self, call: Call, weight: Weight) -> Convolution:
        dimensions = weight.kept.ndim - 2
        stride = call.integers(3, "stride", 1, dimensions)
        dilation = call.integers(self.dilation, "dilation", 1, dimensions)
        (groups,) = call.integers(self.groups, "groups", 1, 1)
        padding = call.argument(4, "padding", 0)
        if isinstance(padding, str):
            sizes = weight.kept.shape[2:]
            reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, sizes, strict=True)]
            pairs = tuple((r // 2, r - r // 2) for r in reach)
        else:
            pairs = tuple((p, p) for p in call.integers(4, "padding", 0, dimensions))
        source, target = call.shape_of(call.step.args[0]), call.target_shape
        if len(source) == dimensions + 1:
            source, target = (1, *source), (1, *target)
        transposed = self.is_transposed(call.step)
        return Convolution(source, target, weight, stride, pairs, dilation, groups, transposed)

    def layer(self, step: Step, weight: Value, shape: tuple[int, ...]) -> Layer:
        transposed = self.is_transposed(step)
        source, target = step.source_shapes[0], step.shape
        axis = len(target) - (len(shape) - 2) - 1
        # A weight is used once for every position of the tensor that the kernel slides over.
        slid = source if transposed else target
        reads, writes = (0, 1) if transposed else (1, 0)
        groups = int(argument(step, self.groups, "groups", 1))
        bias = argument(step, 2, "bias")
        positions = prod(slid[:axis]) * prod(slid[axis + 1 :])
        name = bias.name if isinstance(bias, Value) else None
        return Layer(weight.name, name, reads, writes, axis, axis, groups, positions)


def _kernel(call: Call, given: Any) -> Weight:
    """A weight; of one that is computed from the input nothing is known, so that all of it counts."""
    if isinstance(given, Value):
        return call.lookup(given.name)
    shape = call.shape_of(given)
    return Weight(torch.ones(shape), torch.ones(shape, dtype=torch.bool))


def _from_kernel(convolution: Convolution, call: Call) -> EdgeList:
    """From every element of the kernel to the results that it is multiplied into."""
    shape, area = call.source_shape, prod(convolution.target_shape[2:])
    first, second = (index.ravel() for index in np.indices(shape[:2]))
    _, channel = convolution.channels(first, second)
    sources, targets = [], []
    for taps, _, positions in convolution.placements():
        number = np.ravel_multi_index((first, second, *(np.full_like(first, tap) for tap in taps)), shape)
        reached = np.add.outer(channel * area, positions)
        for sample in range(convolution.target_shape[0]):
            sources.append(np.broadcast_to(number[:, None], reached.shape).ravel())
            targets.append(reached.ravel() + sample * prod(convolution.target_shape[1:]))
    ends = np.concatenate(sources), np.concatenate(targets)
    edges = merge_duplicates(np.ones(len(ends[0]), np.float32), *ends, (prod(shape), prod(call.target_shape)))
    return EdgeList(shape, call.target_shape, edges)


def _from_bias(call: Call, convolution: Convolution) -> Gather:
    dimensions = len(convolution.stride)
    along = (*call.source_shape, *(1,) * dimensions)
    return Gather(call.source_shape, call.target_shape, broadcast(along, call.target_shape).index)


def _convolutions(*names: str, form: _Convolution) -> None:
    define(
        *names,
        map=form.map,
        layer=form.layer,
        weights=(1,),
        kernel=True,
        affine=((0, 2), (1, 2)),
        modules=(nn.modules.conv._ConvNd,),
        trained=True,
    )


_convolutions("conv1d", "conv2d", "conv3d", form=_Convolution(transposed=False, dilation=5, groups=6))
_convolutions(
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    form=_Convolution(transposed=True, dilation=7, groups=6),
)
_convolutions("convolution", form=_Convolution(transposed=None, dilation=5, groups=8))


def _time_first(call: Call) -> LinearMap:
    """A convolution along the first axis, of (time, samples, channels), by a kernel (time, inputs, outputs)."""
    given, weight, bias, around = (*call.step.args, 0)[:4]
    if not call.reads(given) or call.reads(bias) or not isinstance(weight, Value):
        raise call.refusal("its weight or bias is computed from the input")
    kernel = call.lookup(weight.name)
    turned = Weight(kernel.magnitude.permute(2, 1, 0), kernel.kept.permute(2, 1, 0))
    source, target = ((shape[1], shape[2], shape[0]) for shape in (call.source_shape, call.target_shape))
    read, written = (np.arange(prod(shape)).reshape(shape) for shape in (call.source_shape, target))
    first = Gather.reading(call.source_shape, source, read.transpose(1, 2, 0))
    last = Gather.reading(target, call.target_shape, written.transpose(2, 0, 1))
    return Chain((first, Convolution(source, target, turned, (1,), ((around, around),), (1,), 1, False), last))


def _time_first_layer(step: Step, weight: Value, shape: tuple[int, ...]) -> Layer:
    bias = step.args[2]
    name = bias.name if isinstance(bias, Value) else None
    return Layer(weight.name, name, 1, 2, 2, 2, 1, prod(step.shape[:2]), uniform=False)


def conv_tbc(given: Tensor, weight: Tensor, bias: Tensor, padding: int = 0) -> Tensor:
    """The convolution, which torch computes of tensors alone that are contiguous.

    Parameters
    ----------
    given
        (time, samples, channels).
    weight, bias, padding
        As `torch.conv_tbc` takes them.

    Returns
    -------
    Tensor
        (time, samples, channels).
    """
    return torch.conv_tbc(given.contiguous(), weight, bias, padding)


define(
    "conv_tbc",
    map=_time_first,
    layer=_time_first_layer,
    weights=(1,),
    kernel=True,
    affine=((0, 2), (1, 2)),
    any_layout=conv_tbc,
)
