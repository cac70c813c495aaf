"""Steps with a weight, as layers: which axes of the weight read and write which axis of the tensors."""

from __future__ import annotations

from .additive_graph import AdditiveGraph
from .elements import Step
from .operators import Layer, operator_of, weight_of

__all__ = ["Layer", "layer_of", "layers_by_arc"]


def layer_of(dag: AdditiveGraph, step: Step) -> Layer | None:
    """The step as a layer; None when it has no weight, or its weight is not a matrix or a kernel.

    The Dag's shapes must be those of one sample.

    Parameters
    ----------
    dag
        The network, at any level of detail.
    step
        One of its operations.

    Returns
    -------
    Layer or None
        Its weight, the axes that read and write, and its groups.
    """
    layer = operator_of(step).layer
    weight = weight_of(step)
    if layer is None or weight is None or not step.shape:
        return None
    known = dag.state.get(weight.name)
    found = layer(step, weight, dag.constants[weight.name].shape if known is None else tuple(known.shape))
    if found is None or operator_of(step).kernel or dag.parameters_behind([weight.name]):
        return found
    # A constant matrix from the left, such as the edges of a graph, only mixes positions.
    is_right = found.uniform and found.source_axis == len(step.source_shapes[0]) - 1
    return found if is_right else None


def layers_by_arc(dag: AdditiveGraph) -> tuple[tuple[tuple[int, Layer], ...], ...]:
    """For every arc the layers that it applies, in order, each with the number of its step among the arc's steps.

    Parameters
    ----------
    dag
        The network, at any level of detail.

    Returns
    -------
    tuple
        One tuple of (number of the step, `Layer`) for each arc.
    """
    return tuple(
        tuple((number, layer) for number, step in enumerate(arc.steps) if (layer := layer_of(dag, step)) is not None)
        for arc in dag.arcs
    )
