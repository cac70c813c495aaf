"""Lets a package be called like the one function it is named for: `topo.prune(...)`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


def make_callable(module_name: str, function_name: str) -> None:
    """Make calling the module `module_name` call its attribute `function_name`.

    A package such as ``topo.prune`` holds the algorithms and is also the verb users call; a function
    of the same name beside it would hide the package.
    """

    class CallableModule(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(self, function_name)(*args, **kwargs)

    sys.modules[module_name].__class__ = CallableModule
