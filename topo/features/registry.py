"""The register of topometrics, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import InputError, unknown_name
from ..registry import Entry, Registry
from .graph_view import GraphView

__all__ = ["CATEGORIES", "METRICS", "Undefined", "columns_of", "metric", "select"]

CATEGORIES = ("general", "local", "neighbourhood", "strength", "global", "expansion", "paths", "sparsity", "ramanujan")


class Undefined(Exception):
    """Raised by a metric that has no value on this graph; the message is the reason that the row records."""


Measured = float | Mapping[str, float | Undefined]
METRICS: Registry[Callable[[GraphView], Measured]] = Registry("metric")


def metric(
    name: str, *, category: str, per: str | None = None, columns: tuple[str, ...] = (), of: str = "any"
) -> Callable[[Callable[[GraphView], Measured]], Callable[[GraphView], Measured]]:
    """Declare a function of a `GraphView` as a topometric.

    Parameters
    ----------
    name
        The metric's name, and its column when it has only one.
    category
        One of `CATEGORIES`.
    per
        ``"nodes"`` or ``"edges"``: the count that the published normalisation divides by, reported as
        ``<name>_norm`` beside the raw value; None for metrics that are published raw.
    columns
        The keys of the mapping that the function returns, for one that returns several values; an
        `Undefined` in it stands for a value that is not there.
    of
        The graphs it is defined on: ``"layer"`` for bipartite graphs alone, ``"network"`` for multipartite graphs
        of whole networks alone, ``"any"``.
    """
    if category not in CATEGORIES:
        raise unknown_name("category", category, CATEGORIES)
    return METRICS.register(name, family=category, per=per, columns=columns or (name,), of=of)


def columns_of(entry: Entry) -> tuple[str, ...]:
    """The columns a metric fills, each raw value followed by its normalised one."""
    suffixes = ("", "_norm") if entry.info["per"] else ("",)
    return tuple(column + suffix for column in entry.info["columns"] for suffix in suffixes)


def select(metrics: str | list[str] | tuple[str, ...] | None, *, bipartite: bool) -> list[Entry]:
    """The entries of the metrics, columns or categories named, in the order of the register.

    With None, all metrics that the kind of graph admits.
    """
    kinds = ("any", "layer" if bipartite else "network")
    entries = sorted(METRICS.entries(), key=lambda entry: CATEGORIES.index(entry.family))
    if metrics is None:
        return [entry for entry in entries if entry.info["of"] in kinds]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise InputError("metrics is empty; name metrics or categories, or leave it out to measure everything.")
    found = set()
    for name in names:
        matching = [entry.name for entry in entries if name in {entry.name, entry.family, *columns_of(entry)}]
        if not matching:
            raise unknown_name("metric or category", name, {*METRICS, *CATEGORIES})
        found.update(matching)
    return [entry for entry in entries if entry.name in found]
