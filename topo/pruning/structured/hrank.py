"""HRank: filter pruning using high-rank feature maps (Lin et al., CVPR 2020, arXiv 2002.10179)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...dag import Dag, Output
from ...dag.channel_coupling import CoupledChannels
from ...dag.operators import operator_of
from ...dag.weighted_layers import layer_of
from ...datasets.inputs import call_model
from ...validation import whole_number
from ..registry import PRUNERS
from ..samples import chunks
from ..task import Task
from .unit_scoring import by_unit_score

__all__ = ["hrank"]


@PRUNERS.register("hrank", family="structured", stage="trained", paper="Lin et al. 2020", needs_data=True)
@by_unit_score(scope="group")
def hrank(task: Task, channels: CoupledChannels, *, samples: int = 64, batch_size: int = 32) -> Tensor:
    """Mean rank of the feature maps of a unit over a few samples, ranked inside its layer.

    The map of a filter is what its convolution gives behind the norm, the addition and the activation that follow
    it, as far as nothing else reads what is in between. A rank counts as a share of the full one, the map's smaller
    side: inside a layer this changes no order, and layers of other sizes compare. A unit has the mean over its maps.
    A linear layer's map is one value for each sample, or one column for a sequence, whose rank tells whether the unit
    is active; units behind activations that are never zero all score alike.

    Parameters
    ----------
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    batch_size
        The most samples that go through the network at a time, from 1 up.
    """
    dag = channels.dag
    places = _maps(dag)
    watched = replace(dag, outputs=tuple(Output(node) for node, _ in places), output_spec=None)
    total = torch.zeros(channels.count, dtype=torch.float64)
    count = torch.zeros(channels.count, dtype=torch.float64)
    # A network traced for one sample only takes one at a time.
    size = whole_number("batch_size", batch_size, minimum=1) if dag.symbols else 1
    for inputs, _ in chunks(task.samples.batch(whole_number("samples", samples, minimum=1)), size):
        with torch.no_grad():
            values = call_model(watched, task.on_device(inputs))
        for (node, axis), value in zip(places, values if len(places) > 1 else (values,), strict=True):
            units = channels.nodes[node]
            assert isinstance(units, Tensor), "what a layer writes is one tensor"
            unit = units.movedim(axis, 0).flatten(1)[:, 0]
            ranks = _rank_share(value.movedim(axis, 1)).sum(dim=0).double().cpu()
            total.index_add_(0, unit[unit >= 0], ranks[unit >= 0])
            count.index_add_(0, unit[unit >= 0], torch.full_like(ranks, len(value))[unit >= 0])
    return total / count.clamp(min=1)


def _rank_share(maps: Tensor) -> Tensor:
    """Rank of every map as a share of its smaller side, (samples, channels), of maps (samples, channels, ...)."""
    if maps.ndim < 4:
        maps = maps.flatten(2) if maps.ndim == 3 else maps.unsqueeze(2)
        return maps.any(dim=2).double()
    maps = maps.flatten(2, -2)
    sides = maps.shape[-2:]
    if maps.element_size() < 4:  # no decomposition of 16 bits: what they round away is no rank
        return torch.linalg.matrix_rank(maps.float(), rtol=max(sides) * torch.finfo(maps.dtype).eps) / min(sides)
    return torch.linalg.matrix_rank(maps) / min(sides)


def _maps(dag: Dag) -> list[tuple[int, int]]:
    """The nodes that hold the feature maps of layers, each with the axis of the channels."""
    maps: dict[tuple[int, int], None] = {}
    for arc in dag.arcs:
        for step in arc.steps:
            layer = layer_of(dag, step)
            if layer is not None and dag.nodes[arc.target].shape == step.shape:
                maps[_behind(dag, arc.target), layer.target_axis] = None
    return list(maps)


def _behind(dag: Dag, node: int) -> int:
    """The node to which norm, addition and activation bring a layer's output."""
    while len(dag.arcs_from[node]) == 1:
        (arc,) = dag.arcs_from[node]
        target = dag.nodes[arc.target]
        records = [operator_of(step) for step in arc.steps]
        passes = all(record.norm or record.activation or record.entry for record in records)
        if target.kind != "sum" or target.shape != dag.nodes[node].shape or not passes:
            return node
        node = arc.target
        if any(record.activation for record in records):
            return node
    return node
