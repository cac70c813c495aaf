"""The registers of topometrics and of their categories, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import InputError, unknown_name
from ..registry import Entry, Registry
from ..validation import one_of
from .graph_view import GraphView

__all__ = ["CATEGORIES", "METRICS", "Undefined", "category", "columns_of", "metric", "metric_facts", "select"]

CATEGORIES: Registry[str] = Registry("category", plural="categories")
"""Category -> its name, in the order in which tables and figures show them."""

STATISTICS = ("mean", "min", "max", "weighted")
"""How the values of a network's layers become one: the last is their mean weighted by numbers of weights."""


class Undefined(Exception):
    """Raised by a metric that has no value on this graph; the message is the reason that the row records."""


Measured = float | Mapping[str, float | Undefined]
Metric = Callable[[GraphView], Measured]
METRICS: Registry[Metric] = Registry("metric")

Bounds = tuple[float | str, float | str]


def category(name: str, summary: str, *, by_default: bool = True) -> str:
    """Register a category of metrics; it comes after those that are there.

    Parameters
    ----------
    name
        A word, such as ``"local"``.
    summary
        One line on what its metrics say.
    by_default
        Whether its metrics are measured where none are named; others are when they, their category or ``"all"`` are
        named.

    Returns
    -------
    str
        `name`.

    Examples
    --------
    >>> category("general", "Size, density, degrees and how degrees mix.")
    'general'
    """
    CATEGORIES.register(name, summary=summary, by_default=by_default)(name)
    return name


for _name, _summary in (
    ("general", "Size, density, degrees and how degrees mix."),
    ("local", "Nodes without edges on one side or on both, and the edges that lead nowhere."),
    ("neighbourhood", "How many nodes are near, and the small subgraphs."),
    ("strength", "How much weight the nodes carry, and how deep they sit in dense cores."),
    ("global", "Cut edges, cut nodes and connected components."),
    ("expansion", "The extreme eigenvalues of the adjacency and of the Laplacian."),
    ("paths", "Paths from the input to the output."),
    ("sparsity", "The share of weights that is gone, directly and effectively."),
    ("ramanujan", "Spectra of layers against the bounds of Ramanujan graphs."),
):
    category(_name, _summary)
for _name, _summary in (
    ("effective", "Nodes and channels that paths from the input to the output use, and how evenly."),
    ("path-kernel", "Sums over paths of products of weights: the path kernel, and path norms."),
    ("degree-shape", "How unequal degrees are, how heavy their tail is, how many nodes are of use."),
    ("channels", "The graph of channels: clusters, distances, modules and the narrowest place."),
    ("width", "How many signals pass a layer side by side."),
    ("persistence", "How nodes join up as weights are added, the largest first."),
):
    category(_name, _summary, by_default=False)

COMPUTED_BY = {
    "arrays": "NumPy and SciPy on arrays",
    "kernel": "a compiled kernel; NumPy and SciPy where none can be compiled",
    "kernel, igraph": "a compiled kernel; igraph, on a subgraph of at most $2N$ edges, where none can be compiled",
    "igraph": "igraph, on the graph of channels",
    "products": "an iterative solver over products with the adjacency, which a compiled kernel multiplies; SciPy where "
    "none can be compiled",
}
"""What may compute a metric -> how pages say it."""

ALL, DEFAULT = "all", "default"
"""Names for every metric, and for those that are measured where none are named."""


def metric(
    name: str,
    *,
    category: str,
    reads_weights: bool | Iterable[str] = False,
    per: str | None = None,
    columns: Iterable[str] = (),
    encodings: str = "all",
    formula: str | Mapping[str, str] = "",
    bounds: Bounds | Mapping[str, Bounds] | None = None,
    cost: str = "",
    computed_by: str = "",
    bibtex: str = "",
) -> Callable[[Metric], Metric]:
    """Declare a function of a `GraphView` as a topometric.

    Parameters
    ----------
    name
        The metric's name, and its column when it has only one.
    category
        One of `CATEGORIES`.
    reads_weights
        Whether its value depends on the values of the weights and not on the edges alone, so that it is not known
        before training; or the columns of which that is true.
    per
        ``"nodes"`` or ``"edges"``: the count that the published normalisation divides by, reported as
        ``<name>_norm`` beside the raw value; None for metrics that are published raw.
    columns
        The keys of the mapping that the function returns, for one that returns several values; an
        `Undefined` in it stands for a value that is not there.
    encodings
        The encodings it is defined on: ``"layers"`` for those that give one bipartite graph a layer, ``"network"`` for
        those that give one graph of the whole network, ``"all"``.
    formula
        Its definition in LaTeX, in the symbols of the page of metrics; one a column where there are several. This and
        what follows is what its page says, and may be left out.
    bounds
        The least and the largest value that it can have: numbers, or expressions in N and E, the numbers of nodes and
        edges, ``inf``, ``min`` and ``max``; one pair a column where they differ.
    cost
        How its time grows, in words.
    computed_by
        What computes it, a key of ``COMPUTED_BY``.
    bibtex
        The BibTeX entry of its paper, for `topo.publishing.cite`.

    Returns
    -------
    callable
        A decorator that returns its function unchanged.

    Raises
    ------
    InputError
        When the category is unknown, `per`, `encodings` or `computed_by` has another value, `reads_weights`, `formula`
        or `bounds` names no column, or a column has two underscores in a row, is there twice or is another metric's.
    """
    if category not in CATEGORIES:
        raise unknown_name("category", category, CATEGORIES)
    if per is not None:
        one_of("per", per, ("nodes", "edges"))
    one_of("encodings", encodings, ("all", "layers", "network"))
    one_of("computed_by", computed_by, ("", *COMPUTED_BY))
    if isinstance(columns, str):
        raise InputError(f"columns of metric {name!r} must be a list of names; got {columns!r}; write ({columns!r},).")
    names = tuple(columns) or (name,)
    others = {c: e.name for e in METRICS.registered() if e.name != name for c in columns_of(e)}
    filled = [c for raw in names for c in ((raw, f"{raw}_norm") if per else (raw,))]
    for column in filled:
        if column in others:
            raise InputError(
                f"column {column!r} of metric {name!r} is filled by metric {others[column]!r} already; take another."
            )
    if len(set(filled)) < len(filled):
        raise InputError(f"metric {name!r} names a column twice: {', '.join(filled)}.")
    for column in names:
        if "__" in column:
            raise InputError(
                f"column {column!r} of metric {name!r} has two underscores in a row, which set an encoding apart from "
                "its metrics in tables; take one."
            )
    reading = (names if reads_weights else ()) if isinstance(reads_weights, bool) else tuple(reads_weights)
    formulas = dict(formula) if isinstance(formula, Mapping) else {names[0]: formula} if formula else {}
    ranges = dict(bounds) if isinstance(bounds, Mapping) else {} if bounds is None else dict.fromkeys(names, bounds)
    for column in (*reading, *formulas, *ranges):
        if column not in names:
            raise unknown_name(f"column of metric {name!r}", column, names)
    return METRICS.register(
        name,
        family=category,
        per=per,
        columns=names,
        reads_weights=frozenset(reading),
        encodings=encodings,
        formulas=formulas,
        bounds=ranges,
        cost=cost,
        computed_by=computed_by,
        bibtex=bibtex,
    )


def columns_of(entry: Entry[Metric], *, layers: bool = False, reading_weights: bool = True) -> tuple[str, ...]:
    """The columns a metric fills, each raw value followed by its normalised one.

    Parameters
    ----------
    entry
        A registered metric.
    layers
        Whether of a network's layers, whose columns end in each of the `STATISTICS` over them.
    reading_weights
        Whether those that read weights are among them.

    Returns
    -------
    tuple
        Column names.
    """
    suffixes = ("", "_norm") if entry.info["per"] else ("",)
    bare = [c for c in entry.info["columns"] if reading_weights or c not in entry.info["reads_weights"]]
    columns = tuple(column + suffix for column in bare for suffix in suffixes)
    return tuple(f"{column}_{s}" for column in columns for s in STATISTICS) if layers else columns


def metric_facts() -> dict[str, dict[str, Any]]:
    """What every registered metric column is: its category, what normalises it, whether it reads weights.

    Examples
    --------
    >>> metric_facts()["strength"]
    {'category': 'strength', 'per': 'edges', 'reads_weights': True}
    """
    return {
        column: {
            "category": entry.family,
            "per": entry.info["per"],
            "reads_weights": column in entry.info["reads_weights"],
        }
        for entry in METRICS.entries()
        for column in entry.info["columns"]
    }


def select(metrics: str | Iterable[str] | None, *, layers: bool) -> list[Entry[Metric]]:
    """The entries of the metrics, columns or categories named, by category.

    With None or ``"default"``, the metrics of all categories but those that have to be asked for, with ``"all"`` of
    these too, as far as the kind of graph admits them: `layers` of a network, or the whole network.

    Parameters
    ----------
    metrics
        Names of metrics, columns or categories, ``"default"`` or ``"all"``; None for the default ones.
    layers
        Whether graphs of layers are measured, or the graph of the network.

    Returns
    -------
    list
        Registry entries.

    Raises
    ------
    InputError
        When a name is unknown, or `metrics` is empty.
    """
    kinds = ("all", "layers" if layers else "network")
    order = list(CATEGORIES)
    entries = sorted(METRICS.entries(), key=lambda entry: order.index(entry.family))
    admitted = {
        DEFAULT: [e for e in entries if e.info["encodings"] in kinds and CATEGORIES.entry(e.family).info["by_default"]],
        ALL: [e for e in entries if e.info["encodings"] in kinds],
    }
    if metrics is None:
        return admitted[DEFAULT]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise InputError("metrics is empty; name metrics or categories, or leave it out to measure everything.")
    chosen: set[str] = set()
    words = {entry.name: {entry.name, entry.family, *columns_of(entry)} for entry in entries}
    for name in names:
        if name in admitted:
            chosen.update(entry.name for entry in admitted[name])
            continue
        matching = [metric for metric, called in words.items() if name in called]
        if not matching:
            raise unknown_name("metric or category", name, {*METRICS, *CATEGORIES, ALL, DEFAULT})
        chosen.update(matching)
    return [entry for entry in entries if entry.name in chosen]
