"""Code from outside the package: a Python file or a module whose import registers pruners, metrics, models and more."""

from __future__ import annotations

import importlib
import keyword
import os
import sys
import threading
import traceback
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from .errors import InputError, described

__all__ = ["digest_of", "import_code", "is_file_name"]

_imported: dict[str, str] = {}
"""Digest of every file that was imported here, by the name of its module."""
_lock = threading.RLock()


def is_file_name(source: str) -> bool:
    """Whether `source` names a Python file, not a module.

    Parameters
    ----------
    source
        As written in ``--import`` or under ``imports``.

    Returns
    -------
    bool
        False for the dotted name of a module.

    Examples
    --------
    >>> is_file_name("my_code.py"), is_file_name("my_package.pruners")
    (True, False)
    """
    return source.endswith(".py") or "/" in source or os.sep in source


def digest_of(file: Path) -> str:
    """Hash of a file's content.

    Parameters
    ----------
    file
        Any file.

    Returns
    -------
    str
        SHA-256, in hexadecimal.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); give the Python file of your own code.") from error


def import_code(source: str | Path) -> ModuleType:
    """Import a Python file, or a module by its dotted name; what it registers is then known by name.

    A file becomes the module of its own name, ``my_code.py`` the module ``my_code``, so that other files imported
    later can import it. It is executed once, and again when its content has changed.

    Parameters
    ----------
    source
        A file's path, or a module's dotted name.

    Returns
    -------
    ModuleType
        The module.

    Raises
    ------
    InputError
        When there is no such file or module, its name is taken by another one, or its code fails; the sentence says
        in which line.
    """
    with _lock:
        return _import_file(Path(source)) if is_file_name(str(source)) else _import_module(str(source))


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"module {name!r} cannot be imported ({error}).") from error
        raise InputError(
            f"there is no module {name!r}; give the path of a .py file, or a module that Python can import."
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(f"module {name!r} cannot be imported ({described(error).rstrip('.')}).") from error


def _import_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f"{path} cannot be imported; name it like a Python module, such as my_code.py.")
    if name in sys.stdlib_module_names:
        raise InputError(f"{path} has the name of a module of Python's own; rename it.")
    digest = digest_of(path)
    known = sys.modules.get(name)
    if known is not None:
        file = _file_of(known)
        imported_as_usual = file == path and name not in _imported
        same_elsewhere = file is not None and file != path and digest_of(file) == digest
        if imported_as_usual or same_elsewhere or _imported.get(name) == digest:
            return known
        if file != path:
            raise InputError(
                f"{path} cannot be imported, because {file or 'another module'} is loaded as {name!r} already; "
                "rename one of them, or use a fresh process."
            )
    spec = spec_from_file_location(name, path)
    assert spec is not None  # for a file that ends in .py
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not by the loader of the spec, which would leave compiled files behind, and take up outdated ones.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known
        raise InputError(f"{path}{_line(path, error)} cannot be imported: {described(error).rstrip('.')}.") from error
    _imported[name] = digest
    return module


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _line(path: Path, error: BaseException) -> str:
    """Where in the file its code failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else (lines or [None])[-1]
    return f", line {line}," if line is not None else ""
