"""Names of parameters from a model in a wrapper, such as `nn.DataParallel`, and those of the plain model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from .errors import warn

__all__ = ["matched_names", "renamed"]

T = TypeVar("T")

# What torch's wrappers call the model inside, wherever they are.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# What wrappers, and the classes that train a model, call the whole of it.
PREFIXES = (*WRAPPERS, "module", "model", "net", "network")


def matched_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """For names that are known but for wrappers around the model on either side: the known name of each.

    Left out are the names that `torch.compile` and sharding put in between, and ``module.``, ``model.``, ``net.`` and
    ``network.`` where all names begin so.

    Parameters
    ----------
    names
        Names as they are.
    known
        Names as they should be.

    Returns
    -------
    dict
        Name -> known name; empty where no choice of wrappers makes all names known.

    Examples
    --------
    >>> matched_names(["module.0.weight", "module.0.bias"], ["0.weight", "0.bias"])
    {'module.0.weight': '0.weight', 'module.0.bias': '0.bias'}
    >>> matched_names(["0.weight"], ["_orig_mod.0.weight", "_orig_mod.0.bias"])
    {'0.weight': '_orig_mod.0.weight'}
    >>> matched_names(["0.weight", "module.0.bias"], ["0.weight", "0.bias"])
    {}
    """
    names, known = list(names), list(known)
    for inner in _unwrapped(known):
        outer = dict(zip(inner, known, strict=True))
        for bare in _unwrapped(names):
            if len(outer) == len(known) and all(name in outer for name in bare):
                return {name: outer[plain] for name, plain in zip(names, bare, strict=True)}
    return {}


def _unwrapped(names: list[str]) -> Iterator[list[str]]:
    """The names, then those without what is wrapped around parts, then without one more common prefix at a time."""
    yield names
    parts = [[part for part in name.split(".") if part not in WRAPPERS] for name in names]
    while True:
        yield [".".join(name) for name in parts]
        if not parts or any(len(name) < 2 or name[0] != parts[0][0] for name in parts) or parts[0][0] not in PREFIXES:
            return
        parts = [name[1:] for name in parts]


def renamed(values: Mapping[str, T], known: Collection[str], *, what: str = "") -> Mapping[str, T]:
    """Values by known names, where theirs are known but for wrappers around the model; else the values as they are.

    Parameters
    ----------
    values
        Name -> anything.
    known
        Names as they should be.
    what
        What the values are, such as ``"masks"``; with it a warning says what was done.

    Returns
    -------
    mapping
        Known name -> value.

    Warns
    -----
    UserWarning
        Where `what` is given and names have changed.

    Examples
    --------
    >>> renamed({"module.weight": 1}, ["weight", "bias"]), renamed({"heights": 1}, ["weight", "bias"])
    ({'weight': 1}, {'heights': 1})
    """
    names = matched_names(values, known)
    changed = [name for name, plain in names.items() if name != plain]
    if not changed:
        return values
    if what:
        rest = f", and {len(changed) - 1} more alike" if len(changed) > 1 else ""
        warn(f"the {what} of {changed[0]!r} is taken for that of {names[changed[0]]!r}{rest}.")
    return {plain: values[name] for name, plain in names.items()}
