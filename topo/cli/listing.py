"""``topo list``: what there is, by name."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Annotated, Any

import typer

from ..errors import unknown_name
from ..registry import Entry, Registry
from ..validation import Setting, settings_of
from .options import Imports

__all__ = ["list_names"]

REGISTRIES = {
    "models": "models.MODELS",
    "datasets": "datasets.DATASETS",
    "pruners": "pruning.PRUNERS",
    "metrics": "features.METRICS",
    "encodings": "encoding.ENCODINGS",
    "recipes": "training.RECIPES",
    "losses": "training.LOSSES",
    "targets": "training.TARGETS",
    "questions": "questions.QUESTIONS",
}
"""Where the registry of each list is: a package of topo and its attribute, loaded when asked for."""
COLUMNS = "columns"
"""The list that is of no registry: what the columns of tables say."""
WIDTH = 100


def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="|".join((*REGISTRIES, COLUMNS)),
            help="What to list.",
            autocompletion=lambda: [*REGISTRIES, COLUMNS],
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FAMILY|PATTERN]",
            help="One of them, with its settings; or a family, or a pattern. Of columns also a file of a table.",
        ),
    ] = None,
    imports: Imports = None,
) -> None:
    """List what there is by name, by family, one line each; or one of them with its settings.

    \b
      topo list pruners                with what each needs beside the network, and its paper
      topo list pruners "*snip*"       those whose names match
      topo list pruners synflow        what it does, and its settings
      topo list metrics                by category; a category's name selects all of it
      topo list metrics local          those of one category, as of one family of pruners
      topo list encodings              with their options
      topo list columns rolled__k_core_norm_max    what a column of a table says; of a file, of all of its columns
    """
    if kind == COLUMNS:
        typer.echo("\n".join(_columns(name)))
        return
    if kind not in REGISTRIES:
        raise unknown_name("list", kind, (*REGISTRIES, COLUMNS))
    registry = _registry(kind)
    if name is None or any(character in name for character in "*?["):
        lines = list(_table(kind, registry, name))
    elif name not in registry and name in _families(kind, registry):
        lines = list(_table(kind, registry, family=name))
    else:
        lines = list(_card(kind, registry.entry(_metric_of(name) if kind == "metrics" else name)))
    typer.echo("\n".join(lines))


def _metric_of(name: str) -> str:
    """The metric that fills a column, for a name that is a column's."""
    from ..features.registry import METRICS, columns_of

    filling = [entry.name for entry in METRICS.entries() if name in columns_of(entry)]
    return name if name in METRICS or not filling else filling[0]


def _columns(name: str | None) -> Iterator[str]:
    """What a column says, or all that match a pattern, or those of a table in a file."""
    from ..features.registry import METRICS, columns_of
    from ..results.dictionary import RUN_COLUMNS, describe_columns

    known = [*RUN_COLUMNS, *(column for entry in METRICS.entries() for column in columns_of(entry))]
    if name is None or any(character in name for character in "*?["):
        asked = [column for column in known if name is None or fnmatchcase(column, name)]
    elif name.endswith((".parquet", ".csv")):
        from ..tables import read_table

        asked = list(read_table(name).columns)
    else:
        asked = [name]
    told = describe_columns(asked)["description"]
    if len(asked) == 1 and not told.iloc[0]:
        raise unknown_name("column", asked[0], known)
    if not asked:
        yield f"No column matches {name}."
    width = max((len(column) for column in told.index), default=0)
    for column, text in told.items():
        yield f"  {column:<{width}}  {text or 'Not a column that topo fills.'}"


def _registry(kind: str) -> Registry[Any]:
    package, attribute = REGISTRIES[kind].split(".")
    return getattr(importlib.import_module(f"topo.{package}"), attribute)


def _table(
    kind: str, registry: Registry[Any], pattern: str | None = None, *, family: str | None = None
) -> Iterator[str]:
    """One line an entry, by family; those whose names match a pattern, or those of one family."""
    entries = [entry for entry in registry.entries() if pattern is None or fnmatchcase(entry.name, pattern)]
    entries = [entry for entry in entries if family is None or entry.family == family]
    names = _torchvision(kind) if family is None else []
    torchvision = [name for name in names if pattern is None or fnmatchcase(name, pattern)]
    if not entries and not torchvision:
        yield f"No name matches {pattern}." if family is None else f"Nothing is of {family} yet."
        return
    width = max((len(entry.name) for entry in entries), default=0)
    needs = _needs(kind, entries)
    families = _families(kind, registry)
    for heading, members in groupby(sorted(entries, key=lambda e: families.index(e.family)), key=lambda e: e.family):
        if heading:
            yield typer.style(heading, bold=True)
        for entry in members:
            paper = f" [{entry.info['paper']}]" if "paper" in entry.info else ""
            yield f"  {entry.name:<{width}}  {needs.get(entry.name, '')}{entry.summary}{paper}"
    if torchvision:
        yield typer.style("torchvision (torchvision:NAME where a name is also above)", bold=True)
        yield f"  {', '.join(torchvision)}"


def _needs(kind: str, entries: Iterable[Entry[Any]]) -> dict[str, str]:
    """What pruners need beside the network by name, in a column; nothing of other kinds."""
    if kind != "pruners":
        return {}
    from ..pruning.needs import NEEDS, needs_of

    return {entry.name: f"{needs_of(entry.name):<{max(map(len, NEEDS))}}  " for entry in entries}


def _card(kind: str, entry: Entry[Any]) -> Iterator[str]:
    """All that is known of one entry."""
    paper = f"  [{entry.info['paper']}]" if "paper" in entry.info else ""
    yield typer.style(entry.name, bold=True) + (f"  {entry.family}" if entry.family else "") + paper
    described = _prose(entry.item.__doc__) if hasattr(entry.item, "__name__") else entry.summary
    for paragraph in (described or entry.summary).split("\n\n"):
        yield from textwrap.wrap(paragraph, WIDTH, initial_indent="  ", subsequent_indent="  ")
    if not entry.source.built_in:
        yield f"  defined by {entry.source}"
    for name, value in _facts(kind, entry).items():
        if name not in ("paper", "formulas") and value not in (None, (), "", frozenset(), {}):
            yield f"  {name.replace('_', ' ')}: {_written(value)}"
    yield from _settings(_settings_of(kind, entry))


def _facts(kind: str, entry: Entry[Any]) -> dict[str, Any]:
    """What is told of an entry: of a pruner, in the place of single facts, what it needs in all."""
    if kind != "pruners":
        return entry.info
    from ..pruning.needs import NEEDS, needs_of

    single = ("needs_data", "needs_example", "trains")
    others = {name: value for name, value in entry.info.items() if name not in single}
    return {**others, "needs": NEEDS[needs_of(entry.name)]}


def _prose(docstring: str | None) -> str:
    """The docstring up to its first section, its lines joined to paragraphs."""
    prose = re.split(r"^\S[^\n]*\n-{3,}$", inspect.cleandoc(docstring or ""), maxsplit=1, flags=re.MULTILINE)[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in prose.strip().split("\n\n"))


def _settings(settings: list[Setting]) -> Iterator[str]:
    if settings:
        yield typer.style("settings", bold=True)
    for setting in settings:
        yield f"  {setting.name}" + (
            "" if setting.default in (inspect.Parameter.empty, None) else f"={setting.default}"
        )
        yield from textwrap.wrap(setting.text, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _settings_of(kind: str, entry: Entry[Any]) -> list[Setting]:
    if kind == "recipes":
        return [
            Setting(f.name, str(f.type), getattr(entry.item, f.name), f.metadata["help"]) for f in fields(entry.item)
        ]
    return [] if kind == "metrics" else settings_of(entry.item)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):  # the bounds of each column
        return "; ".join(f"{column} from {low} to {high}" for column, (low, high) in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple | frozenset) else str(value)


def _torchvision(kind: str) -> list[str]:
    if kind != "models":
        return []
    from ..models import torchvision_names

    return torchvision_names()


def _families(kind: str, registry: Registry[Any]) -> list[str]:
    """Families in their own order where they have one, else as they were registered."""
    own = list(dict.fromkeys(entry.family for entry in registry.entries()))
    ordered: list[str] = []
    if kind == "metrics":
        from ..features.registry import CATEGORIES

        ordered = [*CATEGORIES]
    elif kind == "pruners":
        from ..pruning.registry import FAMILIES

        ordered = [*FAMILIES]
    return [*ordered, *(family for family in own if family not in ordered)]
