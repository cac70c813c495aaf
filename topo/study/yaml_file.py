"""YAML files that people write: read strictly, with the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

__all__ = ["KeyPath", "parse_value", "read_yaml", "written_path"]

KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that ``1e-4`` is a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: str | Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The mapping in a YAML file, and the line (from 1) of each key or list item by its path.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple
        The mapping, and path of keys -> line.

    Raises
    ------
    InputError
        When the file cannot be read, is not YAML, holds a key twice or is not a mapping.
    """
    path = Path(path)
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines = dict(_lines(path, node, ())) if node is not None else {}
        data = loader.construct_document(node) if node is not None else None
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the path of a study file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{place} is not valid YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no keys; a study file is lines such as 'models: [digits-cnn]'.")
    return data, lines


def parse_value(text: str) -> Any:
    """One value, read as it would be in a file.

    Parameters
    ----------
    text
        YAML of one value.

    Returns
    -------
    object
        What it stands for.

    Raises
    ------
    InputError
        When it is not YAML.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("all")
    (0.001, [1, 2], 'all')
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{text!r} is not a value: {getattr(error, 'problem', error)}.") from error


def _lines(path: Path, node: yaml.Node, where: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise InputError(
                    f"{path}, line {key.start_mark.line + 1}: key {key.value!r} is written twice; remove one."
                )
            seen.add(key.value)
            yield (*where, key.value), key.start_mark.line + 1
            yield from _lines(path, value, (*where, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _lines(path, value, (*where, index))


def written_path(path: KeyPath) -> str:
    """A key path as people write it.

    Parameters
    ----------
    path
        Keys and places in lists, from the top of the file.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> written_path(("pruners", 2, "name"))
    'pruners[2].name'
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
