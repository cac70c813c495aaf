"""The arguments of the smaller module: those of the model."""

from __future__ import annotations

import inspect
import operator
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

__all__ = ["argument_tensors", "identifier"]


def argument_tensors(graph: fx.Graph, model: nn.Module, example: tuple[Any, ...] | dict[str, Any]) -> list[fx.Node]:
    """Write the arguments of a model's forward into a graph, as far as an example has them.

    Parameters
    ----------
    graph
        An empty graph, which gets a placeholder for each argument; those after the last with a tensor have a default.
    model
        Gives the arguments their names.
    example
        What the model was traced with.

    Returns
    -------
    list
        The tensors among the arguments, in order.
    """
    named = _named(model, example)
    needed = max(place for place, value in enumerate(named.values()) if _holds_tensor(value))
    tensors = []
    for place, (name, value) in enumerate(named.items()):
        # What holds no tensor is as it was when the network was traced.
        argument = graph.placeholder(name, default_value=inspect.Parameter.empty if place <= needed else value)
        for path, leaf in pytree.tree_flatten_with_path(value)[0]:
            if isinstance(leaf, Tensor):
                entry = argument
                for key in path:
                    entry = graph.call_function(*_reading(entry, key))
                tensors.append(entry)
    return tensors


def _named(model: nn.Module, example: tuple[Any, ...] | dict[str, Any]) -> dict[str, Any]:
    """The arguments of an example by the names that the model's forward gives them."""
    if isinstance(example, dict):
        return example
    named: dict[str, Any] = {}
    signature = inspect.signature(model.forward)
    for name, value in signature.bind(*example).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            named.update({f"{name}_{number}": part for number, part in enumerate(value)})
        else:
            named[name] = value
    return named


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value))


def _reading(value: fx.Node, key: Any) -> tuple[Any, tuple[Any, ...]]:
    """The call that reads one entry of a dict, list, tuple or named tuple."""
    if isinstance(key, pytree.GetAttrKey):
        return getattr, (value, key.name)
    return operator.getitem, (value, key.key if isinstance(key, pytree.MappingKey) else key.idx)


def identifier(name: str) -> str:
    """A name as Python can write it.

    Parameters
    ----------
    name
        Any.

    Returns
    -------
    str
        With underscores in place of what names of Python cannot hold.

    Examples
    --------
    >>> identifier("layer.0:weight")
    'layer_0_weight'
    """
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name)
