"""Attention whose groups of query heads share keys and values, written with the keys and values repeated."""

from __future__ import annotations

from typing import Any

from torch import fx

from .operators import aten

__all__ = ["repeat_grouped_heads"]


def repeat_grouped_heads(graph: fx.Graph) -> None:
    """Write every `scaled_dot_product_attention` with ``enable_gqa`` as one with as many key as query heads.

    The operation itself repeats every key and value head for the query heads of its group, so the result is the same;
    as operations of the graph the repeats tell which channels belong together.

    Parameters
    ----------
    graph
        Of an exported program, changed in place.
    """
    for node in list(graph.nodes):
        if node.target is not aten.ATTENTION or not node.kwargs.get("enable_gqa"):
            continue
        query, key, value = node.args[:3]
        with graph.inserting_before(node):
            repeated = [_repeated(graph, node, heads, query.meta["val"].shape[-3]) for heads in (key, value)]
        node.args = (query, *repeated, *node.args[3:])
        node.kwargs = {name: given for name, given in node.kwargs.items() if name != "enable_gqa"}


def _repeated(graph: fx.Graph, attention: fx.Node, heads: fx.Node, wanted: int) -> fx.Node:
    """Heads repeated, each as often as there are query heads for it."""
    shape = heads.meta["val"].shape
    times = wanted // shape[-3]
    if times == 1:
        return heads
    sizes = [-1] * (len(shape) + 1)
    sizes[-3] = times
    made = heads
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (aten.NEW_AXIS, (-3,)),
        (aten.EXPAND, (sizes,)),
        (aten.FLATTEN, (-4, -3)),
    ]
    for operation, arguments in calls:
        value = operation(made.meta["val"], *arguments)
        made = graph.call_function(operation, (made, *arguments))
        made.meta = {**attention.meta, "val": value}
    return made
