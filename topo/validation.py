"""Checks keyword settings against the function that will receive them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .errors import InputError, unknown_name

__all__ = ["check_settings"]


def check_settings(function: Callable[..., Any], settings: Iterable[str], owner: str) -> None:
    """Refuse settings that are not keyword-only parameters of `function`.

    Raises
    ------
    InputError
        Names the first unknown setting, its `owner` and the nearest right names.

    Examples
    --------
    >>> def build(shape, *, width=1): ...
    >>> check_settings(build, ["width"], "model 'net'")
    >>> check_settings(build, ["widht"], "model 'net'")
    Traceback (most recent call last):
    topo.errors.InputError: unknown setting of model 'net' 'widht'; did you mean 'width'? Known: width.
    """
    parameters = inspect.signature(function).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for name in settings:
        if not known:
            raise InputError(f"{owner} takes no settings, but {name!r} was given; leave it out.")
        if name not in known:
            raise unknown_name(f"setting of {owner}", name, known)
