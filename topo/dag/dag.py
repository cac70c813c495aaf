"""The network as a directed acyclic graph: nodes are tensors, arcs are functions, values add up at nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import sympy
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError

__all__ = ["Arc", "Dag", "Hole", "Node", "Output", "Size", "Step", "Value"]


@dataclass(frozen=True)
class Hole:
    """Stands, in the arguments of a step, for the value that flows in (for entry `slot` of it when fused)."""

    slot: int = 0


@dataclass(frozen=True)
class Value:
    """Stands for a parameter, a buffer or a constant computed from them, by name."""

    name: str


@dataclass(frozen=True)
class Size:
    """Stands for an integer that depends on the number of samples in the batch."""

    expression: sympy.Expr


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: `operation(*args, **kwargs)` once the holes are filled.

    `source_shapes` (one per slot) and `shape` are those of its inputs and of its result for the number
    of samples the Dag's shapes refer to. `module` is the path of the module that ran it.
    """

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: str
    source_shapes: tuple[tuple[int, ...], ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the operation without namespace and overload, such as ``"conv2d"``."""
        packet = getattr(self.operation, "overloadpacket", None)
        return packet.__name__ if packet is not None else self.operation.__name__

    @cached_property
    def values(self) -> tuple[str, ...]:
        """Names of the parameters and constants it reads, in order."""
        leaves = pytree.tree_leaves((self.args, dict(self.kwargs)))
        return tuple(leaf.name for leaf in leaves if isinstance(leaf, Value))

    def run(self, slots: tuple[Any, ...], values: Mapping[str, Tensor], sizes: Mapping[Any, int]) -> Any:
        """The result on `slots`, with constants from `values` and batch sizes from `sizes`."""

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return slots[leaf.slot]
            if isinstance(leaf, Value):
                return values[leaf.name]
            if isinstance(leaf, Size):
                return int(leaf.expression.xreplace(sizes))
            return leaf

        args, kwargs = pytree.tree_map(fill, (self.args, dict(self.kwargs)))
        return self.operation(*args, **kwargs)


@dataclass(frozen=True)
class Node:
    """A tensor.

    `kind` says how the arcs that end here combine: ``"input"`` (none end here), ``"sum"`` (they add up),
    ``"concat"`` (each fills the slot of the step `combine` that its arc names) or ``"product"`` (each is one
    entry of a tuple, the product space on which the fusion arc that leaves here acts). `level` is the length
    of the longest path from an input; `shape` (of a product: the shapes of its entries) is for `Dag.samples`.
    """

    name: str
    kind: str
    level: int
    shape: tuple[Any, ...]
    combine: Step | None = None


@dataclass(frozen=True, eq=False)
class Arc:
    """A function from the tensor of node `source` to that of node `target`: its steps, one after the other.

    An arc without steps is the identity. `slot` is the entry it fills at a concat or product node.
    """

    source: int
    target: int
    steps: tuple[Step, ...] = ()
    slot: int | None = None


@dataclass(frozen=True, eq=False)
class Output:
    """One output of the network: the steps applied to a node, or a constant (`node` None)."""

    node: int | None
    steps: tuple[Step, ...] = ()
    constant: Any = None


class Values(Mapping[str, Tensor]):
    """Parameters, buffers, and the constants computed from them, evaluated when first read."""

    def __init__(self, state: Mapping[str, Tensor], constants: Mapping[str, Step], sizes: Mapping[Any, int]) -> None:
        self._known = dict(state)
        self._constants = constants
        self._sizes = sizes

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._known:
            self._known[name] = self._constants[name].run((), self, self._sizes)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **self._constants})

    def __len__(self) -> int:
        return len({**self._known, **self._constants})


@dataclass(frozen=True, eq=False)
class Dag:
    """A network in additive normal form: ``z_v = sum of f_e(z_u) over the arcs e = (u -> v)``.

    Built by `topo.trace`. Immutable, but it reads the parameters of the traced model when it is called, so it
    follows their training; `bind` makes it read those of another model.

    Attributes
    ----------
    nodes, arcs
        In an order in which every arc's source comes before its target; the order of the arcs that end at a
        node is the order in which their values are added.
    outputs
        What the network returns, flattened.
    state
        Parameters and buffers by their names in the model.
    samples
        The number of samples for which the shapes hold: 1 when the number of samples is free.
    keywords
        Names of the inputs, in the order of the input nodes, of a network that was traced with a dict.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import topo
    >>> dag = topo.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))
    >>> [node.name for node in dag.nodes], dag.depth, dag.path_count()
    (['input', '0', '1', '2'], 3, 1)
    >>> [node.name for node in dag.coarse().nodes]
    ['input', '0', '2']
    """

    nodes: tuple[Node, ...]
    arcs: tuple[Arc, ...]
    outputs: tuple[Output, ...]
    state: Mapping[str, Tensor]
    constants: Mapping[str, Step]
    symbols: tuple[tuple[Any, int], ...]
    samples: int
    output_spec: Any = None
    keywords: tuple[str, ...] = ()
    retrace: Callable[..., Dag] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Dag({len(self.nodes)} nodes, {len(self.arcs)} arcs, depth {self.depth})"

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the input nodes, in the order of the model's inputs."""
        return tuple(i for i, node in enumerate(self.nodes) if node.kind == "input")

    @property
    def depth(self) -> int:
        """The highest level."""
        return max(node.level for node in self.nodes)

    @cached_property
    def arcs_into(self) -> tuple[tuple[Arc, ...], ...]:
        """For every node, the arcs that end there, in order."""
        found: list[list[Arc]] = [[] for _ in self.nodes]
        for arc in self.arcs:
            found[arc.target].append(arc)
        return tuple(map(tuple, found))

    @cached_property
    def arcs_from(self) -> tuple[tuple[Arc, ...], ...]:
        """For every node, the arcs that start there, in order."""
        found: list[list[Arc]] = [[] for _ in self.nodes]
        for arc in self.arcs:
            found[arc.source].append(arc)
        return tuple(map(tuple, found))

    def parameters(self, arc: Arc) -> tuple[str, ...]:
        """Names of the model parameters that `arc` reads, also through constants computed from them."""
        return self.parameters_behind([name for step in arc.steps for name in step.values])

    def parameters_behind(self, values: list[str]) -> tuple[str, ...]:
        """Names of the model parameters among `values`, or that constants among them are computed from."""
        names: dict[str, None] = {}
        waiting = list(values)
        while waiting:
            name = waiting.pop(0)
            if name in self.constants:
                waiting.extend(self.constants[name].values)
            elif isinstance(self.state.get(name), nn.Parameter):
                names[name] = None
        return tuple(names)

    def values(self, state: Mapping[str, Tensor] | None = None, samples: int | None = None) -> Values:
        """Parameters, buffers and constants by name, for a batch of `samples`."""
        batch = sympy.Integer(self.samples if samples is None else samples)
        return Values(self.state if state is None else state, self.constants, {s: batch for s, _ in self.symbols})

    def bind(self, model: nn.Module) -> Dag:
        """The same Dag reading the parameters and buffers of `model`, which must have the same structure."""
        found = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
        state = {}
        for name, old in self.state.items():
            new = found.get(name)
            if new is None and not isinstance(old, nn.Parameter):
                new = old
            if new is None or new.shape != old.shape:
                raise InputError(
                    f"the model does not fit the traced network: {name!r} is {_shape(new)}, expected {_shape(old)}."
                )
            state[name] = new
        return replace(self, state=state)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The network's output on a batch, equal to the traced model's own in evaluation mode."""
        if set(kwargs) != set(self.keywords) or (self.keywords and args):
            wanted = f"the keywords {', '.join(self.keywords)}" if self.keywords else "positional arguments"
            raise InputError(f"the network was traced with {wanted}; call it so.")
        kwargs = {name: kwargs[name] for name in self.keywords}
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if len(leaves) != len(self.inputs):
            raise InputError(f"the network has {len(self.inputs)} inputs; got {len(leaves)} tensors.")
        for index, leaf in zip(self.inputs, leaves, strict=True):
            shape = self.nodes[index].shape
            if tuple(leaf.shape[1:]) != shape[1:]:
                raise InputError(
                    f"input {self.nodes[index].name!r} has shape {tuple(leaf.shape)}; expected (N, "
                    f"{', '.join(map(str, shape[1:]))})."
                )
        if not self.symbols and any(
            leaf.shape != self.nodes[i].shape for i, leaf in zip(self.inputs, leaves, strict=True)
        ):
            if self.retrace is None:
                raise InputError(f"this network was traced for exactly {self.samples} samples; trace it again.")
            return self.retrace(*args, **kwargs)(*args, **kwargs)
        sizes = {symbol: sympy.Integer(leaves[position].shape[0]) for symbol, position in self.symbols}
        values = Values(self.state, self.constants, sizes)
        found = self._evaluate(leaves, values, sizes)
        if self.output_spec is None:
            return found[0] if len(found) == 1 else tuple(found)
        return pytree.tree_unflatten(found, self.output_spec)

    def _evaluate(self, leaves: list[Tensor], values: Values, sizes: Mapping[Any, int]) -> list[Any]:
        readers = Counter(arc.source for arc in self.arcs) + Counter(o.node for o in self.outputs if o.node is not None)
        z: dict[int, Any] = dict(zip(self.inputs, leaves, strict=True))

        def follow(index: int, steps: tuple[Step, ...]) -> Any:
            value = z[index]
            slots = value if self.nodes[index].kind == "product" else (value,)
            for step in steps:
                value = step.run(slots, values, sizes)
                slots = (value,)
            return value

        for index, node in enumerate(self.nodes):
            if node.kind == "input":
                continue
            arrived: list[Any] = []
            for arc in self.arcs_into[index]:
                arrived.append(follow(arc.source, arc.steps))
                readers[arc.source] -= 1
                if not readers[arc.source]:
                    del z[arc.source]
            if node.kind == "sum":
                total = arrived[0]
                for value in arrived[1:]:
                    total = total + value
                z[index] = total
            else:
                slots = [arc.slot for arc in self.arcs_into[index]]
                entries = tuple(value for _, value in sorted(zip(slots, arrived, strict=True), key=lambda p: p[0]))
                z[index] = entries if node.combine is None else node.combine.run(entries, values, sizes)
        return [o.constant if o.node is None else follow(o.node, o.steps) for o in self.outputs]

    def path_counts(self) -> tuple[list[int], list[int]]:
        """For every node, the number of paths from the inputs to it and from it to the outputs, exact."""
        forward = [int(node.kind == "input") for node in self.nodes]
        for index, node in enumerate(self.nodes):
            if node.kind != "input":
                forward[index] = sum(forward[arc.source] for arc in self.arcs_into[index])
        backward = [0] * len(self.nodes)
        for output in self.outputs:
            if output.node is not None:
                backward[output.node] += 1
        for index in reversed(range(len(self.nodes))):
            backward[index] += sum(backward[arc.target] for arc in self.arcs_from[index])
        return forward, backward

    def path_count(self) -> int:
        """The number of paths from the inputs to the outputs along arcs, a Python integer of any size."""
        _, backward = self.path_counts()
        return sum(backward[i] for i in self.inputs)

    def coarse(self) -> Dag:
        """The Dag with a node only where it matters: see `topo.dag.coarsening.coarsen`."""
        return self._coarse

    @cached_property
    def _coarse(self) -> Dag:
        from .coarsening import coarsen

        return coarsen(self)

    def single(self) -> Dag:
        """The Dag with shapes for exactly one sample, as the element-level views need it."""
        if self.samples == 1:
            return self
        if self.retrace is None:
            raise InputError(f"this network was traced for {self.samples} samples; trace it with one.")
        examples = [torch.zeros((1, *self.nodes[i].shape[1:])) for i in self.inputs]
        return self.retrace(**dict(zip(self.keywords, examples))) if self.keywords else self.retrace(*examples)


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))
