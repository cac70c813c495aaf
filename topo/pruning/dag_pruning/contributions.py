"""What the places of a network contribute where they could stop: values and slopes of arcs and of input channels.

A *place* is an arc into a sum, or an input channel of a layer (an index along the axis of its weight that it reads
along). All that a candidate takes with it stops to contribute at some set of places, and linearity of sums and layers
makes the contributions of these places add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...dag.dag import Step
from ...dag.relations import WeightLookup, map_of
from ...decomposition.state import Batch
from ...errors import InputError
from ..samples import Inputs
from ..task import Task
from .prunable_network import Network

__all__ = ["Places", "energies", "path_mass", "slopes"]

See = Callable[[int, int | None, Tensor], Tensor]
"""Shown the value of an arc (its second argument None), or what enters the step with this number of an arc; returns
the value to go on with."""


class Places:
    """The places of a network, numbered from 0: arcs into sums first, then the input channels of one layer after the
    other.

    Attributes
    ----------
    arcs
        Arc into a sum -> its place.
    channels
        (arc, number of the step) of a layer -> weight and the places of its input channels.
    count
        How many places there are.
    """

    def __init__(self, network: Network) -> None:
        dag = network.dag
        sums = [a for a, arc in enumerate(dag.arcs) if dag.nodes[arc.target].kind == "sum"]
        self.arcs = {arc: place for place, arc in enumerate(sums)}
        self.channels: dict[tuple[int, int], tuple[str, range]] = {}
        self.axes: dict[tuple[int, int], int] = {}
        self.count = len(sums)
        for arc, layers in enumerate(network.layers):
            for step, layer in layers:
                # A grouped convolution's channels go on into others, and where these are read they count.
                if layer.groups == 1 and layer.weight in dag.state:
                    size = dag.state[layer.weight].shape[layer.reads]
                    self.channels[arc, step] = (layer.weight, range(self.count, self.count + size))
                    self.axes[arc, step] = layer.source_axis
                    self.count += size
        self.reading = dict(self.channels.values())


def slopes(task: Task, network: Network, places: Places, inputs: Inputs, targets: Tensor) -> np.ndarray:
    """<dloss/dz, contribution> of every sample and place, float64 (samples, places), the loss that of one sample."""
    found = np.zeros((len(targets), places.count))

    def see(arc: int, step: int | None, value: Tensor) -> Tensor:
        here, axis, shape = _place(network, places, arc, step)
        if here is None or not value.is_floating_point():
            return value
        if not value.requires_grad:
            value = value.detach().requires_grad_()
            starts.append(value)
        # The node's own value is read elsewhere too; a view has the slope of this place alone.
        value = value.view_as(value)
        fixed = value.detach()

        def note(gradient: Tensor) -> None:
            found[:, here] += _by_sample(gradient * fixed, shape, len(targets), axis)

        value.register_hook(note)
        return value

    starts: list[Tensor] = []
    with _watched(task, network, see, starts):
        loss = task.loss(inputs, targets) * len(targets)
    if loss.requires_grad and starts:
        torch.autograd.grad(loss, starts, allow_unused=True)
    return found


@torch.no_grad()
def energies(task: Task, network: Network, places: Places, inputs: Inputs, samples: int) -> tuple[np.ndarray, ...]:
    """Sums over the samples of |contribution|^2 and of |what it is a part of|^2, float64 (places,) each.

    An arc is part of its target; a channel is part of all that its layer reads.
    """
    part, whole = np.zeros(places.count), np.zeros(places.count)
    open_sums: dict[int, Tensor] = {}
    last = {arc.target: number for number, arc in enumerate(network.dag.arcs)}

    def see(arc: int, step: int | None, value: Tensor) -> Tensor:
        here, axis, shape = _place(network, places, arc, step)
        if here is None:
            return value
        squares = _by_sample(value.double().square(), shape, samples, axis).sum(0)
        part[here] = squares
        if step is not None:
            whole[here] = squares.sum()
            return value
        target = network.dag.arcs[arc].target
        open_sums[target] = open_sums[target] + value if target in open_sums else value
        if arc == last[target]:
            into = [places.arcs[a] for a in network.places_into[target]]
            whole[into] = float(open_sums.pop(target).double().square().sum())
        return value

    with _watched(task, network, see, []):
        task.forward(inputs)
    return part, whole


def path_mass(network: Network, places: Places, masks: dict[str, Tensor]) -> np.ndarray:
    """The mass of all paths of single elements through every place, float64 (1, places).

    A path weighs the product of the absolute weights along it; norms and activations pass on as they are, as in the
    graph of the network (`topo.dag.structure`). The mass of all paths is the sum of the outputs of this linear twin at
    an input of ones, and that of a place is <derivative, value> there.
    """
    dag = network.dag
    lookup = WeightLookup(dag, masks)
    found = np.zeros((1, places.count))
    device = next(iter(dag.state.values())).device
    seen: list[tuple[Any, int | None, tuple[int, ...], Tensor]] = []

    def along(
        arc_steps: tuple[Any, ...], shapes: tuple[Any, ...], values: tuple[Tensor, ...], arc: int | None
    ) -> Tensor:
        cuts = [step for step, _ in network.layers[arc]] if arc is not None else []
        for start, stop in pairwise(sorted({0, *cuts, len(arc_steps)})):
            if start in cuts and (arc, start) in places.channels:
                here, axis, shape = _place(network, places, arc, start)
                values = (values[0].view_as(values[0]),)
                seen.append((here, axis, shape, values[0]))
            steps = arc_steps[start:stop]
            if not steps:
                continue
            total = None
            for slot, (shape, value) in enumerate(zip(shapes, values, strict=True)):
                part = map_of(dag, steps, shape, slot, lookup, {})
                moved = part.apply(value.reshape(part.source_shape)).reshape(part.target_shape)
                total = moved if total is None else total + moved
            values, shapes = (total,), (tuple(total.shape),)
        return values[0]

    def follow(steps: tuple[Any, ...], node: int, arc: int | None) -> Tensor:
        shapes, values = (dag.nodes[node].shape, z[node])
        if dag.nodes[node].kind != "product":
            shapes, values = (shapes,), (values,)
        return along(steps, shapes, values, arc)

    z: list[Any] = []
    starts = []
    into = network.places_into
    with torch.enable_grad():
        for index, node in enumerate(dag.nodes):
            if node.kind == "input":
                starts.append(torch.ones(node.shape, dtype=torch.float64, device=device, requires_grad=True))
                z.append(starts[-1])
                continue
            # The value of a node is read in several places; a view of it has the slope of one.
            arrived = {
                place: (value := follow(dag.arcs[place].steps, dag.arcs[place].source, place)).view_as(value)
                for place in into[index]
            }
            if node.kind == "sum":
                for place, value in arrived.items():
                    seen.append((slice(places.arcs[place], places.arcs[place] + 1), None, tuple(value.shape), value))
                z.append(sum(value.reshape(node.shape) for value in arrived.values()))
                continue
            entries = sorted(arrived.items(), key=lambda pair: dag.arcs[pair[0]].slot)
            if node.kind == "product":
                z.append(tuple(value for _, value in entries))
                continue
            shapes = node.combine.source_shapes
            total = torch.zeros(node.shape, dtype=torch.float64, device=device)
            for place, value in entries:
                slot = dag.arcs[place].slot
                part = map_of(dag, (node.combine,), shapes[slot], slot, lookup, {})
                total = total + part.apply(value.reshape(part.source_shape)).reshape(node.shape)
            z.append(total)
        mass = sum(follow(o.steps, o.node, None).sum() for o in dag.outputs if o.node is not None)
    if not torch.isfinite(mass):
        raise InputError("the mass of the paths of the network is too large for a float; use another score.")
    values = [value for *_, value in seen]
    for (here, axis, shape, value), slope in zip(
        seen, torch.autograd.grad(mass, values, allow_unused=True, materialize_grads=True), strict=True
    ):
        found[:, here] += _by_sample(slope * value.detach(), shape, 1, axis)
    return found


def _place(network: Network, places: Places, arc: int, step: int | None) -> tuple[slice | None, int | None, Any]:
    """The places that this value is of, the axis that they lie along, and its shape for one sample."""
    if step is None:
        if arc not in places.arcs:
            return None, None, None
        steps = network.dag.arcs[arc].steps
        shape = steps[-1].shape if steps else network.dag.nodes[network.dag.arcs[arc].source].shape
        return slice(places.arcs[arc], places.arcs[arc] + 1), None, shape
    if (arc, step) not in places.channels:
        return None, None, None
    _, here = places.channels[arc, step]
    shape = network.dag.arcs[arc].steps[step].source_shapes[0]
    return slice(here.start, here.stop), places.axes[arc, step], shape


def _by_sample(values: Tensor, single: tuple[int, ...], samples: int, axis: int | None) -> np.ndarray:
    """Sums of values over all but the samples and, where one is given, an axis: (samples, 1) or (samples, length).

    The samples lie along the axis that is longer than for a single one. Where there is none such they cannot be told
    apart, and the sum over all is given to the first.
    """
    values = values.double()
    batch = [d for d in range(values.ndim) if values.shape[d] != single[d]] if values.ndim == len(single) else []
    if len(batch) == 1 and batch[0] != axis and values.shape[batch[0]] == samples * single[batch[0]]:
        split, at = samples, batch[0]
    else:
        split, at = 1, None
    if axis is not None:
        values = values.movedim(axis, -1)
        if at is not None and at > axis:
            at -= 1
    else:
        values = values.unsqueeze(-1)
    length = values.shape[-1]
    if at is None:
        total = values.reshape(-1, length).sum(0, keepdim=True)
        return torch.cat([total, total.new_zeros(samples - split, length)]).cpu().numpy()
    moved = values.movedim(at, 0)
    return moved.reshape(samples, prod(moved.shape[:-1]) // samples, length).sum(1).cpu().numpy()


class Watched(nn.Module):
    """The network evaluated along its coarse Dag, with a look at every arc's value and every layer's input."""

    def __init__(self, network: Network, see: See, starts: list[Tensor]) -> None:
        super().__init__()
        self.network, self.see, self.starts = network, see, starts

    def forward(self, *inputs: Tensor) -> Any:
        dag = self.network.dag
        if not dag.symbols and any(len(x) != dag.nodes[i].shape[0] for i, x in zip(dag.inputs, inputs, strict=True)):
            dag = dag.retrace(*inputs)
        if torch.is_grad_enabled():
            inputs = tuple(x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs)
            self.starts.extend(x for x in inputs if x.requires_grad)
        batch = Batch(dag, inputs)
        z: dict[int, Any] = dict(zip(dag.inputs, inputs, strict=True))
        left = [len(arcs) + sum(o.node == node for o in dag.outputs) for node, arcs in enumerate(dag.arcs_from)]
        for index, places in enumerate(self.network.places_into):
            arrived = []
            for place in places:
                arc = dag.arcs[place]
                arrived.append((arc, self._follow(batch, z, arc.source, arc.steps, place)))
                left[arc.source] -= 1
                if not left[arc.source]:
                    del z[arc.source]
            if places:
                z[index] = batch.join(index, arrived)
        found = [o.constant if o.node is None else self._follow(batch, z, o.node, o.steps) for o in dag.outputs]
        if dag.output_spec is None:
            return found[0] if len(found) == 1 else tuple(found)
        return pytree.tree_unflatten(found, dag.output_spec)

    def _follow(
        self, batch: Batch, z: dict[int, Any], node: int, steps: tuple[Step, ...], arc: int | None = None
    ) -> Any:
        value = z[node]
        slots = value if batch.dag.nodes[node].kind == "product" else (value,)
        layers = {step for step, _ in self.network.layers[arc]} if arc is not None else ()
        for number, step in enumerate(steps):
            if number in layers:
                slots = (self.see(arc, number, slots[0]),)
            value = step.run(slots, batch.values)
            slots = (value,)
        return value if arc is None else self.see(arc, None, value)


@contextmanager
def _watched(task: Task, network: Network, see: See, starts: list[Tensor]) -> Iterator[None]:
    model = task.model
    task.model = Watched(network, see, starts)
    try:
        yield
    finally:
        task.model = model
