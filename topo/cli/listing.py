"""``topo list``: what there is, by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from typing import Annotated, Any

import typer

from ..registry import Registry

__all__ = ["list_names"]


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    pruners = "pruners"
    metrics = "metrics"
    encodings = "encodings"
    recipes = "recipes"


def list_names(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what is there by name, by family, one line each.

    \b
      topo list pruners      with the paper of each
      topo list metrics      by category; a category's name selects all of it
    """
    typer.echo("\n".join(_lines(kind)))


def _lines(kind: Kind) -> Iterator[str]:
    registry = _registry(kind)
    width = max(map(len, registry))
    entries = sorted(registry.entries(), key=lambda entry: _order(registry, entry.family))
    for family, members in groupby(entries, key=lambda entry: entry.family):
        if family:
            yield typer.style(family, bold=True)
        for entry in members:
            paper = f" [{entry.info['paper']}]" if "paper" in entry.info else ""
            yield f"  {entry.name:<{width}}  {entry.summary}{paper}{_settings(kind, entry.item)}"
    if kind is Kind.models:
        from ..models import torchvision_names

        yield typer.style("torchvision (torchvision:NAME where a name is also above)", bold=True)
        yield f"  {', '.join(torchvision_names())}"


def _settings(kind: Kind, item: Any) -> str:
    """The settings of a pruner with their defaults."""
    if kind is not Kind.pruners:
        return ""
    found = inspect.signature(item).parameters.values()
    named = [f"{p.name}={p.default}" for p in found if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
    return f" ({', '.join(named)})" if named else ""


def _order(registry: Registry, family: str) -> int:
    """Families in their own order where they have one, else as they were registered."""
    from ..features import CATEGORIES, METRICS

    known = CATEGORIES if registry is METRICS else dict.fromkeys(entry.family for entry in registry.entries())
    return list(known).index(family)


def _registry(kind: Kind) -> Registry:
    match kind:
        case Kind.models:
            from ..models import MODELS as registry
        case Kind.datasets:
            from ..datasets import DATASETS as registry
        case Kind.pruners:
            from ..pruning import PRUNERS as registry
        case Kind.metrics:
            from ..features import METRICS as registry
        case Kind.encodings:
            from ..encoding import ENCODINGS as registry
        case Kind.recipes:
            from ..training import RECIPES as registry
    return registry
