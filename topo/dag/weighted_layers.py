"""Steps with a weight, as layers: which axes of the weight read and write which axis of the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .additive_graph import AdditiveGraph
from .elements import Hole, Step, Value

__all__ = ["Layer", "layer_of", "layers_by_arc"]


@dataclass(frozen=True)
class Layer:
    """A step that multiplies its input by a weight matrix or kernel.

    Attributes
    ----------
    weight, bias
        Names of the values; a weight may also be computed from parameters. The bias may be None.
    reads, writes
        The axes of the weight that run over the units of the input and of the output.
    source_axis, target_axis
        The axes of the input and the output tensor that these units lie along.
    groups
        Of a grouped convolution; the axis of the weight that is shared by the groups counts the units of one group.
    positions
        How often every weight is used on one sample, so that layer and sample cost ``positions * weights``
        multiply-accumulates.
    """

    weight: str
    bias: str | None
    reads: int
    writes: int
    source_axis: int
    target_axis: int
    groups: int
    positions: int


def layer_of(dag: AdditiveGraph, step: Step) -> Layer | None:
    """The step as a layer; None when it has no weight, or its weight is not a matrix or a kernel.

    The Dag's shapes must be those of one sample.
    """
    if len(step.source_shapes) != 1 or not step.shape:
        return None
    source, target, args = step.source_shapes[0], step.shape, step.args
    name = step.name
    if name == "linear":
        return _dense(args[1], args[2] if len(args) > 2 else step.kwargs.get("bias"), 1, 0, source, target)
    if name in ("mm", "matmul", "addmm"):
        bias, (left, right) = (args[0], args[1:3]) if name == "addmm" else (None, args[:2])
        if isinstance(left, Hole) and isinstance(right, Value) and len(_shape(dag, right)) == 2:
            return _dense(right, bias, 0, 1, source, target)
        return None
    if "conv" not in name or not isinstance(args[1], Value):
        return None
    spatial = len(_shape(dag, args[1])) - 2
    if name == "convolution":
        transposed, groups = bool(args[6]), args[8]
    else:
        transposed = "transpose" in name
        groups = args[6] if len(args) > 6 else step.kwargs.get("groups", 1)
    bias = args[2] if len(args) > 2 else step.kwargs.get("bias")
    axis = len(target) - spatial - 1
    samples = prod((source if transposed else target)[:axis])
    places = prod((source if transposed else target)[axis + 1 :])
    reads, writes = (0, 1) if transposed else (1, 0)
    return Layer(args[1].name, _name(bias), reads, writes, axis, axis, int(groups), samples * places)


def layers_by_arc(dag: AdditiveGraph) -> tuple[tuple[tuple[int, Layer], ...], ...]:
    """For every arc the layers that it applies, in order, each with the number of its step among the arc's steps."""
    return tuple(
        tuple((number, layer) for number, step in enumerate(arc.steps) if (layer := layer_of(dag, step)) is not None)
        for arc in dag.arcs
    )


def _dense(
    weight: object, bias: object, reads: int, writes: int, source: tuple[int, ...], target: tuple[int, ...]
) -> Layer | None:
    if not isinstance(weight, Value):
        return None
    return Layer(weight.name, _name(bias), reads, writes, len(source) - 1, len(target) - 1, 1, prod(source[:-1]))


def _name(value: object) -> str | None:
    return value.name if isinstance(value, Value) else None


def _shape(dag: AdditiveGraph, value: Value) -> tuple[int, ...]:
    return tuple(dag.state[value.name].shape) if value.name in dag.state else dag.constants[value.name].shape
