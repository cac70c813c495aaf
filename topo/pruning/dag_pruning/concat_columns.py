"""Which columns of which weights read one slot of a concatenation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...dag.dag import Arc, Dag, Step
from ...dag.relations import WeightLookup, map_of
from ...dag.weighted_layers import Layer
from ...errors import InputError

__all__ = ["slot_columns"]


def slot_columns(dag: Dag, layers: Sequence[tuple[tuple[int, Layer], ...]]) -> dict[int, dict[str, np.ndarray]]:
    """For arcs into concatenations, weight -> which indices of the axis it reads along hold the slot, bool.

    The mapping is plain, and the arc is here, when everything that reads the concatenation is a layer behind
    operations under which each of its input channels holds elements of this slot only, or none, and its weight is used
    nowhere else.

    Parameters
    ----------
    dag
        Coarse, its shapes for one sample.
    layers
        For every arc its layers, each with the place of its step.

    Returns
    -------
    dict
        Place of an arc -> name of a weight -> bool array.
    """
    lookup = WeightLookup(dag)
    results = {o.node for o in dag.outputs}
    uses = Counter(layer.weight for applied in layers for _, layer in applied)
    by_arc: dict[int, dict[str, np.ndarray]] = {}
    for node, value in enumerate(dag.nodes):
        combine = value.combine
        if combine is None or node in results or combine.values:
            continue
        leaving = dag.places_from[node]
        if not all(layers[place] for place in leaving):
            continue
        slots = dag.places_into[node]
        marks = _marks(dag, combine, [dag.arcs[place].slot or 0 for place in slots], lookup)
        if marks is None:
            continue
        per_reader = [_read(dag, dag.arcs[place], layers[place][0], marks, lookup) for place in leaving]
        for number, slot in enumerate(slots):
            columns: dict[str, np.ndarray] = {}
            for place, read in zip(leaving, per_reader, strict=True):
                name = layers[place][0][1].weight
                along = None if read is None else read[number]
                if along is None or name not in dag.state or uses[name] > 1:
                    break
                columns[name] = along
            else:
                by_arc[slot] = columns
    return by_arc


def _marks(dag: Dag, combine: Step, slots: Sequence[int], lookup: WeightLookup) -> Tensor | None:
    """For each of these slots the elements of the concatenation that it fills, float (slots, elements)."""
    marks = []
    for slot in slots:
        shape = combine.source_shapes[slot]
        try:
            marks.append(map_of(dag, (combine,), shape, slot, lookup, {}).apply(torch.ones(shape)).reshape(-1))
        except InputError:
            return None
    return torch.stack(marks)


def _read(
    dag: Dag, arc: Arc, first: tuple[int, Layer], marks: Tensor, lookup: WeightLookup
) -> list[np.ndarray | None] | None:
    """For every slot the input channels of the arc's first layer that hold it; None where they hold others too."""
    position, layer = first
    if layer.groups > 1:
        return None
    shape = dag.nodes[arc.source].shape
    try:
        through = map_of(dag, arc.steps[:position], shape, 0, lookup, {})
    except InputError:
        return None
    source = arc.steps[position].source_shapes[0]
    # An element of the layer's input may gather several of the concatenation, as in pooling.
    held = torch.stack([through.apply(mark.reshape(shape)).reshape(source) > 0 for mark in marks])
    channels = held.movedim(1 + layer.source_axis, 1).flatten(2).any(dim=2)
    shared = channels.sum(dim=0) > 1
    return [None if (of_slot & shared).any() else of_slot.numpy() for of_slot in channels]
