"""Operations that are made of others, written as these: recurrent layers unrolled in time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from ..errors import InputError
from .exported_nodes import is_symbol, module_class, module_path
from .operators import Composer, aten, operator_called

__all__ = ["NAME", "write_compositions"]

NAME = "topo_name"
"""Where a node of an exported graph has the name of its result, in its `meta`."""


def write_compositions(graph: fx.Graph, samples: int | None, inputs: Container[str]) -> None:
    """Write every operation whose record has a composition as the operations that it is made of.

    Parameters
    ----------
    graph
        Of an exported program, changed in place.
    samples
        The number of samples where it is fixed.
    inputs
        Names of the nodes that are inputs of the network, not parameters or constants.

    Raises
    ------
    InputError
        When the composition needs what the graph does not tell, such as the number of time steps.
    """
    made: list[fx.Node] = []
    for node in list(graph.nodes):
        record = operator_called(node.target) if node.op == "call_function" else None
        if record is None or record.composition is None:
            continue
        composer = _GraphComposer(node, samples, inputs)
        results = record.composition(composer, *node.args, **node.kwargs)
        if results is NotImplemented:
            continue
        if isinstance(results, tuple):
            for reader in list(node.users):
                reader.replace_all_uses_with(results[reader.args[1]])
                graph.erase_node(reader)
        else:
            node.replace_all_uses_with(results)
        graph.erase_node(node)
        made += composer.made
    for node in made:
        if node.target is aten.STACK:
            _read_entries(node)
    for node in reversed(made):
        if not node.users:
            graph.erase_node(node)


def _read_entries(stack: fx.Node) -> None:
    """Let what reads a single entry of a stack, such as the last time step, read what was stacked.

    A node for the stack would come between, and states of layers with other units left could not be stacked at all.
    """
    arguments: Any = stack.args
    entries, axis = arguments
    axes = stack.meta["val"].ndim
    for reader in list(stack.users):
        read: Any = reader.args
        place = read[1] % axes if len(read) > 1 and isinstance(read[1], int) else None
        if reader.target is aten.SLICE and place != axis and read[2:] in WHOLE:
            reader.replace_all_uses_with(stack)
            stack.graph.erase_node(reader)
            return _read_entries(stack)
        if reader.target is aten.PICK and place == axis:
            reader.replace_all_uses_with(entries[read[2]])
            stack.graph.erase_node(reader)


WHOLE = ((), (0,), (0, sys.maxsize), (0, sys.maxsize, 1), (None, None))
"""Start, stop and step of a slice that leaves nothing out."""


class _GraphComposer(Composer):
    """Writes operations into a graph, before the node that they are to replace."""

    def __init__(self, replaced: fx.Node, samples: int | None, inputs: Container[str]) -> None:
        self.replaced = replaced
        self.samples = samples
        self.inputs = inputs
        self.made: list[fx.Node] = []
        # What an operation returns for arguments of some form, which is the same at every time step.
        self.known: dict[tuple[Any, ...], Any] = {}

    def __call__(self, operation: Callable[..., Any], *args: Any, name: str = "") -> fx.Node:
        graph = self.replaced.graph
        with graph.inserting_before(self.replaced):
            made = graph.call_function(operation, args)
        key = (operation, *pytree.tree_leaves(pytree.tree_map_only(fx.Node, _form, args)))
        if key not in self.known:
            self.known[key] = operation(*pytree.tree_map_only(fx.Node, lambda node: node.meta["val"], args))
        made.meta = {**self.replaced.meta, "val": self.known[key], NAME: name}
        self.made.append(made)
        return made

    def length(self, value: fx.Node, axis: int) -> int:
        return int(value.meta["val"].shape[axis])

    def axes(self, value: fx.Node) -> int:
        return int(value.meta["val"].ndim)

    def type_of(self, value: fx.Node) -> torch.dtype:
        kind: torch.dtype = value.meta["val"].dtype
        return kind

    def counts_samples(self, value: fx.Node, axis: int) -> bool:
        shape = value.meta["val"].shape
        # Where the number of samples is fixed, it is told from other sizes where it is theirs alone.
        fixed = [place for place, size in enumerate(shape) if not is_symbol(size) and size == self.samples]
        return is_symbol(shape[axis]) or (self.samples != 1 and fixed == [axis])

    def varies(self, value: fx.Node) -> bool:
        waiting, seen = [value], {value}
        while waiting:
            node = waiting.pop()
            if node.name in self.inputs:
                return True
            waiting += [read for read in node.all_input_nodes if read not in seen]
            seen.update(node.all_input_nodes)
        return False

    def is_zero(self, value: fx.Node) -> bool:
        if not isinstance(value.target, OpOverload):
            return False
        read = [node for node in value.all_input_nodes if isinstance(node.meta.get("val"), Tensor)]
        record = operator_called(value.target)
        if record is not None and record.fills is not None:
            return record.fills(value.args) == 0
        if not read:
            return _makes_zeros(value.target, value.args, value.kwargs)
        return record is not None and record.silent and all(map(self.is_zero, read))

    def refusal(self, why: str) -> InputError:
        path = module_path(self.replaced)
        where = f"module {path!r}" if path else "the model"
        return InputError(f"cannot trace {where} ({module_class(self.replaced)}): {why}.")


def _makes_zeros(operation: OpOverload, args: tuple[Any, ...], kwargs: Any) -> bool:
    """Whether an operation without inputs makes zeros; what depends on the number of samples is made for two."""

    def known(size: Any) -> Any:
        value = size.meta.get("val") if isinstance(size, fx.Node) else size
        return 2 if is_symbol(value) else value

    if torch.Tag.nondeterministic_seeded in operation.tags:
        return False
    made = operation(*pytree.tree_map(known, args), **pytree.tree_map(known, dict(kwargs)))
    return isinstance(made, Tensor) and not made.any()


def _form(node: fx.Node) -> str:
    """The shapes and types of what a node returns."""
    return str([(value.shape, value.dtype, value.device) for value in pytree.tree_leaves(node.meta["val"])])
