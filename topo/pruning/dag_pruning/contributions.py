"""What parts of a network contribute where they could stop to: values and slopes of arcs and of input channels.

A *contribution* is the value of an arc into a sum, or of an input channel of a layer (an index along the axis of its
weight that it reads along). All that a candidate takes with it stops some set of contributions, and linearity of sums
and layers makes the contributions of a set add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...dag.dag import Dag, Step
from ...dag.interpreter import Interpreter
from ...dag.relations import WeightLookup, map_of
from ...datasets.inputs import Inputs
from ...errors import InputError
from ..task import Task
from .prunable_network import PrunableNetwork

__all__ = ["Contributions", "energies", "path_mass", "slopes"]


@dataclass(frozen=True)
class HeldContributions:
    """The contributions that one tensor of the network holds.

    Attributes
    ----------
    numbers
        Their numbers, in order.
    axis
        The axis that they lie along; None where the whole tensor is one contribution.
    shape
        The tensor's shape for one sample.
    """

    numbers: slice
    axis: int | None
    shape: tuple[int, ...]


class Contributions:
    """The contributions of a network, numbered from 0: arcs into sums first, then the input channels of one layer after
    the other.

    Parameters
    ----------
    network
        The network.

    Attributes
    ----------
    arcs
        Arc into a sum -> the number of its contribution.
    channels
        (arc, number of the step) of a layer -> weight, and the numbers of its input channels.
    reading
        Weight -> the numbers of the input channels of its last layer.
    count
        How many contributions there are.
    """

    def __init__(self, network: PrunableNetwork) -> None:
        dag = network.dag
        sums = [a for a, arc in enumerate(dag.arcs) if dag.nodes[arc.target].kind == "sum"]
        self.arcs = {arc: number for number, arc in enumerate(sums)}
        self.channels: dict[tuple[int, int], tuple[str, range]] = {}
        self.count = len(sums)
        self._held: dict[tuple[int, int | None], HeldContributions] = {}
        for arc, number in self.arcs.items():
            steps = dag.arcs[arc].steps
            shape = steps[-1].shape if steps else dag.nodes[dag.arcs[arc].source].shape
            self._held[arc, None] = HeldContributions(slice(number, number + 1), None, shape)
        for arc, layers in enumerate(network.layers):
            for step, layer in layers:
                # A grouped convolution's channels go on into others, and where these are read they count.
                if layer.groups == 1 and layer.weight in dag.state:
                    size = dag.state[layer.weight].shape[layer.reads]
                    self.channels[arc, step] = (layer.weight, range(self.count, self.count + size))
                    shape = dag.arcs[arc].steps[step].source_shapes[0]
                    self._held[arc, step] = HeldContributions(
                        slice(self.count, self.count + size), layer.source_axis, shape
                    )
                    self.count += size
        self.reading = dict(self.channels.values())

    def held(self, arc: int, step: int | None) -> HeldContributions | None:
        """The contributions held by the value of an arc (`step` None), or by what enters this step of it, if any.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.
        step
            Number of a step of the arc.

        Returns
        -------
        HeldContributions or None
            Their numbers, and the axis along which they lie.
        """
        return self._held.get((arc, step))


def slopes(
    task: Task, network: PrunableNetwork, contributions: Contributions, inputs: Inputs, targets: Tensor
) -> np.ndarray:
    """<dloss/dz, contribution> of every sample and contribution, float64 (samples, contributions).

    The loss is that of one sample.

    Parameters
    ----------
    task
        The model and its loss.
    network
        Its graph.
    contributions
        What is watched.
    inputs, targets
        A batch of samples.

    Returns
    -------
    array
        float64, (samples, contributions).
    """
    products = np.zeros((len(targets), contributions.count))
    starts: list[Tensor] = []

    def observe(arc: int, step: int | None, value: Tensor) -> Tensor:
        held = contributions.held(arc, step)
        if held is None or not value.is_floating_point():
            return value
        if not value.requires_grad:
            value = value.detach().requires_grad_()
            starts.append(value)
        # The node's own value is read elsewhere too; a view has the slope of this contribution alone.
        value = value.view_as(value)
        fixed = value.detach()

        def note(gradient: Tensor) -> None:
            products[:, held.numbers] += _by_sample(gradient * fixed, held, len(targets))

        value.register_hook(note)
        return value

    with _observed(task, network, observe, starts):
        loss = task.loss(inputs, targets) * len(targets)
    if loss.requires_grad and starts:
        torch.autograd.grad(loss, starts, allow_unused=True)
    return products


@torch.no_grad()
def energies(
    task: Task, network: PrunableNetwork, contributions: Contributions, inputs: Inputs, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the samples of |contribution|^2 and of |what it is a part of|^2, float64 (contributions,) each.

    An arc is part of its target; a channel is part of all that its layer reads.

    Parameters
    ----------
    task
        The model.
    network
        Its graph.
    contributions
        What is watched.
    inputs
        A batch.
    samples
        How many samples it holds.

    Returns
    -------
    tuple
        Two arrays, float64, (contributions,): those of the contributions, and those of what they are parts of.
    """
    of_parts, of_totals = np.zeros(contributions.count), np.zeros(contributions.count)
    open_sums: dict[int, Tensor] = {}
    last = {arc.target: number for number, arc in enumerate(network.dag.arcs)}

    def observe(arc: int, step: int | None, value: Tensor) -> Tensor:
        held = contributions.held(arc, step)
        if held is None:
            return value
        squares = _by_sample(value.double().square(), held, samples).sum(0)
        of_parts[held.numbers] = squares
        if step is not None:
            of_totals[held.numbers] = squares.sum()
            return value
        target = network.dag.arcs[arc].target
        open_sums[target] = open_sums[target] + value if target in open_sums else value
        if arc == last[target]:
            into = [contributions.arcs[a] for a in network.dag.places_into[target]]
            of_totals[into] = float(open_sums.pop(target).double().square().sum())
        return value

    with _observed(task, network, observe, []):
        task.forward(inputs)
    return of_parts, of_totals


def path_mass(network: PrunableNetwork, contributions: Contributions, masks: Mapping[str, Tensor]) -> np.ndarray:
    """The mass of all paths of single elements through every contribution, float64 (1, contributions).

    A path weighs the product of the absolute weights along it; norms and activations pass on as they are, as in the
    graph of the network (`topo.dag.structure`). The mass of all paths is the sum of the outputs of this linear twin at
    an input of ones, and that of a contribution is <derivative, value> there.

    Parameters
    ----------
    network
        The network.
    contributions
        What is asked about.
    masks
        Parameter name -> mask; parameters without one are kept.

    Returns
    -------
    array
        float64, (1, contributions).

    Raises
    ------
    InputError
        When the mass is too large for a float.
    """
    dag = network.dag
    device = next(iter(dag.state.values())).device
    with torch.enable_grad():
        ones = [
            torch.ones(dag.nodes[node].shape, dtype=torch.float64, device=device, requires_grad=True)
            for node in dag.inputs
        ]
        twin = _LinearTwin(network, contributions, masks)
        mass = twin.add([value.sum() for value in twin.evaluate(ones) if isinstance(value, Tensor)])
    if not torch.isfinite(mass):
        raise InputError("the mass of the paths of the network is too large for a float; use another score.")
    slopes = torch.autograd.grad(mass, [value for _, value in twin.noted], allow_unused=True, materialize_grads=True)
    masses = np.zeros((1, contributions.count))
    for (held, value), slope in zip(twin.noted, slopes, strict=True):
        masses[:, held.numbers] += _by_sample(slope * value.detach(), held, 1)
    return masses


class _LinearTwin(Interpreter):
    """Evaluates the network with the absolute values of its weights, norms and activations passing on as they are.

    Attributes
    ----------
    noted
        Contributions and the tensor that holds them.
    """

    def __init__(self, network: PrunableNetwork, contributions: Contributions, masks: Mapping[str, Tensor]) -> None:
        super().__init__(network.dag)
        self.network, self.contributions = network, contributions
        self.lookup = WeightLookup(network.dag, masks)
        self.noted: list[tuple[HeldContributions, Tensor]] = []

    def arc(self, place: int, operands: tuple[Tensor, ...]) -> Tensor:
        steps = self.network.dag.arcs[place].steps
        cuts = [step for step, _ in self.network.layers[place]]
        for start, stop in pairwise(sorted({0, *cuts, len(steps)})):
            held = self.contributions.held(place, start) if start in cuts else None
            if held is not None:
                # The value is read in several places; a view of it has the slope of one.
                operands = (operands[0].view_as(operands[0]),)
                self.noted.append((held, operands[0]))
            operands = (self.follow(steps[start:stop], operands),)
        return operands[0].view_as(operands[0])

    def follow(self, steps: Sequence[Step], operands: tuple[Tensor, ...]) -> Tensor:
        if not steps:
            return operands[0]
        moved = [self._through(tuple(steps), operand, slot) for slot, operand in enumerate(operands)]
        return self.add(moved)

    def _through(self, steps: tuple[Step, ...], value: Tensor, slot: int) -> Tensor:
        part = map_of(self.network.dag, steps, tuple(value.shape), slot, self.lookup, {})
        return part.apply(value.reshape(part.source_shape)).reshape(part.target_shape)

    def join(self, node: int, arrived: Mapping[int, Tensor]) -> Any:
        kind, combine, shape = self.dag.nodes[node].kind, self.dag.nodes[node].combine, self.dag.nodes[node].shape
        if kind == "sum":
            self.noted += [(held, value) for a, value in arrived.items() if (held := self.contributions.held(a, None))]
            return self.add([value.reshape(shape) for value in arrived.values()])
        if combine is None:
            return super().join(node, arrived)
        slots = {self.dag.arcs[place].slot or 0: value for place, value in arrived.items()}
        return self.add(
            [
                self._through((combine,), slots[slot].reshape(combine.source_shapes[slot]), slot).reshape(shape)
                for slot in sorted(slots)
            ]
        )


def _by_sample(values: Tensor, held: HeldContributions, samples: int) -> np.ndarray:
    """Sums of values over all but the samples and, where there is one, the axis of the contributions, as (samples, 1)
    or (samples, length).

    The samples lie along the axis that is longer than for a single one. Where there is none such they cannot be told
    apart, and the sum over all is given to the first.
    """
    values, axis, single = values.double(), held.axis, held.shape
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


Observe = Callable[[int, int | None, Tensor], Tensor]
"""Shown the value of an arc (its second argument None), or what enters the step with this number of an arc; returns
the value to go on with."""


class _Observing(Interpreter):
    """Evaluates the coarse Dag and shows every arc's value and every layer's input."""

    def __init__(self, dag: Dag, layer_steps: Sequence[frozenset[int]], observe: Observe) -> None:
        super().__init__(dag)
        self.layer_steps, self.observe = layer_steps, observe

    def arc(self, place: int, operands: tuple[Any, ...]) -> Any:
        for number, step in enumerate(self.dag.arcs[place].steps):
            if number in self.layer_steps[place]:
                operands = (self.observe(place, number, operands[0]),)
            operands = (self.step(step, operands),)
        return self.observe(place, None, operands[0])


class _ObservedNetwork(nn.Module):
    """The network as a module that is evaluated along its coarse Dag and observed on the way."""

    def __init__(self, network: PrunableNetwork, observe: Observe, starts: list[Tensor]) -> None:
        super().__init__()
        self.dag, self.observe, self.starts = network.dag, observe, starts
        self.layer_steps = [frozenset(step for step, _ in layers) for layers in network.layers]

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        dag = self.dag.for_inputs(*inputs, **keywords)
        if torch.is_grad_enabled():
            inputs, keywords = pytree.tree_map_only(Tensor, self._start, (inputs, keywords))
        return _Observing(dag, self.layer_steps, self.observe).run(*inputs, **keywords)

    def _start(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        self.starts.append(tensor.detach().requires_grad_())
        return self.starts[-1]


@contextmanager
def _observed(task: Task, network: PrunableNetwork, observe: Observe, starts: list[Tensor]) -> Iterator[None]:
    """Make the task's model one that is observed; `starts` is given the tensors that gradients can be taken by."""
    model = task.model
    task.model = _ObservedNetwork(network, observe, starts)
    try:
        yield
    finally:
        task.model = model
