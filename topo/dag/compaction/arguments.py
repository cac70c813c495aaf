"""The arguments of the smaller module: those of the model."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

__all__ = ["argument_tensors", "identifier"]


def argument_tensors(graph: fx.Graph, model: nn.Module, example: tuple[Any, ...] | dict[str, Any]) -> list[fx.Node]:
    """Write the arguments of a model's forward into a graph, in its order and with its defaults, those given first.

    What the example does not give, or gives without a tensor in it, is part of what was traced: the graph asserts that
    a call gives the same.

    Parameters
    ----------
    graph
        An empty graph, which gets a placeholder for each argument.
    model
        Gives the arguments their names, their order and their defaults.
    example
        What the model was traced with.

    Returns
    -------
    list
        The tensors among the arguments of the example, in its order.
    """
    named = _named(model, example)
    order, defaults = _signature(model, named)
    placeholders: dict[str, fx.Node] = {}
    traced_with: list[tuple[str, Any]] = []
    default_before = False
    for name in order:
        given = name in named and _holds_tensor(named[name])
        default_before |= name in defaults or not given
        value = None if given else named.get(name, defaults.get(name))
        placeholders[name] = graph.placeholder(name, default_value=value if default_before else inspect.Parameter.empty)
        if not given:
            traced_with.append((name, value))
    for name, value in traced_with:
        _assert_same(graph, placeholders[name], name, value)
    tensors = []
    for name, value in named.items():
        for path, leaf in pytree.tree_flatten_with_path(value)[0]:
            if isinstance(leaf, Tensor):
                entry = placeholders[name]
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


def _signature(model: nn.Module, named: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The names of a forward's arguments in its order, those that the example does not give last, where
    `torch.export` finds arguments by keyword; and the defaults of those that have one."""
    parameters = inspect.signature(model.forward).parameters.values()
    own = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    defaults = {p.name: p.default for p in own if p.default is not p.empty}
    given = [p.name for p in own if p.name in named]
    return list(dict.fromkeys([*given, *named, *defaults])), defaults


def _assert_same(graph: fx.Graph, argument: fx.Node, name: str, value: Any) -> None:
    """Refuse, when the graph runs, another value of an argument than the plain one that was traced."""
    plain = (bool, int, float, str, type(None))
    if not all(isinstance(leaf, plain) for leaf in pytree.tree_leaves(value)):
        return
    same = graph.call_function(operator.eq, (argument, value))
    sentence = f"this network was made smaller for {name}={value!r}; make it smaller again for another value."
    graph.call_function(torch._assert, (same, sentence))


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
