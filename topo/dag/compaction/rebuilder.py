"""Writing the graph of a smaller network, node by node of the Dag."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import sympy
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from ...errors import InputError
from ..channel_coupling import CoupledChannels
from ..elements import Hole, Output, Size, Step, Value, Values
from ..interpreter import Interpreter
from ..maps import Gather
from ..operators import aten, operator_of
from ..relations import WeightLookup, map_of
from ..weighted_layers import layer_of
from .arguments import argument_tensors, identifier
from .empty_nodes import find_empty_nodes
from .module_sizes import resize
from .plain_modules import does_just
from .remaining import Inseparable, Remaining
from .zero_branches import zero_arcs

__all__ = ["Rebuilder"]

Steps = tuple[Step, ...]


class Rebuilder(Interpreter):
    """Writes the graph of the smaller module: values are nodes of the new graph, in place of tensors.

    Parameters
    ----------
    model
        The module whose layers, norms and dropouts are taken over.
    channels
        Its coupled channels.
    alive
        Which of their units stay, bool (count,).
    masks
        Parameter name -> bool tensor, True where a weight is kept.
    """

    def __init__(self, model: nn.Module, channels: CoupledChannels, alive: Tensor, masks: Mapping[str, Tensor]) -> None:
        super().__init__(channels.dag)
        self.model, self.channels, self.alive, self.masks = model, channels, alive, masks
        self.lookup = WeightLookup(channels.dag)
        self.zero_arcs = zero_arcs(self.dag, masks)
        self.empty = find_empty_nodes(channels, alive)
        self.graph = fx.Graph()
        self.root: dict[str, Any] = {}
        self.written: dict[tuple[Any, ...], fx.Node] = {}
        self.sizes: dict[Any, fx.Node] = {}
        self.modules = dict(model.named_modules())
        self.parts = [
            tuple(Remaining(entry, alive) for entry in labels)
            if isinstance(labels, tuple)
            else (Remaining(labels, alive),)
            for labels in channels.nodes
        ]

    def build(self) -> fx.GraphModule:
        """The smaller module; raises `Inseparable` when an operation cannot do without units that go."""
        if self.channels.dag.example is None:
            inputs = [self.graph.placeholder(identifier(self.dag.nodes[index].name)) for index in self.dag.inputs]
        else:
            inputs = argument_tensors(self.graph, self.model, self.channels.dag.example)
        for symbol, position in self.dag.symbols:
            self.sizes[symbol] = self.graph.call_function(aten.BATCH_SIZE, (inputs[position], 0))
        self.graph.output(self.dag.rebuilt_output(self.evaluate(inputs)))
        name = f"Compact{type(self.model).__name__}"
        graph = fx.GraphModule(self.root, self.graph, class_name=name).graph
        # Random operations too, unlike the default: what is dead need draw nothing.
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        used = {node.target for node in graph.nodes if node.op in ("call_module", "get_attr")}
        built = fx.GraphModule({path: self.root[path] for path in self.root if path in used}, graph, class_name=name)
        return built.train(self.model.training)

    def places_into(self, node: int) -> Sequence[int]:
        """The arcs into a node that stays, from nodes that stay; into a sum, only those that add something."""
        if node in self.empty:
            return ()
        places = [place for place in super().places_into(node) if self.dag.arcs[place].source not in self.empty]
        if self.dag.nodes[node].kind != "sum":
            return places
        # Arcs whose value is zero add nothing, but where all are, the zeros must come from somewhere.
        return [place for place in places if self.dag.arcs[place] not in self.zero_arcs] or places

    def arc(self, place: int, operands: tuple[Any, ...]) -> Any:
        """What the operations of an arc become."""
        arc = self.dag.arcs[place]
        target = self.parts[arc.target][0] if self.dag.nodes[arc.target].kind == "sum" else None
        return self._written(arc.steps, operands, self.parts[arc.source], target)

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        """Sums, tuples of operands, and concatenations of what is left."""
        combine = self.dag.nodes[node].combine
        if combine is None:
            return super().join(node, arrived)
        places = sorted(arrived, key=lambda place: self.dag.arcs[place].slot or 0)
        (target,) = self.parts[node]
        parts = [part for place in places for part in self.parts[self.dag.arcs[place].source]]
        if any(part.box is None for part in (*parts, target)):
            raise _inseparable(f"operation {self.dag.nodes[node].name!r}", *parts, target)
        return self._plain((self._combined(combine, places),), tuple(arrived[place] for place in places), target)

    def add(self, values: Sequence[Any]) -> Any:
        """The additions of values, in order."""
        total = values[0]
        for value in values[1:]:
            total = self.graph.call_function(aten.SUM, (total, value))
        return total

    def output(self, output: Output) -> Any:
        """What the operations of an output become."""
        if output.node is None:
            return output.constant
        return self._written(output.steps, self.operands(output.node), self.parts[output.node], None)

    @staticmethod
    def _combined(combine: Step, places: Sequence[int]) -> Step:
        """A concatenation of the slots that are left."""
        if len(places) == len(combine.source_shapes):
            return combine
        holes = [Hole(slot) for slot in range(len(places))]
        return replace(combine, args=(holes, *combine.args[1:]))

    def _written(
        self, steps: Steps, slots: tuple[Any, ...], parts: tuple[Remaining, ...], target: Remaining | None
    ) -> Any:
        """Consecutive operations on what is left of some tensors."""
        position = 0
        while position < len(steps):
            step = steps[position]
            taken = 2 if not step.shape and position + 1 < len(steps) else 1
            run = steps[position : position + taken]
            # Between the steps of one arc only signs and broadcasts happen; outputs lose nothing.
            after = target if target is not None else Remaining(torch.full((), -1).expand(run[-1].shape), self.alive)
            slots, parts = (self._emit(run, slots, parts, after),), (after,)
            position += taken
        return slots[0] if len(slots) == 1 else slots

    def _emit(self, run: Steps, slots: tuple[Any, ...], parts: tuple[Remaining, ...], target: Remaining) -> fx.Node:
        step = run[0]
        named = self.modules.get(step.module)
        record = operator_of(step)
        owner = named if len(slots) == 1 and named is not None and does_just(named, record.modules) else None
        if owner is not None and record.silent:
            return self._call_module(step.module, owner, slots)
        if record.view and len(slots) == 1 and not (target.complete and parts[0].complete):
            return self._view(run, slots[0], parts[0], target)
        if any(part.box is None for part in (*parts, target)):
            flat = all(torch.equal(part.kept, target.kept) for part in parts if part.shape == target.shape)
            if step.values or not flat or any(part.shape != target.shape for part in parts):
                raise _inseparable(_place(step), *parts, target)
            return self._plain(run, slots, target)
        layer = layer_of(self.dag, step) if len(slots) == 1 else None
        if layer is not None and layer.weight in self.dag.state:
            if owner is not None and layer.weight == f"{step.module}.weight":
                return self._call_module(step.module, owner, slots)
            if layer.groups > 1 and not (target.complete and parts[0].complete):
                raise _inseparable(_place(step), *parts, target)
        elif owner is not None and record.norm:
            return self._call_module(step.module, owner, slots)
        return self._plain(run, slots, target)

    def _plain(self, run: Steps, slots: tuple[Any, ...], target: Remaining) -> fx.Node:
        """The operation as it is, its constants cut to what is left."""
        step = run[0]

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return slots[leaf.slot]
            if isinstance(leaf, Value):
                return self._value(leaf.name, self._kept_of(step, leaf.name, target))
            return self._size(leaf.expression) if isinstance(leaf, Size) else leaf

        args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
        made = self.graph.call_function(operator_of(step).any_layout or step.operation, tuple(args), dict(kwargs))
        for later in run[1:]:
            made = self.graph.call_function(aten.ENTRY, (made, later.args[1]))
        return made

    def _kept_of(self, step: Step, name: str, target: Remaining) -> tuple[Tensor, ...]:
        """Which indices of each axis of a constant stay."""
        if name in self.channels.axes:
            return self.channels.alive(name, self.alive)
        shape = tuple(self.dag.state[name].shape) if name in self.dag.state else self.dag.constants[name].shape
        everything = tuple(torch.ones(length, dtype=torch.bool) for length in shape)
        layer = layer_of(self.dag, step)
        if target.complete or target.box is None or (layer is not None and layer.bias != name):
            return everything
        if layer is not None:
            # A bias that is computed, such as a part of a larger one, goes with what is written.
            return (target.along[layer.target_axis],) if len(shape) == 1 else everything
        if (
            len(shape) == 1
            and operator_of(step).channel_axis == 1
            and len(target.shape) > 1
            and shape[0] == target.shape[1]
        ):
            return (target.along[1],)
        offset = len(target.shape) - len(shape)
        if offset < 0:
            return everything
        return tuple(
            target.along[offset + axis] if shape[axis] == target.shape[offset + axis] > 1 else kept
            for axis, kept in enumerate(everything)
        )

    def _value(self, name: str, kept: tuple[Tensor, ...]) -> fx.Node:
        """A parameter, buffer or constant, cut."""
        key = (name, *(tuple(k.tolist()) if not k.all() else None for k in kept))
        if key in self.written:
            return self.written[key]
        if name in self.dag.state:
            path = name
            while path in self.root:
                path += "_"
            self.root[path] = self._cut(name, kept)
            made = self.graph.get_attr(path)
        else:
            step = self.dag.constants[name]
            uncut = (name, *(None for _ in kept))
            if uncut not in self.written:

                def fill(leaf: Any) -> Any:
                    if isinstance(leaf, Value):
                        known = self.dag.state.get(leaf.name)
                        shape = self.dag.constants[leaf.name].shape if known is None else known.shape
                        return self._value(leaf.name, tuple(torch.ones(n, dtype=torch.bool) for n in shape))
                    return self._size(leaf.expression) if isinstance(leaf, Size) else leaf

                args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
                self.written[uncut] = self.graph.call_function(step.operation, tuple(args), dict(kwargs))
            made = self.written[uncut]
            for axis, indices in enumerate(kept):
                if not indices.all():
                    made = self._select(made, axis, indices.nonzero().flatten())
        self.written[key] = made
        return made

    def _cut(self, name: str, kept: tuple[Tensor, ...]) -> Tensor:
        """A parameter or buffer of the model under its mask, without the indices that go."""
        old = self.dag.state[name]
        new = old.detach()
        if name in self.masks:
            new = new * self.masks[name].to(new.device)
        for axis, indices in enumerate(kept):
            if not indices.all():
                new = new.index_select(axis, indices.nonzero().flatten().to(new.device))
        new = new.clone()
        return nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new

    def _call_module(self, path: str, owner: nn.Module, slots: tuple[Any, ...]) -> fx.Node:
        if path not in self.root:
            # Names of state are first names of shared parameters; the module's own tensors find them.
            first = {id(value): name for name, value in self.dag.state.items()}
            own = {**dict(owner.named_parameters(recurse=False)), **dict(owner.named_buffers(recurse=False))}
            memo: dict[int, Any] = {}
            for value in own.values():
                name = first.get(id(value))
                if name is None or (name not in self.channels.axes and name not in self.masks):
                    continue
                axes = self.channels.axes.get(name)
                kept = self.channels.alive(name, self.alive) if axes else tuple(torch.ones(n) > 0 for n in value.shape)
                memo[id(value)] = self._cut(name, kept)
            module = copy.deepcopy(owner, memo)
            for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
                hooks.clear()
            resize(module, owner)
            self.root[path] = module
        return self.graph.call_module(path, slots)

    def _view(self, run: Steps, value: fx.Node, source: Remaining, target: Remaining) -> fx.Node:
        """An operation that only moves elements: itself with new sizes where that gives the right ones, else a choice
        along one axis, else of single elements."""
        step = run[0]
        moved = map_of(self.channels.dag, run, source.shape, 0, self.lookup, {})
        assert isinstance(moved, Gather)  # what a view is
        index = torch.arange(source.kept.numel()) if moved.index is None else torch.from_numpy(moved.index).reshape(-1)
        index = index[target.kept.reshape(-1)]
        wanted = torch.where(index >= 0, source.numbers[index.clamp(min=0)], -1)
        by_numbers = bool(step.values) and not any(self._values[name].is_floating_point() for name in step.values)
        if source.box is not None and target.box is not None:
            # Numbers of channels in a constant are those of the whole network: what they choose is in `wanted`.
            renumbered = by_numbers and not (source.complete and target.complete)
            for resized in () if renumbered else (False, True):
                made = self._natively(run, value, source, target, wanted, resized)
                if made is not None:
                    return made
            made = None
            if by_numbers or not step.values:
                made = self._along_one_axis(step, value, source, target, wanted)
            if made is not None:
                return made
        if source.shape[0] != 1 or target.shape[0] != 1 or (step.values and not by_numbers):
            raise _inseparable(_place(step), source, target)
        flat = self.graph.call_function(aten.FLATTEN, (value, 1)) if source.box else value
        if (wanted < 0).any():
            flat = self._with_constant(step, flat, 1, 2, source)
            wanted = torch.where(wanted < 0, source.count, wanted)
        if not torch.equal(wanted, torch.arange(source.count)):
            flat = self._select(flat, 1, wanted)
        if target.box is None:
            return flat
        return self.graph.call_function(aten.RESHAPE, (flat, [-1, *target.box[1:]]))

    def _natively(
        self, run: Steps, value: fx.Node, source: Remaining, target: Remaining, wanted: Tensor, resized: bool
    ) -> fx.Node | None:
        source_box, target_box = source.box, target.box
        assert source_box is not None and target_box is not None  # the caller has asked
        step = run[0]

        def scaled(sizes: Any) -> Any:
            """A list of sizes of the result, each in proportion to what is left of that axis."""
            if not isinstance(sizes, list | tuple) or len(sizes) != len(step.shape):
                return sizes
            return [
                size
                if full == left or size == -1
                else Size(size.expression * sympy.Rational(left, full))
                if isinstance(size, Size)
                else left
                for size, full, left in zip(sizes, target.shape, target_box, strict=True)
            ]

        if resized and (not step.shape or not operator_of(step).sizes):
            return None
        arguments = [scaled(a) for a in step.args] if resized else list(step.args)
        operation = operator_of(step).any_layout or step.operation

        def fill(make: Any, hole: Any, leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return hole
            if isinstance(leaf, Value):
                return self._value(leaf.name, self._kept_of(step, leaf.name, target)) if make else None
            if isinstance(leaf, Size):
                return self._size(leaf.expression) if make else int(leaf.expression.xreplace(self._one))
            return leaf

        if not step.values:
            numbers = torch.arange(source.count).reshape(source_box)
            args, kwargs = pytree.tree_map(lambda leaf: fill(False, numbers, leaf), (arguments, dict(step.kwargs)))
            try:
                tried = operation(*args, **kwargs)
                for later in run[1:]:
                    tried = tried[later.args[1]]
            except (RuntimeError, IndexError, ValueError):
                return None
            if tried.shape != target_box or not torch.equal(tried.reshape(-1), wanted) or (wanted < 0).any():
                return None
        args, kwargs = pytree.tree_map(lambda leaf: fill(True, value, leaf), (arguments, dict(step.kwargs)))
        made = self.graph.call_function(operation, tuple(args), dict(kwargs))
        for later in run[1:]:
            made = self.graph.call_function(aten.ENTRY, (made, later.args[1]))
        return made

    @cached_property
    def _values(self) -> Values:
        return self.dag.values(self.dag.state)

    @cached_property
    def _one(self) -> dict[Any, sympy.Expr]:
        return {symbol: sympy.Integer(1) for symbol, _ in self.dag.symbols}

    def _along_one_axis(
        self, step: Step, value: fx.Node, source: Remaining, target: Remaining, wanted: Tensor
    ) -> fx.Node | None:
        source_box, target_box = source.box, target.box
        assert source_box is not None and target_box is not None  # the caller has asked
        if len(source_box) != len(target_box):
            return None
        if source_box == target_box and torch.equal(wanted, torch.arange(source.count)):
            return value
        differing = [axis for axis in range(len(source_box)) if source_box[axis] != target_box[axis]]
        for axis in differing[:1] or range(len(source_box)):
            padded = list(source_box)
            padded[axis] += 1
            numbers = torch.full(padded, -1)
            numbers.narrow(axis, 0, source_box[axis]).copy_(torch.arange(source.count).reshape(source_box))
            # The first element of each slice of the result tells which slice of the source it is.
            firsts = wanted.reshape(target_box).movedim(axis, 0).flatten(1)[:, 0]
            stride = prod(source_box[axis + 1 :])
            places = torch.where(firsts < 0, source_box[axis], firsts // stride % source_box[axis])
            chosen = numbers.index_select(axis, places)
            if chosen.shape == target_box and torch.equal(chosen.reshape(-1), wanted):
                if (wanted < 0).any():
                    value = self._with_constant(step, value, axis, len(source_box), source)
                return self._select(value, axis, places)
        return None

    def _with_constant(self, step: Step, value: fx.Node, axis: int, ndim: int, source: Remaining) -> fx.Node:
        """The tensor with one slice more that holds what the operation fills in."""
        args, kwargs = pytree.tree_map(
            lambda leaf: (
                torch.zeros(source.shape, dtype=torch.float64)
                if isinstance(leaf, Hole)
                else int(leaf.expression.xreplace(self._one))
                if isinstance(leaf, Size)
                else leaf
            ),
            (step.args, dict(step.kwargs)),
        )
        filled = step.operation(*args, **kwargs).unique()
        filled = filled[filled != 0] if filled.numel() > 1 else filled
        if filled.numel() != 1:
            raise _inseparable(_place(step), source)
        around = [0, 0] * (ndim - 1 - axis) + [0, 1]
        return self.graph.call_function(F.pad, (value, around, "constant", float(filled)))

    def _select(self, value: fx.Node, axis: int, index: Tensor) -> fx.Node:
        name = f"kept_{sum(1 for path in self.root if path.startswith('kept_'))}"
        self.root[name] = index.to(next(iter(self.dag.state.values())).device)
        return self.graph.call_function(aten.SELECT, (value, axis, self.graph.get_attr(name)))

    def _size(self, expression: sympy.Expr) -> Any:
        """An integer that depends on the number of samples, computed in the graph."""
        if expression.is_Integer:
            return int(expression)
        if expression in self.sizes:
            return self.sizes[expression]
        combine = aten.TIMES if expression.is_Mul else aten.SUM if expression.is_Add else None
        if combine is None:
            raise InputError(f"cannot compact the model: a size of it is {expression} of the number of samples.")
        total, *rest = (self._size(part) for part in expression.args)
        for part in rest:
            total = self.graph.call_function(combine, (total, part))
        self.sizes[expression] = total
        return total


def _inseparable(where: str, *parts: Remaining) -> Inseparable:
    return Inseparable(where, torch.cat([part.dead for part in parts]).unique())


def _place(step: Step) -> str:
    return f"operation {step.name!r} of {f'module {step.module!r}' if step.module else 'the model'}"
