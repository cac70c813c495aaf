"""Writing calls, sizes, parameters and modules into the graph of the smaller network, cut to what is left of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import sympy
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...errors import InputError
from ..channel_coupling import CoupledChannels
from ..elements import Hole, Size, Step, Value
from ..operators import aten, operator_of
from ..parameter_axes import parameter_axis, shape_of
from ..weighted_layers import layer_of
from .computed_values import ComputedValues
from .module_sizes import resize
from .remaining import Remaining

__all__ = ["GraphWriter"]


class GraphWriter:
    """The graph of the smaller module as it is written, and the tensors and modules that it reads.

    Parameters
    ----------
    channels
        The coupled channels of the network.
    alive
        Which of their units stay, bool (count,).
    masks
        Parameter name -> bool tensor, True where a weight is kept.
    are_weights
        Whether the parameters hold weights, so that values may be computed from them.

    Attributes
    ----------
    graph
        The graph.
    root
        Path -> what the graph reads there.
    sizes
        Expression of the number of samples -> the node that computes it.
    copies
        Path of a second copy of a parameter, of which other parts are left than of the first -> path of the first.
    """

    def __init__(
        self, channels: CoupledChannels, alive: Tensor, masks: Mapping[str, Tensor], are_weights: bool = True
    ) -> None:
        self.dag, self.channels, self.alive, self.masks = channels.dag, channels, alive, masks
        self.graph = fx.Graph()
        self.root: dict[str, Any] = {}
        self.sizes: dict[Any, fx.Node] = {}
        self.copies: dict[str, str] = {}
        self._computed_values = ComputedValues(channels.dag, masks, are_weights)
        self._written: dict[tuple[Any, ...], fx.Node] = {}

    def call(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call of an operation; one that reads sizes as a method or function of torch, as Python code writes it.

        `torch.jit.trace` follows sizes through these, and takes those that other operations read as constants.

        Parameters
        ----------
        operation
            The operation.
        args, kwargs
            Its arguments, nodes of the graph among them.

        Returns
        -------
        Node
            What it gives.
        """
        sizes = set(self.sizes.values())
        if any(isinstance(leaf, fx.Node) and leaf in sizes for leaf in pytree.tree_leaves((args, kwargs))):
            name = Step(operation, (), {}, "").name
            on_tensor = bool(args) and isinstance(args[0], fx.Node) and args[0] not in sizes
            if on_tensor and hasattr(Tensor, name):
                return self.graph.call_method(name, args, kwargs)
            if not on_tensor and hasattr(torch, name):
                operation = getattr(torch, name)
        return self.graph.call_function(operation, args, kwargs)

    def samples(self, symbol: Any, value: fx.Node) -> None:
        """Note that a symbol stands for the number of samples of an input.

        Parameters
        ----------
        symbol
            As it appears in sizes.
        value
            The input.
        """
        self.sizes[symbol] = self.graph.call_method("size", (value, 0))

    def size(self, expression: sympy.Expr) -> Any:
        """An integer that depends on the number of samples, computed in the graph.

        Parameters
        ----------
        expression
            The integer, by the symbols of numbers of samples.

        Returns
        -------
        int or Node
            A number where it depends on none.

        Raises
        ------
        InputError
            When it is no sum or product of them.
        """
        if expression.is_Integer:
            return int(expression)
        if expression in self.sizes:
            return self.sizes[expression]
        combine = aten.TIMES if expression.is_Mul else aten.SUM if expression.is_Add else None
        if combine is None:
            raise InputError(f"cannot compact the model: a size of it is {expression} of the number of samples.")
        total, *rest = (self.size(part) for part in expression.args)
        for part in rest:
            total = self.graph.call_function(combine, (total, part))
        self.sizes[expression] = total
        return total

    def size_of_one_sample(self, size: Size) -> int:
        """What a size is for one sample.

        Parameters
        ----------
        size
            A size that depends on the number of samples.

        Returns
        -------
        int
            Its value.
        """
        return int(size.expression.xreplace(self._one))

    @cached_property
    def _one(self) -> dict[Any, sympy.Expr]:
        return {symbol: sympy.Integer(1) for symbol, _ in self.dag.symbols}

    def step(self, run: tuple[Step, ...], slots: tuple[Any, ...], target: Remaining, arguments: Any = None) -> fx.Node:
        """An operation and the choices of entries of its result, its constants cut to what is left.

        Parameters
        ----------
        run
            The operation and what reads its result.
        slots
            What fills its holes.
        target
            What is left of the result.
        arguments
            In place of its own positional ones.

        Returns
        -------
        Node
            What it gives.
        """
        first = run[0]

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return slots[leaf.slot]
            if isinstance(leaf, Value):
                return self.value(leaf.name, self._kept_of(first, leaf.name, target))
            return self.size(leaf.expression) if isinstance(leaf, Size) else leaf

        given = list(first.args if arguments is None else arguments)
        at = operator_of(first).groups_at
        if at is not None and target.box is not None:
            # Groups of channels go as a whole.
            given[at] = given[at] * target.box[1] // target.shape[1]
        args, kwargs = pytree.tree_map(fill, (tuple(given), dict(first.kwargs)))
        made = self.call(first.operation, *args, **kwargs)
        for later in run[1:]:
            made = self.graph.call_function(aten.ENTRY, (made, later.args[1]))
        return made

    def _kept_of(self, step: Step, name: str, target: Remaining) -> tuple[Tensor, ...]:
        """Which indices of each axis of a constant stay."""
        if name in self.channels.axes:
            return self.channels.alive(name, self.alive)
        shape = shape_of(self.dag, name)
        everything = _whole(shape)
        layer = layer_of(self.dag, step)
        if (layer is not None and layer.weight == name) or operator_of(step).lookup:
            return tuple(self._kept_along(name, axis) for axis in range(len(shape)))
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

    def _kept_along(self, name: str, axis: int) -> Tensor:
        """Which indices of an axis of a value stay that is computed from a parameter."""
        along = parameter_axis(self.dag, name, axis)
        if along is None or along.name not in self.channels.axes:
            return torch.ones(shape_of(self.dag, name)[axis], dtype=torch.bool)
        return self.channels.alive(along.name, self.alive)[along.axis][along.places]

    def value(self, name: str, kept: tuple[Tensor, ...] | None = None) -> fx.Node:
        """A parameter, buffer or constant, cut.

        Parameters
        ----------
        name
            Its name in the network.
        kept
            For each of its axes, which indices stay; all by default.

        Returns
        -------
        Node
            What reads or computes it.
        """
        kept = _whole(shape_of(self.dag, name)) if kept is None else kept
        key = (name, *(tuple(k.tolist()) if not k.all() else None for k in kept))
        if key not in self._written:
            known = name in self.dag.state
            self._written[key] = self._read(name, self._cut(name, kept)) if known else self._computed(name, kept)
        return self._written[key]

    def _read(self, path: str, value: Tensor) -> fx.Node:
        own = self._free(path)
        self.root[own] = value
        if own != path:
            self.copies[own] = path
        return self.graph.get_attr(own)

    def _free(self, path: str) -> str:
        while path in self.root:
            path += "_"
        return path

    def separate(self) -> None:
        """Give tensors that are read beside their module own paths where the module has another part of them."""
        for path in list(self.root):
            owner, _, name = path.rpartition(".")
            module, value = self.root.get(owner), self.root[path]
            own = getattr(module, name, None) if isinstance(module, nn.Module) else None
            if isinstance(own, Tensor) and isinstance(value, Tensor) and own.shape != value.shape:
                moved = self._free(f"{path}_")
                self.root[moved] = self.root.pop(path)
                self.copies[moved] = path
                for node in self.graph.nodes:
                    if node.op == "get_attr" and node.target == path:
                        node.target = moved

    def _computed(self, name: str, kept: tuple[Tensor, ...]) -> fx.Node:
        cut = [(axis, indices) for axis, indices in enumerate(kept) if not indices.all()]
        if cut or self._computed_values.is_repaired(name):
            folded = self._computed_values.folded(name)
            if folded is not None:
                parameter, value = folded
                return self._read(parameter, _without(value, kept))
            shared = self._of_cut_parameter(name, kept)
            if shared is not None:
                return shared
            of_constant = self._layer_of_constant(name, kept) if cut else None
            if of_constant is not None:
                return of_constant
            made = self.value(name) if cut else self._as_traced(name)
            for axis, indices in cut:
                made = self.select(made, axis, indices.nonzero().flatten())
            return made
        return self._as_traced(name)

    def _of_cut_parameter(self, name: str, kept: tuple[Tensor, ...]) -> fx.Node | None:
        """A view of a parameter, such as its transpose, as the same view of what is left of it, which another layer may
        use too; None where it would be another value."""
        step = self.dag.constants[name]
        parameter = step.values[0] if len(step.values) == 1 else ""
        if parameter not in self.channels.axes or parameter not in self.dag.state or not operator_of(step).view:
            return None
        if any(isinstance(leaf, Size) for leaf in pytree.tree_leaves((step.args, dict(step.kwargs)))):
            return None
        alive = self.channels.alive(parameter, self.alive)
        shape = self.dag.state[parameter].shape
        numbers = torch.arange(shape.numel()).view(shape)

        def viewed(value: Any) -> Any:
            args, kwargs = pytree.tree_map(
                lambda leaf: value if isinstance(leaf, Value) else leaf, (step.args, dict(step.kwargs))
            )
            return args, kwargs

        args, kwargs = viewed(numbers)
        wanted = _without(step.operation(*args, **kwargs), kept)
        args, kwargs = viewed(_without(numbers, alive))
        try:
            found = step.operation(*args, **kwargs)
        except (RuntimeError, IndexError, ValueError):
            return None
        if not isinstance(found, Tensor) or not torch.equal(found, wanted):
            return None
        args, kwargs = viewed(self.value(parameter, alive))
        return self.call(step.operation, *args, **kwargs)

    def _layer_of_constant(self, name: str, kept: tuple[Tensor, ...]) -> fx.Node | None:
        """What a layer makes of a constant, such as the first state of a recurrence, by what is left of it; None
        where more than zeros of the constant would go."""
        step = self.dag.constants[name]
        given = step.args[0] if step.args else None
        if not isinstance(given, Value) or self.dag.parameters_behind([given.name]):
            return None
        shape = shape_of(self.dag, given.name)
        layer = layer_of(self.dag, replace(step, args=(Hole(0), *step.args[1:]), source_shapes=(shape,)))
        if layer is None or layer.groups > 1 or layer.weight not in self.channels.axes:
            return None
        alive = self.channels.alive(layer.weight, self.alive)
        gone = (~alive[layer.reads]).nonzero().flatten()
        wanted = tuple(
            alive[layer.writes] if axis == layer.target_axis else k for axis, k in enumerate(_whole(step.shape))
        )
        lost = self.dag.values()[given.name].detach().cpu().index_select(layer.source_axis, gone)
        if lost.any() or not all(map(torch.equal, kept, wanted)):
            return None
        inputs = [alive[layer.reads] if axis == layer.source_axis else k for axis, k in enumerate(_whole(shape))]
        left = {given.name: tuple(inputs), layer.weight: alive, layer.bias: (alive[layer.writes],)}

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return self.value(leaf.name, left.get(leaf.name))
            return self.size(leaf.expression) if isinstance(leaf, Size) else leaf

        args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
        return self.call(step.operation, *args, **kwargs)

    def _as_traced(self, name: str) -> fx.Node:
        """A constant, computed as the model does."""
        step = self.dag.constants[name]

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return self.value(leaf.name)
            return self.size(leaf.expression) if isinstance(leaf, Size) else leaf

        args, kwargs = pytree.tree_map(fill, (step.args, dict(step.kwargs)))
        return self.call(step.operation, *args, **kwargs)

    def _cut(self, name: str, kept: tuple[Tensor, ...]) -> Tensor:
        """A parameter or buffer of the model under its mask, without the indices that go."""
        value = self.dag.state[name]
        if name not in self.masks:
            return _without(value, kept)
        masked = value.detach() * self.masks[name].to(value.device)
        parameter = isinstance(value, nn.Parameter)
        return _without(nn.Parameter(masked, requires_grad=value.requires_grad) if parameter else masked, kept)

    def module(self, path: str, owner: nn.Module, slots: tuple[Any, ...]) -> fx.Node:
        """A call of a module of the model with its tensors cut.

        Parameters
        ----------
        path
            Its path in the model, and in the smaller module.
        owner
            The module.
        slots
            What it is called with.

        Returns
        -------
        Node
            What it gives.
        """
        if path not in self.root:
            # Names of state are first names of shared parameters; the module's own tensors find them.
            first = {id(value): name for name, value in self.dag.state.items()}
            own = {**dict(owner.named_parameters(recurse=False)), **dict(owner.named_buffers(recurse=False))}
            memo: dict[int, Any] = {}
            for value in own.values():
                name = first.get(id(value))
                if name is None or (name not in self.channels.axes and name not in self.masks):
                    continue
                known = name in self.channels.axes
                memo[id(value)] = self._cut(
                    name, self.channels.alive(name, self.alive) if known else _whole(value.shape)
                )
            module = copy.deepcopy(owner, memo)
            for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
                hooks.clear()
            resize(module, owner)
            self.root[path] = module
        return self.graph.call_module(path, slots)

    def select(self, value: fx.Node, axis: int, index: Tensor) -> fx.Node:
        """The slices of a tensor at these places along an axis.

        Parameters
        ----------
        value
            A tensor.
        axis
            One of its axes.
        index
            Places along it.

        Returns
        -------
        Node
            The smaller tensor.
        """
        name = f"kept_{sum(1 for path in self.root if path.startswith('kept_'))}"
        self.root[name] = index.to(next(iter(self.dag.state.values())).device)
        return self.graph.call_function(aten.SELECT, (value, axis, self.graph.get_attr(name)))


def _whole(shape: Any) -> tuple[Tensor, ...]:
    return tuple(torch.ones(length, dtype=torch.bool) for length in shape)


def _without(value: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
    """A copy of a parameter or buffer without the indices that go."""
    new = value.detach()
    for axis, indices in enumerate(kept):
        if not indices.all():
            new = new.index_select(axis, indices.nonzero().flatten().to(new.device))
    new = new.clone()
    return nn.Parameter(new, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else new
