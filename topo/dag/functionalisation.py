"""Making an exported graph free of in-place operations, operation by operation where that is plainly right.

`ExportedProgram.run_decompositions` does so for every graph, by running the program twice more on symbolic tensors,
which takes longer than the export. Most networks only need activations and sums that are not in place, and views with
sizes written out, as of the heads of attention.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from .exported_nodes import is_symbol
from .operators import OPERATORS, Operator, aten

__all__ = ["functionalised"]

# Arguments that say whether an operation behaves as in training.
TRAINING = ("train", "training")


def functionalised(graph: fx.Graph) -> bool:
    """Replace the in-place operations of an exported graph; False, and the graph as it was, where that takes more.

    An operation in place is replaced where its operand is memory that another operation has allocated and that no
    other tensor shares. More is taken by everything else that writes into a tensor, and by operations that have no
    record in `topo.dag.operators`: they may be made of operations that have one.

    Parameters
    ----------
    graph
        Of a `torch.export.ExportedProgram` in evaluation mode.
    """
    calls = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    replacements: dict[fx.Node, OpOverload] = {}
    laid_out: dict[fx.Node, list[Any]] = {}
    for node in calls:
        if node.op != "call_function":
            return False
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable:
            replacement = _out_of_place(node, replacements)
            if replacement is None:
                return False
            replacements[node] = replacement
        elif node.users and not _is_known(node):
            sizes = _sizes(node)
            if sizes is None:
                return False
            laid_out[node] = sizes
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node, target in replacements.items():
        operand: fx.Node = node.args[0]  # type: ignore[assignment]
        place = order[node]
        for user in [user for user in operand.users if order[user] > place]:
            user.replace_input_with(operand, node)  # it has read what was written
        node.target = target
    for node, sizes in laid_out.items():
        _lay_out(node, sizes)
    return True


def _is_known(node: fx.Node) -> bool:
    """Whether the operation computes sizes or a constant alone, or has a record and behaves as in evaluation."""
    if not _has_tensors(node):
        return True
    record = _record(node.target)
    if record is None and isinstance(node.target, OpOverload) and not any(map(_has_tensors, node.all_input_nodes)):
        return not node.target._can_decompose() and torch.Tag.nondeterministic_seeded not in node.target.tags
    if record is None or record.composite:
        return False
    return not any(given for name, given in _named_arguments(node).items() if name in TRAINING)


def _has_tensors(node: fx.Node) -> bool:
    return any(isinstance(value, Tensor) for value in pytree.tree_leaves(node.meta.get("val")))


def _sizes(node: fx.Node) -> list[Any] | None:
    """The sizes of the result of a composite operation; those that are free as an input and the axis that has them."""
    record = _record(node.target)
    if record is None or not record.composite:
        return None
    free: list[tuple[Any, tuple[fx.Node, int]]] = [
        (size, (read, axis))
        for read in node.all_input_nodes
        if isinstance(value := read.meta.get("val"), Tensor)
        for axis, size in enumerate(value.shape)
        if is_symbol(size)
    ]
    sizes: list[Any] = []
    for size in node.meta["val"].shape:
        same = [place for one, place in free if is_symbol(size) and one.node.expr == size.node.expr]
        if is_symbol(size) and not same:
            return None
        sizes.append(same[0] if same else int(size))
    return sizes


def _lay_out(node: fx.Node, sizes: list[Any]) -> None:
    """Let a composite operation be the one that is called with the sizes of its result."""
    written: list[Any] = []
    with node.graph.inserting_before(node):
        for size in sizes:
            if isinstance(size, tuple):
                read, axis = size
                size = node.graph.call_function(aten.BATCH_SIZE, (read, axis))
                size.meta = {**node.meta, "val": read.meta["val"].shape[axis]}
            written.append(size)
    record = _record(node.target)
    assert record is not None
    node.target = record.composite
    node.args, node.kwargs = (node.args[0], written), {}


def _record(operation: Any) -> Operator | None:
    return OPERATORS.get(getattr(operation, "overloadpacket", operation).__name__)


def _named_arguments(node: fx.Node) -> dict[str, Any]:
    if not isinstance(node.target, OpOverload):
        return dict(node.kwargs)
    names = [argument.name for argument in node.target._schema.arguments]
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _out_of_place(node: fx.Node, replaced: Container[fx.Node]) -> OpOverload | None:
    """The operation that an in-place one can be replaced by; None where others may see what it writes."""
    operation: Any = node.target
    operand = node.args[0] if node.args else None
    if not isinstance(operand, fx.Node) or not _allocates(operand, replaced):
        return None
    readers = [user for user in operand.users if user is not node and user.op == "call_function"]
    if not all(_allocates(reader, replaced) for reader in readers):
        return None
    kinds = {a.meta["val"].dtype for a in node.all_input_nodes if isinstance(a.meta.get("val"), Tensor)}
    library = getattr(torch.ops, operation.namespace)
    packet = getattr(library, operation.overloadpacket.__name__.removesuffix("_"), None)
    replacement = getattr(packet, operation._overloadname, None)
    record = None if replacement is None else _record(replacement)
    if replacement is None or record is None or replacement._schema.is_mutable:
        return None
    # Where types differ, the operation in place rounds its result to the type of its operand; the other one does not.
    keeps_type = len(kinds) == 1 and kinds.pop().is_floating_point and not record.comparison
    return replacement if keeps_type and _argument_types(replacement) == _argument_types(operation) else None


def _argument_types(operation: OpOverload) -> list[str]:
    return [str(argument.type) for argument in operation._schema.arguments]


def _allocates(node: fx.Node, replaced: Container[fx.Node]) -> bool:
    """Whether the result of a node is memory of its own, operations in place being `replaced`."""
    operation = node.target
    if node.op != "call_function" or not isinstance(operation, OpOverload):
        return False
    if operation._schema.is_mutable:
        return node in replaced
    if any(returned.alias_info is not None for returned in operation._schema.returns):
        return False
    # What is composed of other operations may hand its input on, whatever its schema says, as dropout does.
    record = _record(operation)
    if record is None:
        return not operation._can_decompose()
    if record.view and not record.fills_slots:
        return False
    computes = record.norm or record.activation or bool(record.weights) or record.addend != 0
    return computes or not operation._can_decompose()
