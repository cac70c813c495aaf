"""Random walks along the weights of a traced network, many at a time, from its inputs or from its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from scipy import sparse
from torch import Tensor

from ...dag import Dag, Step, coarsen
from ...dag.maps import Gather
from ...dag.relations import WeightLookup, map_of
from ...dag.weighted_layers import Layer, layer_of
from ...errors import InputError

__all__ = ["WalkGraph"]


class WalkGraph:
    """The paths that walks may take through a network, forwards and backwards.

    A walk stands at an element of a tensor. Through a layer it goes along one weight, chosen with a probability
    proportional to its absolute value among all that read (backwards: write) its unit, a kernel's elements being
    weights of their own; where in the plane of a feature map it lands is chosen at random, since a kernel element
    joins all places of two channels. Where several functions read an element it follows one of them, and backwards
    through a sum, a concatenation or a product one of those that make it, each as likely. Everything else
    (pooling, flattening, reshaping) it crosses along the elements that the operation joins, each as likely.

    Parameters
    ----------
    dag
        Traced by `topo.trace`.
    offsets
        Parameter name -> the number of its first weight; the others follow in row-major order. Weights of other
        parameters lead walks on but have no number.
    """

    def __init__(self, dag: Dag, offsets: Mapping[str, int]) -> None:
        self.dag = coarsen(dag.single())
        self.lookup = WeightLookup(self.dag)
        self.numbers = _Numbers(self.dag, offsets)
        nodes, outputs = self.dag.nodes, [(o.node, o.steps) for o in self.dag.outputs if o.node is not None]
        self.ends = range(len(nodes), len(nodes) + len(outputs))
        self.arcs: list[_Arc] = []
        for arc in self.dag.arcs:
            moves, shape = self._moves(arc.source, arc.steps)
            node = nodes[arc.target]
            if node.kind == "concat" and node.combine is not None and arc.slot is not None:
                moves.append(_Crossing(map_of(self.dag, (node.combine,), shape, arc.slot, self.lookup, {}).matrix()))
            elif node.kind == "product":
                moves.append(_Shift(sum(map(prod, node.shape[: arc.slot])), prod(shape)))
            self.arcs.append(_Arc(arc.source, arc.target, moves))
        shapes = []
        for end, (node_index, steps) in zip(self.ends, outputs, strict=True):
            moves, shape = self._moves(node_index, steps)
            self.arcs.append(_Arc(node_index, end, moves))
            shapes.append(shape)
        self.sources = _Places(self.dag.inputs, [nodes[i].shape for i in self.dag.inputs])
        self.targets = _Places(self.ends, shapes)

    def walk(self, starts: Tensor, forward: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Walks from the units `starts`, of the inputs or of the outputs, counted over all of them and round again.

        Parameters
        ----------
        starts
            Numbers of units.
        forward
            Whether walks go from the inputs to the outputs.
        generator
            Source of random numbers.

        Returns
        -------
        tuple
            Of all steps along a numbered weight, those of a walk in the order in which it made them: the walk's
            position in `starts`, the weight's number. Walks that reach no other end are left out.
        """
        begin, end = (self.sources, self.targets) if forward else (self.targets, self.sources)
        waiting: dict[int, list[tuple[Tensor, Tensor]]] = begin.place(starts, generator)
        leaving: dict[int, list[_Arc]] = {}
        for arc in self.arcs:
            leaving.setdefault(arc.source if forward else arc.target, []).append(arc)
        steps: list[tuple[Tensor, Tensor]] = []
        arrived = torch.zeros(len(starts), dtype=torch.bool)
        order = range(len(self.dag.nodes) + len(self.ends))
        for index in order if forward else reversed(order):
            if index not in waiting:
                continue
            walks, elements = (torch.cat(parts) for parts in zip(*waiting.pop(index), strict=True))
            if index in end.nodes:
                arrived[walks] = True
                continue
            arcs = leaving.get(index, [])
            for arc, here in zip(arcs, _choices(arcs, elements, forward, generator), strict=True):
                moved = arc.follow(walks[here], elements[here], forward, generator, steps)
                waiting.setdefault(arc.target if forward else arc.source, []).append(moved)
        if not steps:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        walks, weights = (torch.cat(parts) for parts in zip(*steps, strict=True))
        counted = arrived[walks] & (weights >= 0)
        walks, weights = walks[counted], weights[counted]
        in_turn = walks.argsort(stable=True)
        return walks[in_turn], weights[in_turn]

    def _moves(self, source: int, steps: tuple[Step, ...]) -> tuple[list[_Move], tuple[int, ...]]:
        """The moves of consecutive steps, and the shape they end at."""
        node = self.dag.nodes[source]
        slots = list(node.shape) if node.kind == "product" else [node.shape]
        moves: list[_Move] = []
        views: list[Step] = []

        def finish() -> None:
            if not views:
                return
            maps = [map_of(self.dag, tuple(views), shape, slot, self.lookup, {}) for slot, shape in enumerate(slots)]
            if len(maps) > 1 or any(_moves_elements(part) for part in getattr(maps[0], "maps", maps)):
                moves.append(_Crossing(sparse.vstack([element_map.matrix() for element_map in maps], format="csr")))
            slots[:] = [maps[0].target_shape]
            views.clear()

        for step in steps:
            layer = layer_of(self.dag, step) if len(slots) == 1 or views else None
            if layer is None or not layer.uniform:
                views.append(step)
                continue
            finish()
            magnitude = self.lookup(layer.weight).magnitude
            if not magnitude.isfinite().all():
                raise InputError(f"the weights {layer.weight!r} are not all finite; look for NaN in the model.")
            moves.append(_Weights(magnitude.cpu(), layer, step, self.numbers(layer.weight)))
            slots[:] = [step.shape]
        finish()
        return moves, slots[0]


class _Places:
    """The units at one side of the network: the first axis behind the samples of every tensor there."""

    def __init__(self, nodes: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> None:
        self.nodes, self.shapes = nodes, shapes
        self.units = torch.tensor([prod(shape[1:2]) for shape in shapes])

    def place(self, starts: Tensor, generator: torch.Generator) -> dict[int, list[tuple[Tensor, Tensor]]]:
        """Walks at an element of their unit, drawn at random: node -> [(walks, elements)]."""
        units = starts % self.units.sum()
        last = self.units.cumsum(0)
        tensor = torch.searchsorted(last, units, right=True)
        placed = {}
        for number, (node, shape) in enumerate(zip(self.nodes, self.shapes, strict=True)):
            walks = (tensor == number).nonzero().flatten()
            inside = prod(shape[2:])
            unit = units[walks] - (last[number] - self.units[number])
            placed[node] = [(walks, unit * inside + torch.randint(inside, (len(walks),), generator=generator))]
        return placed


@dataclass(frozen=True)
class _Arc:
    source: int
    target: int
    moves: list[_Move]

    def follow(
        self,
        walks: Tensor,
        elements: Tensor,
        forward: bool,
        generator: torch.Generator,
        steps: list[tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Where walks get to; those that cannot go on are left out, the weights they pass are noted in `steps`."""
        for move in self.moves if forward else reversed(self.moves):
            elements, weights = move.step(elements, forward, generator)
            on = elements >= 0
            walks, elements = walks[on], elements[on]
            if weights is not None:
                steps.append((walks, weights[on]))
        return walks, elements


class _Shift:
    """Into one entry of a product node, whose elements are those of its entries one after the other."""

    def __init__(self, start: int, size: int) -> None:
        self.start, self.size = start, size

    def leads_on(self, elements: Tensor, forward: bool) -> Tensor:
        inside = (elements >= self.start) & (elements < self.start + self.size)
        return torch.ones_like(inside) if forward else inside

    def step(self, elements: Tensor, forward: bool, generator: torch.Generator) -> tuple[Tensor, None]:
        return elements + (self.start if forward else -self.start), None


class _Crossing:
    """Through an operation without weights, to one of the elements it joins with this one."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.tables = {
            forward: (torch.from_numpy(table.indptr), torch.from_numpy(table.indices))
            for forward, table in ((True, matrix), (False, matrix.T.tocsr()))
        }

    def leads_on(self, elements: Tensor, forward: bool) -> Tensor:
        first, _ = self.tables[forward]
        return first[elements + 1] > first[elements]

    def step(self, elements: Tensor, forward: bool, generator: torch.Generator) -> tuple[Tensor, None]:
        first, joined = self.tables[forward]
        start, count = first[elements].long(), (first[elements + 1] - first[elements]).long()
        chosen = start + (torch.rand(len(elements), generator=generator, dtype=torch.float64) * count).long()
        if len(joined) == 0:
            return torch.full_like(elements, -1), None
        return torch.where(count > 0, joined[chosen.clamp(max=len(joined) - 1)].long(), -1), None


class _Weights:
    """Through a layer, along one of its weights."""

    def __init__(self, magnitude: Tensor, layer: Layer, step: Step, numbers: Tensor | int | None) -> None:
        self.numbers = numbers
        leading, inner = magnitude.shape[:2] if layer.groups > 1 or magnitude.ndim > 2 else magnitude.shape
        per_group = leading // layer.groups
        # (groups, outputs, inputs, places in the kernel), whatever the order in the weight.
        kernel = magnitude.reshape(layer.groups, per_group, inner, -1)
        self.transposed = layer.reads == 0
        self.shape = kernel.shape
        first, second = kernel.permute(0, 2, 1, 3), kernel
        by_input, by_output = (second, first) if self.transposed else (first, second)
        self.sums = {True: _cumulative(by_input), False: _cumulative(by_output)}
        self.rows = {True: by_input.shape[0] * by_input.shape[1], False: by_output.shape[0] * by_output.shape[1]}
        source, target = step.source_shapes[0], step.shape
        self.area = {True: prod(source[layer.source_axis + 1 :]), False: prod(target[layer.target_axis + 1 :])}

    def leads_on(self, elements: Tensor, forward: bool) -> Tensor:
        return torch.ones_like(elements, dtype=torch.bool)

    def step(self, elements: Tensor, forward: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows, others = self.rows[forward], self.rows[not forward]
        before, unit = elements // self.area[forward] // rows, elements // self.area[forward] % rows
        sums = self.sums[forward]
        columns = len(sums) // rows
        low = torch.where(unit > 0, sums[(unit * columns - 1).clamp(min=0)], 0.0)
        high = sums[(unit + 1) * columns - 1]
        draw = torch.rand(len(elements), generator=generator, dtype=torch.float64)
        place = torch.searchsorted(sums, low + draw * (high - low), right=True)
        # Where all weights of a unit are zero, one is as likely as another.
        place = torch.where(high > low, place, unit * columns + (draw * columns).long())
        place = torch.minimum(torch.maximum(place, unit * columns), (unit + 1) * columns - 1) % columns
        group, own = unit // (rows // self.shape[0]), unit % (rows // self.shape[0])
        other, tap = place // self.shape[3], place % self.shape[3]
        leading, inner = (own, other) if forward == self.transposed else (other, own)
        weight = ((group * self.shape[1] + leading) * self.shape[2] + inner) * self.shape[3] + tap
        landed = group * (others // self.shape[0]) + other
        area = self.area[not forward]
        spot = torch.randint(area, (len(elements),), generator=generator)
        return (before * others + landed) * area + spot, self._number(weight)

    def _number(self, weight: Tensor) -> Tensor:
        if isinstance(self.numbers, Tensor):
            return self.numbers[weight]
        return torch.full_like(weight, -1) if self.numbers is None else weight + self.numbers


_Move = _Shift | _Crossing | _Weights


def _cumulative(kernel: Tensor) -> Tensor:
    return kernel.reshape(-1).double().cumsum(0)


def _choices(arcs: list[_Arc], elements: Tensor, forward: bool, generator: torch.Generator) -> list[Tensor]:
    """For every arc the walks that follow it: each one of those that lead on from its element, as likely."""
    first = [(arc.moves[0] if forward else arc.moves[-1]) if arc.moves else None for arc in arcs]
    always = torch.ones(len(elements), dtype=torch.bool)
    open_ways = [always if move is None else move.leads_on(elements, forward) for move in first]
    draw = torch.rand(len(elements), generator=generator, dtype=torch.float64)
    turn = (draw * sum(way.long() for way in open_ways)).long()
    chosen = []
    for way in open_ways:
        chosen.append(way & (turn == 0))
        turn -= way.long()
    return chosen


def _moves_elements(part: object) -> bool:
    return not (isinstance(part, Gather) and part.index is None)


class _Numbers:
    """Numbers of the weights of a layer, also of one whose weight is cut from a parameter, such as attention's."""

    def __init__(self, dag: Dag, offsets: Mapping[str, int]) -> None:
        self.dag, self.offsets = dag, offsets

    def __call__(self, name: str) -> Tensor | int | None:
        if name in self.dag.state:
            return self.offsets.get(name)
        parameters = self.dag.parameters_behind([name])
        if len(parameters) != 1 or parameters[0] not in self.offsets:
            return None
        parameter = self.dag.state[parameters[0]]
        # The parameter's weights replaced by their numbers show which of them a view holds.
        counted = torch.arange(parameter.numel(), dtype=torch.float64, device=parameter.device).view(parameter.shape)
        index = self.dag.values({**self.dag.state, parameters[0]: counted})[name].flatten().long()
        value = self.dag.values()[name].detach().flatten()
        inside = (index >= 0) & (index < parameter.numel())
        if not inside.all() or not torch.equal(parameter.detach().flatten()[index], value):
            return None
        return index.cpu() + self.offsets[parameters[0]]
