"""What of a model, and around it, decides how it is traced, as values that can be compared."""

from __future__ import annotations

import enum
import functools
import logging
import re
import sys
import sysconfig
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .operators import OPERATORS

__all__ = ["ModelState", "Unknown"]

MAX_PARTS = 500_000
MAX_VALUES = 64
"""Tensors that are neither parameters nor buffers count by value up to this size, by identity above it."""

_PLAIN = (str, bytes, bool, int, type(None), type(...), torch.dtype, torch.device, torch.layout, torch.memory_format)
_BY_IDENTITY = (
    *(types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType),
    *(types.MemberDescriptorType, types.MethodWrapperType, types.ModuleType, logging.Logger),
    *(torch._ops.OpOverload, torch._ops.OpOverloadPacket, np.ufunc, re.Pattern),
)
_CONTAINERS = (dict, types.MappingProxyType, list, tuple, deque, set, frozenset)
_NOT_TRACED = re.compile(r"_(is_full_)?backward|_(load_)?state_dict|_graph$|_code$|_compiled_call_impl$")
"""Attributes of modules that no forward pass reads."""
_OF_CLASSES = {
    "__doc__",
    "__module__",
    "__dict__",
    "__weakref__",
    "__annotations__",
    "__firstlineno__",
    "__qualname__",
    "__slotnames__",
}
_GLOBAL_HOOKS = tuple(name for name in vars(nn.modules.module) if re.fullmatch(r"_global_forward_\w+", name))
_PACKAGES = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(torch.__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1])}
)


class Unknown(Exception):
    """Something that cannot be compared takes part, so that nobody can tell whether a trace would be the same."""


class ModelState:
    """All that a trace of a model depends on, but for the values of its parameters and buffers.

    Classes, attributes, hooks, the forms of tensors and which of them are one, the functions of code outside of
    installed packages with what they read from around them, and the settings of torch.

    Parameters
    ----------
    model
        A network, in the mode in which it is traced.
    inputs
        What it is called with; of tensors only the form counts.

    Attributes
    ----------
    key
        Equal for two states for which a trace is the same. It keeps no part of the model alive.
    tensors
        The tensors of the model, in the same order for equal keys.

    Raises
    ------
    Unknown
        When an attribute is an object whose state cannot be seen, such as a generator.

    Examples
    --------
    >>> model = nn.Conv2d(1, 2, 3)
    >>> x = torch.zeros(1, 1, 8, 8)
    >>> before = ModelState(model, x).key
    >>> with torch.no_grad():
    ...     _ = model.weight.zero_()
    >>> ModelState(model, x).key == before
    True
    >>> model.stride = (2, 2)
    >>> ModelState(model, x).key == before
    False
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self.tensors: list[Tensor] = []
        self._parts: list[Any] = []
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []
        self._open: list[Any] = []
        self._settings()
        leaves, form = pytree.tree_flatten(inputs)
        self._parts.append(str(form))
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                self._form(leaf)
            else:
                self._add(leaf)
        self._add(model)
        self.key: Hashable = tuple(self._parts)
        del self._seen, self._alive, self._open, self._parts

    def _settings(self) -> None:
        modes = (_get_current_function_mode_stack(), _get_current_dispatch_mode())
        if any(modes) or any(getattr(nn.modules.module, name) for name in _GLOBAL_HOOKS):
            raise Unknown
        self._parts += [
            torch.get_default_dtype(),
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_enabled("cuda"),
            torch.backends.mha.get_fastpath_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            nn.utils.parametrize._cache_enabled,
            *map(_Same, OPERATORS.values()),
        ]

    # Values by their kind

    def _add(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            self._parts += [kind, value]
        elif kind in (float, complex):
            self._parts += [kind, repr(value)]
        elif isinstance(value, enum.Enum):
            self._parts += [_Same(kind), value.name]
        elif isinstance(value, _BY_IDENTITY):
            self._parts.append(_Same(value))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.MethodType):
            self._add(value.__self__)
            self._add(value.__func__)
        elif kind in _WRAPPERS:
            self._parts.append(kind)
            for part in _WRAPPERS[kind](value):
                self._add(part)
        elif isinstance(value, _CONTAINERS):
            # Export puts copies in place of containers, so one that is met twice is written out twice.
            if any(value is one for one in self._open) or len(self._parts) > MAX_PARTS:
                raise Unknown
            self._open.append(value)
            self._object(value, kind)
            self._open.pop()
        elif not self._again(value):
            self._new(value, kind)

    def _again(self, value: Any) -> bool:
        """Whether a value has been met before: its number is added in place of it."""
        number = self._seen.get(id(value))
        if number is not None:
            self._parts += ["again", number]
            return True
        if len(self._parts) > MAX_PARTS:
            raise Unknown
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        return False

    def _new(self, value: Any, kind: type) -> None:
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, Tensor):
            self._form(value)
            self._value(value)
        elif isinstance(value, nn.Module):
            self._module(value)
        elif isinstance(value, np.ndarray | np.generic):
            if value.dtype.hasobject or value.nbytes > 1 << 20:
                raise Unknown
            self._parts += [kind, value.dtype.str, value.shape, value.tobytes()]
        elif isinstance(value, weakref.ref):
            self._add(value())
        else:
            self._object(value, kind)

    def _object(self, value: Any, kind: type) -> None:
        self._class(kind)
        if isinstance(value, dict | types.MappingProxyType):
            self._items(dict(value))
        elif isinstance(value, list | tuple | deque):
            self._parts.append(len(value))
            for entry in value:
                self._add(entry)
        elif isinstance(value, set | frozenset):
            if not all(type(entry) in _PLAIN for entry in value):
                raise Unknown
            self._parts.append(frozenset(value))
        elif not all(map(_written_in_python, kind.__mro__[:-1])):
            raise Unknown
        for base in kind.__mro__[:-1]:
            names = vars(base).get("__slots__", ())
            for name in (names,) if isinstance(names, str) else names:
                if name not in ("__dict__", "__weakref__"):
                    self._add(getattr(value, name, None))
        if hasattr(value, "__dict__"):
            self._items(vars(value))

    def _items(self, items: dict[Any, Any]) -> None:
        self._parts.append(len(items))
        for key, value in items.items():
            self._add(key)
            self._add(value)

    # Modules and tensors

    def _module(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            raise Unknown
        self._class(type(module))
        own = module._parameters | module._buffers
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers"):
                self._parts.append(len(getattr(module, name)))
                for key, tensor in getattr(module, name).items():
                    self._parts.append(key)
                    if tensor is None or self._again(tensor):
                        continue
                    self._form(tensor)
            elif not _NOT_TRACED.match(name) and not (
                # What a hook computes anew at each call, from `weight_orig` or `weight_v`.
                isinstance(value, Tensor) and (f"{name}_orig" in own or f"{name}_v" in own)
            ):
                self._parts.append(name)
                self._add(value)

    def _form(self, tensor: Tensor) -> None:
        if nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided:
            raise Unknown
        # Not whether it requires gradients: models are traced without any.
        self._parts += [type(tensor), tensor.shape, tensor.stride(), tensor.dtype, tensor.device]
        self.tensors.append(tensor)

    def _value(self, tensor: Tensor) -> None:
        # Export turns conditions on such tensors into constants.
        if tensor.is_meta or tensor.numel() > MAX_VALUES:
            self._parts += [_Same(tensor), tensor._version]
        else:
            self._parts.append(repr(tensor.tolist()))

    # Code

    def _class(self, kind: type) -> None:
        if kind.__module__ == "builtins" or self._again(kind):
            self._parts.append(kind.__qualname__)
            return
        for base in kind.__mro__[:-1]:
            self._parts.append(_Same(base))
            if _is_installed(getattr(sys.modules.get(base.__module__), "__file__", None) or base.__module__):
                self._parts += [_Same(f) for f in (vars(base).get("forward"),) if isinstance(f, types.FunctionType)]
                continue
            for name, value in vars(base).items():
                if name not in _OF_CLASSES:
                    self._parts.append(name)
                    self._add(value)

    def _function(self, function: types.FunctionType) -> None:
        self._parts.append(_Same(function))
        if _is_installed(function.__code__.co_filename) and not function.__closure__:
            return
        self._parts.append(_Same(function.__code__))
        self._add(function.__defaults__)
        self._add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                self._add(cell.cell_contents)
            except ValueError:
                self._parts.append("empty")
        if not _is_installed(function.__code__.co_filename):
            self._globals(function)

    def _globals(self, function: types.FunctionType) -> None:
        names = _names(function.__code__)
        for name in names:
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType) and not _is_installed(getattr(value, "__file__", None) or "builtin"):
                for attribute in names:
                    if attribute in vars(value):
                        self._parts.append(attribute)
                        self._add(vars(value)[attribute])
            else:
                self._parts.append(name)
                self._add(value)


class _Same:
    """Equal to another for the same living object alone; holds it weakly."""

    __slots__ = ("_hash", "_of")

    def __init__(self, value: Any) -> None:
        try:
            self._of = weakref.ref(value)
        except TypeError as error:
            raise Unknown from error
        self._hash = id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._hash == other._hash and self._of() is other._of() is not None


_WRAPPERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    functools.partial: lambda value: (value.func, value.args, value.keywords),
    functools.cached_property: lambda value: (value.func,),
    property: lambda value: (value.fget,),
    staticmethod: lambda value: (value.__func__,),
    classmethod: lambda value: (value.__func__,),
    slice: lambda value: (value.start, value.stop, value.step),
    range: lambda value: (value.start, value.stop, value.step),
}


@lru_cache(maxsize=1024)
def _is_installed(file: str) -> bool:
    """Whether code is part of Python or of an installed package, which nobody edits while it runs."""
    if not file.endswith((".py", ".pyc", ".so", ".pyd")):
        return file in sys.builtin_module_names or file == "builtin"
    return str(Path(file).resolve()).startswith(_PACKAGES)


def _written_in_python(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None) or ""
    return kind.__module__ == "__main__" or file.endswith((".py", ".pyc"))


@lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names of globals and attributes that code reads, also within functions in it."""
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return tuple(dict.fromkeys((*code.co_names, *inner)))
