"""The smaller network without its dead units: a plain module that computes what the masked network computes."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from ..errors import InputError
from .dag import Arc, Hole, Size, Step, Value
from .groups import Units, units
from .layers import layer_of
from .relations.relation import Weigher, map_of
from .relations.rules.views import VIEWS
from .structure import checked_masks
from .trace import trace

__all__ = ["compact", "live_units"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def compact(
    model: nn.Module,
    masks: Mapping[str, Any] | None = None,
    example: Any = None,
    *,
    found: Units | None = None,
    alive: Tensor | None = None,
) -> fx.GraphModule:
    """A smaller module without the units that are dead under masks, whose output equals the masked network's.

    A unit is dead when nothing that matters reads it. Whole units go: a layer loses rows and columns, norms their
    channels, attention its heads; pruned weights of units that stay are zero. A unit that is read stays, even if
    all its own weights are pruned, for its bias or its norm may still make it a constant that matters.

    Parameters
    ----------
    model
        The network; it is not changed.
    masks
        Parameter name -> bool tensor, True where a weight is kept; by default nothing is masked.
    example
        Inputs to trace the model with: a tensor or a tuple of its arguments.
    found, alive
        In place of `masks` and `example`: the units of the model, and which of them stay.

    Returns
    -------
    torch.fx.GraphModule
        Its layers, norms and dropouts are modules of the model's own classes under the model's own names, in the
        model's mode, so that it can be trained on, saved, traced and compacted again.

    Raises
    ------
    InputError
        When the model cannot be traced or the masks do not fit.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> masks = {"2.weight": torch.tensor([[True, False, True], [True, False, False]])}
    >>> small = compact(net, masks, torch.zeros(1, 4))
    >>> small.get_submodule("0")
    Linear(in_features=4, out_features=2, bias=True)
    """
    if found is None:
        if example is None:
            raise InputError("compaction needs the inputs to trace the model with; give example=a tensor.")
        found = units(trace(model, example))
    masks = checked_masks(found.dag, masks)
    alive = live_units(found, masks) if alive is None else _with_survivors(found, alive.cpu().bool())
    while True:
        try:
            return _Rebuilder(model, found, alive, masks).build()
        except _Inseparable as stuck:
            # What is left of a tensor is no box that the next operation could take; exactness comes first.
            revived = torch.zeros_like(alive)
            revived[stuck.units] = True
            if not (revived & ~alive).any():
                raise InputError(f"cannot compact {stuck.where}; leave its units alive.") from None
            alive = alive | revived


def live_units(found: Units, masks: Mapping[str, Tensor]) -> Tensor:
    """Which units something reads that itself matters under masks, bool (count,); one of each layer always stays."""
    alive = torch.ones(found.count, dtype=torch.bool)
    while True:
        read = torch.zeros(found.count, dtype=torch.bool)
        for name, layers in found.layers.items():
            axes = found.axes.get(name)
            if axes is None:
                continue
            reads = layers[0].reads
            if layers[0].groups > 1:
                continue
            mask = masks.get(name)
            mask = torch.ones(found.dag.state[name].shape, dtype=torch.bool) if mask is None else mask.cpu()
            rows = found.alive(name, alive)[layers[0].writes]
            shape = [1] * mask.ndim
            shape[layers[0].writes] = -1
            mask = mask & rows.view(shape)
            used = mask.any(dim=[d for d in range(mask.ndim) if d != reads][0]) if mask.ndim == 2 else None
            if used is None:
                used = mask.movedim(reads, 0).flatten(1).any(dim=1)
            index = axes[reads]
            read[index[used & (index >= 0)]] = True
        if torch.equal(read & alive, alive):
            return _with_survivors(found, alive)
        alive = alive & read


def _with_survivors(found: Units, alive: Tensor) -> Tensor:
    """One unit more wherever a layer would have none left: its weights are masked, so nothing changes but the shape."""
    alive = alive.clone()
    for name, axes in found.axes.items():
        for index, kept in zip(axes, found.alive(name, alive), strict=True):
            if not kept.any():
                alive[index[0]] = True
    return alive


class _Inseparable(Exception):
    def __init__(self, where: str, dead: Tensor) -> None:
        super().__init__(where)
        self.where, self.units = where, dead


@dataclass(frozen=True, eq=False)
class _Part:
    """What is left of a tensor of one sample: `kept` (bool, of its shape), a box or, where it is none, a flat list."""

    kept: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.kept.shape)

    @cached_property
    def whole(self) -> bool:
        return self.count == self.kept.numel()

    @cached_property
    def count(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def along(self) -> tuple[Tensor, ...]:
        """Which indices of each axis hold something."""
        ndim = self.kept.ndim
        return tuple(self.kept.movedim(axis, 0).flatten(1).any(1) if ndim > 1 else self.kept for axis in range(ndim))

    @cached_property
    def box(self) -> tuple[int, ...] | None:
        """Its shape once the rest is gone, if what is left is a box."""
        shape = tuple(int(kept.sum()) for kept in self.along)
        return shape if int(np.prod(shape)) == self.count else None

    @cached_property
    def numbers(self) -> Tensor:
        """Element -> its place among those left, -1 for those gone; flat."""
        flat = self.kept.reshape(-1)
        return torch.where(flat, flat.cumsum(0) - 1, -1)


class _Rebuilder:
    """Writes the graph of the smaller module, node by node of the Dag."""

    def __init__(self, model: nn.Module, found: Units, alive: Tensor, masks: Mapping[str, Tensor]) -> None:
        self.model, self.found, self.alive, self.masks = model, found, alive, masks
        self.dag = found.dag
        self.weigh = Weigher(self.dag)
        self.graph = fx.Graph()
        self.root: dict[str, Any] = {}
        self.values: dict[tuple[Any, ...], fx.Node] = {}
        self.sizes: dict[Any, fx.Node] = {}
        self.modules = dict(model.named_modules())
        lookup = torch.cat([alive, torch.tensor([True])])
        self.parts = [
            tuple(_Part(lookup[labels]) for labels in found_labels)
            if isinstance(found_labels, tuple)
            else _Part(lookup[found_labels])
            for found_labels in found.nodes
        ]

    def build(self) -> fx.GraphModule:
        made: list[Any] = []
        inputs = []
        for index, node in enumerate(self.dag.nodes):
            if node.kind == "input":
                made.append(self.graph.placeholder(_identifier(node.name)))
                inputs.append(made[-1])
                if len(inputs) == len(self.dag.inputs):
                    for symbol, position in self.dag.symbols:
                        self.sizes[symbol] = self.graph.call_function(
                            torch.ops.aten.sym_size.int, (inputs[position], 0)
                        )
                continue
            arcs = self.dag.arcs_into[index]
            part = self.parts[index]
            arrived = []
            for arc in arcs:
                target = part[arc.slot] if isinstance(part, tuple) else part
                if node.combine is not None:
                    target = self.parts[arc.source] if not arc.steps else self._operand(node.combine, arc)
                arrived.append(self._follow(made[arc.source], self.parts[arc.source], arc.steps, target))
            if node.kind == "sum":
                total = arrived[0]
                for value in arrived[1:]:
                    total = self.graph.call_function(operator.add, (total, value))
                made.append(total)
                continue
            entries = [v for _, v in sorted(zip((a.slot for a in arcs), arrived, strict=True), key=lambda p: p[0])]
            if node.combine is None:
                made.append(tuple(entries))
                continue
            sources = [self.parts[a.source] for a in sorted(arcs, key=lambda a: a.slot)]
            if any(p.box is None for p in (*sources, part)):
                raise _Inseparable(f"operation {node.name!r}", self._dead(index))
            made.append(self._plain((node.combine,), tuple(entries), tuple(sources), part))
        outputs = [
            o.constant if o.node is None else self._follow(made[o.node], self.parts[o.node], o.steps, None)
            for o in self.dag.outputs
        ]
        spec = self.dag.output_spec
        if spec is not None:
            outputs = pytree.tree_unflatten(outputs, spec)
        elif len(outputs) == 1:
            outputs = outputs[0]
        self.graph.output(outputs)
        built = fx.GraphModule(self.root, self.graph, class_name=f"Compact{type(self.model).__name__}")
        built.graph.eliminate_dead_code()
        built.recompile()
        return built.train(self.model.training)

    def _operand(self, combine: Step, arc: Arc) -> _Part:
        if arc.steps[-1].shape == self.parts[arc.source].shape:
            return self.parts[arc.source]
        raise _Inseparable("a concatenation", torch.arange(self.found.count))

    def _dead(self, *nodes: int) -> Tensor:
        labels = [self.found.nodes[index] for index in nodes]
        flat = [part.reshape(-1) for found in labels for part in (found if isinstance(found, tuple) else (found,))]
        present = torch.cat(flat).unique()
        return present[present >= 0]

    def _follow(self, value: Any, source: Any, steps: tuple[Step, ...], target: _Part | None) -> Any:
        parts = source if isinstance(source, tuple) else (source,)
        slots = value if isinstance(value, tuple) else (value,)
        position = 0
        while position < len(steps):
            step = steps[position]
            taken = 2 if not step.shape and position + 1 < len(steps) else 1
            run = steps[position : position + taken]
            # Between the steps of one arc only signs and broadcasts happen; the outputs are whole.
            after = target if target is not None else _Part(torch.ones(run[-1].shape, dtype=torch.bool))
            slots, parts = (self._emit(run, slots, parts, after),), (after,)
            position += taken
        return slots[0] if len(slots) == 1 else slots

    def _emit(self, run: tuple[Step, ...], slots: tuple[Any, ...], parts: tuple[_Part, ...], target: _Part) -> fx.Node:
        step = run[0]
        owner = self.modules.get(step.module)
        if step.name == "clone" and isinstance(owner, nn.modules.dropout._DropoutNd):
            return self._call_module(step.module, owner, slots)
        if step.name in VIEWS and len(slots) == 1 and not (target.whole and parts[0].whole):
            return self._view(run, slots[0], parts[0], target)
        if any(part.box is None for part in (*parts, target)):
            flat = all(torch.equal(part.kept, target.kept) for part in parts if part.shape == target.shape)
            if step.values or not flat or any(part.shape != target.shape for part in parts):
                raise _Inseparable(f"operation {step.name!r} of {step.module!r}", self._touched(parts, target))
            return self._plain(run, slots, parts, target)
        layer = layer_of(self.dag, step) if len(slots) == 1 else None
        if layer is not None and layer.weight in self.dag.state:
            if isinstance(owner, _LAYERS) and layer.weight == f"{step.module}.weight":
                return self._call_module(step.module, owner, slots)
            if layer.groups > 1 and not (target.whole and parts[0].whole):
                raise _Inseparable(f"the grouped convolution {layer.weight!r}", self._touched(parts, target))
        elif isinstance(owner, _NORMS) and ("norm" in step.name) and len(slots) == 1:
            return self._call_module(step.module, owner, slots)
        return self._plain(run, slots, parts, target)

    def _touched(self, parts: tuple[_Part, ...], target: _Part) -> Tensor:
        """The units that are dead in these tensors; all of them, as far as can be said."""
        return (~self.alive).nonzero().flatten()

    def _plain(self, run: tuple[Step, ...], slots: tuple[Any, ...], parts: tuple[_Part, ...], target: _Part) -> fx.Node:
        """The operation as it is, its constants cut to what is left."""
        step = run[0]

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return slots[leaf.slot]
            if isinstance(leaf, Value):
                return self._value(leaf.name, self._kept_of(step, leaf.name, target))
            return self._size(leaf.expression) if isinstance(leaf, Size) else leaf

        args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
        made = self.graph.call_function(_stable(step.operation), tuple(args), dict(kwargs))
        for later in run[1:]:
            made = self.graph.call_function(operator.getitem, (made, later.args[1]))
        return made

    def _kept_of(self, step: Step, name: str, target: _Part) -> tuple[Tensor, ...]:
        """Which indices of each axis of a constant stay."""
        if name in self.found.axes:
            return self.found.alive(name, self.alive)
        shape = tuple(self.dag.state[name].shape) if name in self.dag.state else self.dag.constants[name].shape
        whole = tuple(torch.ones(length, dtype=torch.bool) for length in shape)
        if target.whole or target.box is None or layer_of(self.dag, step) is not None:
            return whole
        if len(shape) == 1 and "norm" in step.name and len(target.shape) > 1 and shape[0] == target.shape[1]:
            return (target.along[1],)
        offset = len(target.shape) - len(shape)
        if offset < 0:
            return whole
        return tuple(
            target.along[offset + axis] if shape[axis] == target.shape[offset + axis] > 1 else kept
            for axis, kept in enumerate(whole)
        )

    def _value(self, name: str, kept: tuple[Tensor, ...]) -> fx.Node:
        """A parameter, buffer or constant, cut."""
        key = (name, *(tuple(k.tolist()) if not k.all() else None for k in kept))
        if key in self.values:
            return self.values[key]
        if name in self.dag.state:
            path = name
            while path in self.root:
                path += "_"
            self.root[path] = self._cut(name, kept)
            made = self.graph.get_attr(path)
        else:
            step = self.dag.constants[name]
            whole = (name, *(None for _ in kept))
            if whole not in self.values:

                def fill(leaf: Any) -> Any:
                    if isinstance(leaf, Value):
                        known = self.dag.state.get(leaf.name)
                        shape = self.dag.constants[leaf.name].shape if known is None else known.shape
                        return self._value(leaf.name, tuple(torch.ones(n, dtype=torch.bool) for n in shape))
                    return self._size(leaf.expression) if isinstance(leaf, Size) else leaf

                args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
                self.values[whole] = self.graph.call_function(step.operation, tuple(args), dict(kwargs))
            made = self.values[whole]
            for axis, indices in enumerate(kept):
                if not indices.all():
                    made = self._select(made, axis, indices.nonzero().flatten())
        self.values[key] = made
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
                if name is None or (name not in self.found.axes and name not in self.masks):
                    continue
                axes = self.found.axes.get(name)
                kept = self.found.alive(name, self.alive) if axes else tuple(torch.ones(n) > 0 for n in value.shape)
                memo[id(value)] = self._cut(name, kept)
            module = copy.deepcopy(owner, memo)
            for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
                hooks.clear()
            _resize(module, owner)
            self.root[path] = module
        return self.graph.call_module(path, slots)

    def _view(self, run: tuple[Step, ...], value: fx.Node, source: _Part, target: _Part) -> fx.Node:
        """An operation that only moves elements: itself with new sizes where that gives the right ones, else a choice
        along one axis, else of single elements."""
        step = run[0]
        found = map_of(self.dag, run, source.shape, 0, self.weigh, {})
        index = torch.arange(source.kept.numel()) if found.index is None else torch.from_numpy(found.index).reshape(-1)
        index = index[target.kept.reshape(-1)]
        wanted = torch.where(index >= 0, source.numbers[index.clamp(min=0)], -1)
        if source.box is not None and target.box is not None:
            for resized in (False, True):
                made = self._natively(run, value, source, target, wanted, resized)
                if made is not None:
                    return made
            made = self._along_one_axis(step, value, source, target, wanted)
            if made is not None:
                return made
        if source.shape[0] != 1 or target.shape[0] != 1 or step.values:
            raise _Inseparable(f"operation {step.name!r} of {step.module!r}", self._touched((source,), target))
        flat = self.graph.call_function(torch.ops.aten.flatten.using_ints, (value, 1)) if source.box else value
        if (wanted < 0).any():
            flat = self._with_constant(step, flat, 1, 2, source)
            wanted = torch.where(wanted < 0, source.count, wanted)
        if not torch.equal(wanted, torch.arange(source.count)):
            flat = self._select(flat, 1, wanted)
        if target.box is None:
            return flat
        return self.graph.call_function(torch.ops.aten.reshape.default, (flat, [-1, *target.box[1:]]))

    def _natively(
        self, run: tuple[Step, ...], value: fx.Node, source: _Part, target: _Part, wanted: Tensor, resized: bool
    ) -> fx.Node | None:
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
                for size, full, left in zip(sizes, target.shape, target.box, strict=True)
            ]

        if resized and (not step.shape or step.name not in _SIZED):
            return None
        arguments = [scaled(a) for a in step.args] if resized else list(step.args)
        operation = torch.ops.aten.reshape.default if step.name in ("view", "_unsafe_view") else step.operation

        def fill(make: Any, hole: Any, leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return hole
            if isinstance(leaf, Value):
                return self._value(leaf.name, self._kept_of(step, leaf.name, target)) if make else None
            if isinstance(leaf, Size):
                return self._size(leaf.expression) if make else int(leaf.expression.xreplace(self._one))
            return leaf

        if not step.values:
            numbers = torch.arange(source.count).reshape(source.box)
            args, kwargs = pytree.tree_map(lambda leaf: fill(False, numbers, leaf), (arguments, dict(step.kwargs)))
            try:
                tried = operation(*args, **kwargs)
                for later in run[1:]:
                    tried = tried[later.args[1]]
            except (RuntimeError, IndexError, ValueError):
                return None
            if tried.shape != target.box or not torch.equal(tried.reshape(-1), wanted) or (wanted < 0).any():
                return None
        args, kwargs = pytree.tree_map(lambda leaf: fill(True, value, leaf), (arguments, dict(step.kwargs)))
        made = self.graph.call_function(operation, tuple(args), dict(kwargs))
        for later in run[1:]:
            made = self.graph.call_function(operator.getitem, (made, later.args[1]))
        return made

    @cached_property
    def _one(self) -> dict[Any, sympy.Expr]:
        return {symbol: sympy.Integer(1) for symbol, _ in self.dag.symbols}

    def _along_one_axis(
        self, step: Step, value: fx.Node, source: _Part, target: _Part, wanted: Tensor
    ) -> fx.Node | None:
        if step.values or len(source.box) != len(target.box):
            return None
        differing = [axis for axis in range(len(source.box)) if source.box[axis] != target.box[axis]]
        for axis in differing[:1] or range(len(source.box)):
            padded = list(source.box)
            padded[axis] += 1
            numbers = torch.full(padded, -1)
            numbers.narrow(axis, 0, source.box[axis]).copy_(torch.arange(source.count).reshape(source.box))
            # The first element of each slice of the result tells which slice of the source it is.
            firsts = wanted.reshape(target.box).movedim(axis, 0).flatten(1)[:, 0]
            stride = int(np.prod(source.box[axis + 1 :]))
            places = torch.where(firsts < 0, source.box[axis], firsts // stride % source.box[axis])
            chosen = numbers.index_select(axis, places)
            if chosen.shape == target.box and torch.equal(chosen.reshape(-1), wanted):
                if (wanted < 0).any():
                    value = self._with_constant(step, value, axis, len(source.box), source)
                return self._select(value, axis, places)
        return None

    def _with_constant(self, step: Step, value: fx.Node, axis: int, ndim: int, source: _Part) -> fx.Node:
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
            raise _Inseparable(f"operation {step.name!r} of {step.module!r}", self._touched((), source))
        around = [0, 0] * (ndim - 1 - axis) + [0, 1]
        return self.graph.call_function(F.pad, (value, around, "constant", float(filled)))

    def _select(self, value: fx.Node, axis: int, index: Tensor) -> fx.Node:
        name = f"kept_{sum(1 for path in self.root if path.startswith('kept_'))}"
        self.root[name] = index.to(next(iter(self.dag.state.values())).device)
        return self.graph.call_function(torch.ops.aten.index_select.default, (value, axis, self.graph.get_attr(name)))

    def _size(self, expression: sympy.Expr) -> Any:
        """An integer that depends on the number of samples, computed in the graph."""
        if expression.is_Integer:
            return int(expression)
        if expression in self.sizes:
            return self.sizes[expression]
        combine = operator.mul if expression.is_Mul else operator.add if expression.is_Add else None
        if combine is None:
            raise InputError(f"cannot compact the model: a size of it is {expression} of the number of samples.")
        total, *rest = (self._size(part) for part in expression.args)
        for part in rest:
            total = self.graph.call_function(combine, (total, part))
        self.sizes[expression] = total
        return total


# Operations whose list of sizes is that of their result.
_SIZED = {"view", "_unsafe_view", "reshape", "expand", "_reshape_alias", "broadcast_to"}


def _stable(operation: Any) -> Any:
    """A view of a tensor that may no longer lie in memory as it did is a reshape."""
    named = getattr(operation, "overloadpacket", None)
    return torch.ops.aten.reshape.default if named is torch.ops.aten.view else operation


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name)


def _resize(module: nn.Module, owner: nn.Module) -> None:
    """Set the sizes that a module states to those of its tensors."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.conv._ConvNd):
        leading, inner = weight.shape[:2]
        if module.groups > 1:
            module.groups = leading * owner.groups // owner.weight.shape[0]
        ends = (leading, inner * module.groups)
        module.in_channels, module.out_channels = ends if module.transposed else ends[::-1]
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        tensors = [t for t in (weight, module.running_mean) if t is not None]
        if tensors:
            module.num_features = tensors[0].numel()
