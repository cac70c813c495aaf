"""Parameters by the names that they have in the plain module, whatever parametrisation is behind them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from .errors import InputError, nearest

__all__ = [
    "called_with",
    "copied",
    "masks_within",
    "matching_names",
    "named_parameters",
    "named_tensors",
    "plain_names",
    "plain_owners",
]


def plain_names(model: nn.Module) -> dict[str, str]:
    """The plain name of every parameter that a parametrisation stores under another.

    The tensor from which a parametrisation computes ``0.weight`` is called ``0.weight``: the ``original`` of
    `torch.nn.utils.parametrize` (of several the largest, so the direction of a weight norm), ``weight_v`` of the older
    weight norm, ``weight_orig`` of the older spectral norm and of `torch.nn.utils.prune`. Others keep their names.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        Name in ``model.named_parameters()`` -> name in the plain module; only of those that differ.

    Examples
    --------
    >>> net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    >>> plain_names(net)
    {'0.parametrizations.weight.original1': '0.weight'}
    """
    return {
        f"{path}{stored}": f"{path}{plain}"
        for module, path in _modules(model)
        for stored, plain in _plain_names_of(module)
    }


def named_parameters(model: nn.Module, *, aliases: bool = False) -> dict[str, nn.Parameter]:
    """The parameters of a model by their plain names, in the model's own order.

    Parameters
    ----------
    model
        The network.
    aliases
        Whether a shared parameter appears under all its names, or under the first alone.

    Returns
    -------
    dict
        Plain name -> parameter of the model itself.
    """
    names = plain_names(model)
    return {names.get(name, name): p for name, p in model.named_parameters(remove_duplicate=not aliases)}


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a model by all their plain names.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        Plain name -> tensor of the model itself.
    """
    return {**named_parameters(model, aliases=True), **dict(model.named_buffers(remove_duplicate=False))}


def plain_owners(model: nn.Module) -> dict[int, tuple[nn.Parameter, list[nn.Module]]]:
    """The modules that every parameter is part of, a parametrised one in place of what computes its weight.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        ``id`` of a parameter -> the parameter and its modules.
    """
    owners: dict[int, tuple[nn.Parameter, list[nn.Module]]] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, parameter in named_parameters(model, aliases=True).items():
        owners.setdefault(id(parameter), (parameter, []))[1].append(modules[name.rpartition(".")[0]])
    return owners


def called_with(
    model: nn.Module, tensors: Mapping[str, Tensor], inputs: tuple[Any, ...], named: Mapping[str, Any] | None = None
) -> Any:
    """The model's output with tensors in the place of parameters, as `torch.func.functional_call` but by plain names.

    Parameters
    ----------
    model
        The network.
    tensors
        Plain name -> what stands in for that parameter or buffer.
    inputs, named
        Arguments of the model.

    Returns
    -------
    object
        What the model returns.
    """
    stored = {plain: name for name, plain in plain_names(model).items()}
    return functional_call(model, {stored.get(name, name): t for name, t in tensors.items()}, inputs, dict(named or {}))


def matching_names(model: nn.Module, patterns: str | Iterable[str] | None, preferred: Collection[str] = ()) -> set[str]:
    """Names of the parameters that shell-style patterns select, by any name of a shared one.

    Parameters
    ----------
    model
        The network.
    patterns
        A pattern, or several; None for none.
    preferred
        A pattern that matches some of these selects no others.

    Returns
    -------
    set
        Plain first names.

    Raises
    ------
    InputError
        When a pattern matches no parameter.
    """
    parameters = named_parameters(model)
    first_name = {id(p): name for name, p in parameters.items()}
    aliases: dict[str, list[str]] = {name: [] for name in parameters}
    for name, parameter in named_parameters(model, aliases=True).items():
        aliases[first_name[id(parameter)]].append(name)
    selected: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
        matches = {name for name in parameters if any(fnmatchcase(alias, pattern) for alias in aliases[name])}
        if not matches:
            close = nearest(pattern, parameters)
            hint = (
                f"; did you mean {' or '.join(map(repr, close))}?"
                if close
                else f", such as {next(iter(parameters))!r}."
            )
            raise InputError(f"the pattern {pattern!r} matches no parameter of the model{hint}")
        selected |= matches.intersection(preferred) or matches
    return selected


def masks_within(model: nn.Module) -> dict[str, Tensor]:
    """The masks that `torch.nn.utils.prune` keeps in a model, by the plain names of the weights.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    dict
        Plain name -> bool tensor on the CPU, True where that mask keeps the weight.

    Examples
    --------
    >>> from torch.nn.utils import prune
    >>> layer = nn.Linear(4, 3)
    >>> _ = prune.random_unstructured(layer, "weight", amount=5)
    >>> {name: int(mask.sum()) for name, mask in masks_within(layer).items()}
    {'weight': 7}
    """
    return {
        f"{path}{plain}": module._buffers[f"{plain}_mask"].detach().cpu() != 0  # type: ignore[union-attr]
        for module, path in _modules(model)
        for _, plain in _plain_names_of(module)
        if module._buffers.get(f"{plain}_mask") is not None
    }


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a model, also of one that holds tensors computed from its parameters, as older weight norms do.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    Module
        Shares nothing with `model`.

    Raises
    ------
    InputError
        When it cannot be copied.
    """
    # A tensor with a history cannot be copied; a computed weight is computed anew before it is used.
    memo = {
        id(computed): computed.detach().clone()
        for module in model.modules()
        for _, plain in _plain_names_of(module)
        if isinstance(computed := vars(module).get(plain), Tensor)
    }
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"the model cannot be copied: {str(error).splitlines()[0]}.") from error


def _modules(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Every module with what the names of its parameters begin with, shared ones under each of their names."""
    for name, module in model.named_modules(remove_duplicate=False):
        yield module, f"{name}." if name else ""


def _plain_names_of(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Stored and plain name, within a module, of each of its parameters where the two differ."""
    if parametrize.is_parametrized(module):
        for plain, stored in module.parametrizations.items():  # type: ignore[operator, union-attr]
            originals = [(name, p) for name, p in stored.named_parameters(recurse=False) if name.startswith("original")]
            if originals:
                name, _ = max(reversed(originals), key=lambda entry: entry[1].numel())
                yield f"parametrizations.{plain}.{name}", plain
    for name in module._parameters:
        plain, _, ending = name.rpartition("_")
        computed = isinstance(vars(module).get(plain), torch.Tensor)
        if computed and (ending == "orig" or (ending == "v" and f"{plain}_g" in module._parameters)):
            yield name, plain
