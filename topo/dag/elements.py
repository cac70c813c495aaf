"""The parts of a network in additive normal form: steps, the nodes and arcs that they make up, and named values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Arc", "Fixed", "Hole", "Node", "Output", "Size", "Step", "Value", "Values", "place_of", "with_entry"]


@dataclass(frozen=True)
class Hole:
    """Stands, in the arguments of a step, for the value that flows in (for entry `slot` of it when fused).

    Attributes
    ----------
    slot
        Which of the values that flow in.
    """

    slot: int = 0


@dataclass(frozen=True)
class Value:
    """Stands for a parameter, a buffer or a constant computed from them, by name.

    Attributes
    ----------
    name
        Its name.
    """

    name: str


@dataclass(frozen=True)
class Size:
    """Stands for an integer that depends on the number of samples in the batch.

    Attributes
    ----------
    expression
        The integer, by the symbol of the number of samples.
    """

    expression: sympy.Expr


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: `operation(*args, **kwargs)` once the holes are filled.

    `source_shapes` (one per slot) and `shape` are those of its inputs and of its result for the number
    of samples the Dag's shapes refer to. `module` is the path of the module that ran it.

    Attributes
    ----------
    operation
        The function.
    args, kwargs
        Its arguments, with holes, values and sizes in them.
    module
        Path of the module that ran it.
    source_shapes
        Shape of each input, one a slot.
    shape
        Shape of the result; empty where the operation returns several tensors.
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

    def run(self, operands: tuple[Any, ...], values: Values) -> Any:
        """The result on `operands`, one a slot, with parameters, constants and batch sizes from `values`.

        Parameters
        ----------
        operands
            What fills the slots.
        values
            Parameters, buffers and constants by name, and the sizes that are free.

        Returns
        -------
        object
            What the operation returns.
        """

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Hole):
                return operands[leaf.slot]
            if isinstance(leaf, Value):
                return values[leaf.name]
            if isinstance(leaf, Size):
                return int(leaf.expression.xreplace(values.sizes))
            return leaf

        args, kwargs = pytree.tree_map(fill, (self.args, dict(self.kwargs)))
        return self.operation(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Fixed:
    """A tensor some of whose elements no input can change, as those under a mask.

    Attributes
    ----------
    free
        Which elements the input can change, bool, of the tensor's shape.
    values
        What the others are; numbers without a meaning where `free`, NaN where unknown.
    """

    free: Tensor
    values: Tensor

    def known(self) -> Tensor:
        """The values, NaN where the input can change them; of the tensor's own type where it can change none."""
        if not self.free.any():
            return self.values
        values = self.values if self.values.is_floating_point() else self.values.double()
        return values.masked_fill(self.free, float("nan"))


@dataclass(frozen=True)
class Node:
    """A tensor.

    `kind` says how the arcs that end here combine: ``"input"`` (none end here), ``"sum"`` (they add up),
    ``"concat"`` (each fills the slot of the step `combine` that its arc names) or ``"product"`` (each is one
    entry of a tuple, the product space on which the fusion arc that leaves here acts). `level` is the length
    of the longest path from an input; `shape` (of a product: the shapes of its entries) is for `Dag.samples`.

    Attributes
    ----------
    name
        Its name, unique in the network.
    kind
        ``"input"``, ``"sum"``, ``"concat"`` or ``"product"``.
    level
        Length of the longest path from an input.
    shape
        Its shape; of a product, the shapes of its entries.
    combine
        The operation of a concatenation.
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

    Attributes
    ----------
    source, target
        Places of nodes in ``dag.nodes``.
    steps
        The operations, in order.
    slot
        The entry that it fills.
    """

    source: int
    target: int
    steps: tuple[Step, ...] = ()
    slot: int | None = None


@dataclass(frozen=True, eq=False)
class Output:
    """One output of the network: the steps applied to a node, or a constant (`node` None).

    Attributes
    ----------
    node
        Place in ``dag.nodes``.
    steps
        The operations, in order.
    constant
        What the output is where it is no tensor of the network.
    """

    node: int | None
    steps: tuple[Step, ...] = ()
    constant: Any = None


class Values(Mapping[str, Tensor]):
    """Parameters, buffers, and the constants computed from them, evaluated when first read.

    Parameters
    ----------
    state
        Parameters and buffers.
    constants
        The steps that compute constants from them.
    sizes
        What each symbol in a `Size` stands for.
    """

    def __init__(self, state: Mapping[str, Tensor], constants: Mapping[str, Step], sizes: Mapping[Any, int]) -> None:
        self.sizes = sizes
        self._known = dict(state)
        self._constants = constants

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._known:
            self._known[name] = self._constants[name].run((), self)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **self._constants})

    def __len__(self) -> int:
        return len({**self._known, **self._constants})


def place_of(step: Step) -> str:
    """A step as messages name it.

    Parameters
    ----------
    step
        The operation.

    Returns
    -------
    str
        Its name and module.
    """
    return f"{step.name!r} of {f'module {step.module!r}' if step.module else 'the model'}"


def with_entry(step: Step, choice: Step) -> Step:
    """A step that returns a tuple and the choice of one of its entries, as one step.

    Parameters
    ----------
    step
        The operation that returns a tuple.
    choice
        What reads an entry of it.

    Returns
    -------
    Step
        Its operation has the number of the entry as an attribute, ``entry``.
    """
    index = choice.args[1]

    def run(*args: Any, **kwargs: Any) -> Any:
        return step.operation(*args, **kwargs)[index]

    run.__name__ = step.name
    run.entry = index  # type: ignore[attr-defined]
    return Step(run, step.args, step.kwargs, step.module, step.source_shapes, choice.shape)
