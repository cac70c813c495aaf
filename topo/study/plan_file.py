"""What a study's folder says of its last run: the study file, its own code and the cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..own_code import is_file_name
from ..safe_files import replacing, require_file
from .config import NOT_IN_TABLE, StudyConfig
from .grid import Planned

__all__ = ["LAYOUT", "LastRun", "Plan", "changes", "check_same_study", "read_plan", "write_plan", "write_text"]

LAYOUT = 2
"""Version of what a study's folder holds; raised when another version of this package cannot read it."""

IDENTITY = ("dataset", "model", "pruner", "family", "sparsity", "seed")


class Plan(NamedTuple):
    """The plan of the last run.

    Attributes
    ----------
    name, digest
        Of the study: its name, and the hash of all that decides the table.
    code
        Hashes of its own code, by file name.
    cells
        Its cells.
    """

    name: str
    digest: str
    code: dict[str, str]
    cells: list[Planned]


class LastRun(NamedTuple):
    """What the folder of a study says of its last run: the cells, and in words what has changed since."""

    cells: list[Planned]
    changed: str


def write_plan(file: Path, config: StudyConfig, cells: Sequence[Planned]) -> None:
    """Record which cells a study has.

    Parameters
    ----------
    file
        The JSON file.
    config
        The study.
    cells
        Its cells.
    """
    head = {"layout": LAYOUT, "name": config.name, "config": config.digest(), "code": config.code()}
    head["columns"] = ["cell", *IDENTITY]
    lines = (json.dumps([key, *(identity[name] for name in IDENTITY)]) for key, identity in cells)
    # One line a cell, so that it can be looked at.
    write_text(file, f"{json.dumps(head)[:-1]}, " + '"cells": [\n' + ",\n".join(lines) + "\n]}\n")


def read_plan(file: Path) -> Plan | None:
    """The plan that a folder records; None where it records none, or one that is cut short or garbled.

    Parameters
    ----------
    file
        The JSON file.

    Returns
    -------
    Plan or None
        What `write_plan` wrote.

    Raises
    ------
    InputError
        When the file is there but cannot be read, or is of another version.
    """
    try:
        if file.exists():
            require_file(file)
        data = json.loads(file.read_text(encoding="utf-8"))
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); make it readable, or remove it.") from error
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if data.get("layout", LAYOUT) != LAYOUT or ("cells" in data and "layout" not in data):
        raise _other_layout(file.parent)
    try:
        columns = data["columns"][1:]
        cells = [Planned(str(key), dict(zip(columns, values, strict=True))) for key, *values in data["cells"]]
        if columns != list(IDENTITY) or not all(_is_identity(cell.identity) for cell in cells):
            return None
        keys = {cell.key for cell in cells}  # the names of files
        if not cells or len(keys) < len(cells) or not all(key.isascii() and key.isalnum() for key in keys):
            return None
        return Plan(str(data["name"]), str(data["config"]), dict(data["code"]), cells)
    except (KeyError, TypeError, ValueError):
        return None


def _is_identity(identity: Mapping[str, Any]) -> bool:
    """Whether the values are those of a network: names, a share, a seed."""
    *names, sparsity, seed = (identity[name] for name in IDENTITY)
    numbers = isinstance(sparsity, int | float) and isinstance(seed, int) and abs(seed) < 2**64
    return numbers and 0 <= sparsity <= 1 and all(isinstance(name, str) and _is_text(name) for name in names)


def _is_text(name: str) -> bool:
    """Whether a file can hold it, which halves of surrogate pairs cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _other_layout(folder: Path) -> InputError:
    return InputError(
        f"{folder} is a study made by another version of topo, whose results are laid out otherwise; read it with that "
        "version, or run the study in a new folder."
    )


def check_same_study(folder: Path, plan: Plan | None, config: StudyConfig, cells: Sequence[Planned]) -> None:
    """Refuse a folder that holds another study: of another layout, another name, or without a network in common.

    Parameters
    ----------
    folder
        The folder.
    plan
        What it records.
    config, cells
        The study to run in it, and its cells.

    Raises
    ------
    InputError
        It names both.
    """
    if next(folder.glob("cells/*/row.json"), None) is not None:
        raise _other_layout(folder)
    if plan is None or not plan.cells:
        return
    if plan.name != config.name:
        raise InputError(
            f"{folder} holds the study {plan.name!r}, not {config.name!r}; choose another folder (--into), or write "
            f"name: {plan.name} into the study file to go on with that one."
        )
    known = {tuple(identity.values()) for _, identity in plan.cells}
    if not any(tuple(identity[name] for name in IDENTITY) in known for _, identity in cells):
        raise InputError(
            f"{folder} holds another study {plan.name!r}, with which this one has no network in common; choose another "
            "folder (--into), or give the study another name."
        )


def changes(config: StudyConfig, config_file: Path, imports: Path) -> str:
    """What has changed in a study since its folder was last run, in words.

    Parameters
    ----------
    config
        The study now.
    config_file, imports
        The study file and the folder of own code that were kept.

    Returns
    -------
    str
        A part of a sentence.
    """
    files = [Path(source) for source in config.imports if is_file_name(source) and Path(source).is_file()]
    kept = {file: imports / file.name for file in files}
    changed = [file.name for file, copy in kept.items() if copy.is_file() and copy.read_bytes() != file.read_bytes()]
    try:
        before = StudyConfig.read(config_file, check=False)
    except InputError:
        before = config
    if before.model_dump(exclude=NOT_IN_TABLE) != config.model_dump(exclude=NOT_IN_TABLE):
        changed.append("the settings of the study")
    return " and ".join(changed) or "own code that the study uses, or topo itself,"


def write_text(path: Path, text: str) -> None:
    """Write a file unless it holds that text already.

    Parameters
    ----------
    path
        The file.
    text
        Its content.
    """
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        with replacing(path) as name:
            Path(name).write_bytes(content)
