"""YAML files that people write: read strictly, values as YAML 1.2 has them, with the line of every key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..safe_files import require_file

__all__ = ["KeyPath", "parse_value", "read_yaml", "written_path", "written_yaml"]

KeyPath = tuple[str | int, ...]

MOST_CHARACTERS = 1 << 18
MOST_VALUES = 100_000
DEEPEST = 30
CORE = "tag:yaml.org,2002:"
# Tag -> what its values look like, and how they begin (YAML 1.2, section 10.3.2; "<<" is of YAML 1.1).
CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", "~nN", True),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", False),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", False),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
        False,
    ),
    "merge": (r"<<", "<", False),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the values of YAML 1.2: ``1e-4`` is a number, ``2:4``, ``1_000`` and dates are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    yaml_constructors: dict[str | None, Any] = {}

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        # Before Python's own limit, which depends on who calls.
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "it is nested too deep", self.peek_event().start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        digits, base = (text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else (text, 10)
        try:
            number = int(digits, base) if len(digits) <= 64 else None
        except ValueError:
            number = None
        if number is None or not -(2**63) <= number < 2**64:
            raise _wrong(node, f"{_short(text)} is no whole number of at most 64 bits")
        return number

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        text = self.construct_scalar(node).lower()
        if text not in ("true", "false"):
            raise _wrong(node, f"{_short(text)} is neither true nor false")
        return text == "true"

    def construct_real_number(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node)
        try:
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise _wrong(node, f"{_short(text)} is no number") from None
        if math.isinf(number) and "inf" not in text.lower():
            raise _wrong(node, f"{_short(text)} is larger than any number here")
        return number


class _Dumper(yaml.SafeDumper):
    """Puts in quotes the text that YAML 1.1 or 1.2 would read as something else."""

    yaml_implicit_resolvers = {first: list(found) for first, found in yaml.SafeDumper.yaml_implicit_resolvers.items()}


for _tag, (_pattern, _first, _empty) in CORE_SCHEMA.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(CORE + _tag, re.compile(f"^(?:{_pattern})$"), [*_first, *([""] if _empty else [])])
for _tag, _construct in {
    "null": yaml.SafeLoader.construct_yaml_null,
    "bool": _Loader.construct_truth,
    "int": _Loader.construct_whole_number,
    "float": _Loader.construct_real_number,
    "str": yaml.SafeLoader.construct_yaml_str,
    "seq": yaml.SafeLoader.construct_yaml_seq,
    "map": yaml.SafeLoader.construct_yaml_map,
}.items():
    _Loader.add_constructor(CORE + _tag, _construct)
_Loader.add_constructor(None, yaml.SafeLoader.construct_undefined)


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
        When the file cannot be read, is not YAML, holds a key twice or is not a mapping; when it is longer, deeper or
        refers to itself more often than any study.
    """
    path = Path(path)
    try:
        if not os.path.lexists(path):
            raise InputError(f"{path} does not exist; give the path of a study file.")
        with require_file(path).open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    data, lines = _parsed(text, str(path))
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
    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("all"), parse_value("2:4")
    (0.001, [1, 2], 'all', '2:4')
    """
    return _parsed(text, f"the value {_short(text)}", lines=False)[0]


def written_yaml(data: Mapping[str, Any]) -> str:
    """The text of a file that reads back as these values.

    Parameters
    ----------
    data
        Text, numbers, ``True``, ``False``, None, and lists and mappings of these.

    Returns
    -------
    str
        YAML.

    Examples
    --------
    >>> print(written_yaml({"rate": 1e-4, "label": "1e-4"}), end="")
    rate: 0.0001
    label: '1e-4'
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _parsed(text: str, what: str, *, lines: bool = True) -> tuple[Any, dict[KeyPath, int]]:
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{what} is longer than {MOST_CHARACTERS:,} characters, more than any study needs.")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _check_size(node, (), {})
        where = dict(_lines(what, node, ()))
        return loader.construct_document(node), where
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark and lines else ""
        raise InputError(f"{what}{place} is not valid YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{what} is not valid YAML: {' '.join(str(error).split())}.") from error


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _check_size(node: yaml.Node, above: tuple[int, ...], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for when all that it refers to is written out, and how deep it is."""
    if id(node) in above:
        raise _wrong(node, "it refers to itself")
    if id(node) not in known:
        size, depth = 1, 0
        children = (
            [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
        )
        for child in children if isinstance(node, yaml.CollectionNode) else ():
            if len(above) >= DEEPEST:
                raise _wrong(node, "it is nested too deep")
            more, below = _check_size(child, (*above, id(node)), known)
            size, depth = size + more, max(depth, below + 1)
        known[id(node)] = size, depth
    size, depth = known[id(node)]
    if size > MOST_VALUES:
        raise _wrong(node, f"it stands for more than {MOST_VALUES:,} values")
    if len(above) + depth > DEEPEST:
        raise _wrong(node, "it is nested too deep")
    return size, depth


def _lines(what: str, node: yaml.Node, where: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{CORE}str", f"{CORE}merge"):
                written = _short(key.value) if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                raise _wrong(key, f"a key is text, in quotes where it may be taken for something else, not {written}")
            if key.value in seen:
                raise InputError(f"{what}, line {line}: key {_short(key.value)} is written twice; remove one.")
            seen.add(key.value)
            yield (*where, key.value), line
            yield from _lines(what, value, (*where, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _lines(what, value, (*where, index))


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
