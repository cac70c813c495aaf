"""`measure`: one graph in, one tidy row out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, nan
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..dag import Dag
from ..dag.example import Example
from ..encoding.graph import BipartiteGraph, LayerGraphs, MultipartiteGraph
from ..errors import InputError, failures_named, unknown_name
from ..registry import Entry
from ..validation import one_of
from .engines import graph_or_view
from .graph_view import GraphView
from .ramanujan import IMDB_RULES
from .registry import STATISTICS, Metric, Undefined, columns_of, select
from .structural_view import StructuralView

__all__ = ["column_names", "measure", "measure_layers", "over_layers"]

ON_FAILURE = ("raise", "undefined")


def measure(
    graph: MultipartiteGraph | LayerGraphs | nn.Module | Dag,
    masks: Mapping[str, Any] | None = None,
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
    metrics: str | Iterable[str] | None = None,
    imdb_rule: str = "mean_degree",
    on_failure: str = "raise",
) -> pd.Series:
    """Topometrics of a graph, or of a network, as one tidy row.

    Parameters
    ----------
    graph
        A multipartite or bipartite graph; or the graphs of a network's layers, whose metrics are
        aggregated as ``<metric>_mean``, ``_min``, ``_max`` and ``_weighted`` (the mean weighted by the
        layers' numbers of weights, or of edges where the graphs do not know those). Or a network, which is encoded.
    masks, example, encoding, options
        Of a network, as for `topo.encode`; options as a dict.
    engine
        Of a network: ``"edges"`` encodes it; ``"structure"`` builds no edges but multiplies with the network's own
        layers, for degrees, strength, local metrics, paths and spectra of networks with billions of edges, and gives
        other metrics no value; ``"auto"`` takes the second where the first would not fit into memory, which the log
        says.
    device
        Where the engine ``"structure"`` computes.
    metrics
        Names of metrics or categories; everything that the kind of graph admits when left out.
    imdb_rule
        ``"mean_degree"`` or ``"min_nodes"``: the subgraphs that the iterative Ramanujan metrics average over.
    on_failure
        ``"raise"``, or ``"undefined"``: a metric whose code fails, in whatever layer, has no value and the others have
        theirs. Running out of memory is an error either way.

    Returns
    -------
    pandas.Series
        float64 values by column name, raw and (``_norm``) normalised as published. A metric that has no
        value is NaN, and ``row.attrs["undefined"]`` maps its column to the reason. Of layers,
        ``row.attrs["left_out"]`` maps each metric to the layers in which it has no value.

    Raises
    ------
    InputError
        When `graph` is no graph or has no node, or a metric is unknown or fails.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32)))
    >>> row = measure(graph, metrics=["motifs", "disconnected_nodes", "direct_sparsity"])
    >>> row["motifs"], row["motifs_norm"], row["disconnected_nodes"]
    (np.float64(5.0), np.float64(0.8333333333333334), np.float64(0.0))
    >>> row.attrs["undefined"]
    {'direct_sparsity': "the graph does not know its network's weights_total and weights_kept"}

    A network whose graph would have too many edges is measured without them:

    >>> import torch, topo
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    >>> row = topo.measure(net, example=(1, 8, 8), engine="structure", metrics=["edges", "paths", "motifs"])
    >>> float(row["edges"]), float(row["n_paths"]), row.attrs["undefined"]["motifs"]
    (864.0, 1944.0, "it needs the edges of the graph, which are not built with engine='structure'")
    """
    if isinstance(graph, nn.Module | Dag):
        metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
        column_names(metrics)  # unknown names are said before anything is built
        settings: dict[str, Any] = {"encoding": encoding, "options": options, "engine": engine, "device": device}
        with graph_or_view(graph, masks, example, **settings) as found:
            if isinstance(found, StructuralView):
                one_of("on_failure", on_failure, ON_FAILURE)
                return _row(found, select(metrics, layers=False), on_failure)
            return measure(found, metrics=metrics, imdb_rule=imdb_rule, on_failure=on_failure)
    if masks is not None or example is not None or options is not None or engine == "structure":
        raise InputError("masks, example, options and engine='structure' are for networks; graphs are measured as is.")
    if isinstance(graph, LayerGraphs):
        table = measure_layers(graph, metrics=metrics, imdb_rule=imdb_rule, on_failure=on_failure)
        return over_layers(table, graph)
    if not isinstance(graph, MultipartiteGraph):
        raise InputError(
            f"{type(graph).__name__} is not a graph; pass what topo.encode(model, masks, example=...) returns, or many "
            "of them to topo.Topometrics."
        )
    if graph.n_nodes == 0:
        raise InputError("the graph has no node; nothing can be measured.")
    if imdb_rule not in IMDB_RULES:
        raise unknown_name("imdb_rule", imdb_rule, IMDB_RULES)
    one_of("on_failure", on_failure, ON_FAILURE)
    entries = select(metrics, layers=isinstance(graph, BipartiteGraph))
    return _row(GraphView(graph, imdb_rule=imdb_rule), entries, on_failure)


def _row(view: GraphView, entries: Iterable[Entry[Metric]], on_failure: str) -> pd.Series:
    values: dict[str, float] = {}
    undefined: dict[str, str] = {}
    failed: dict[str, str] = {}
    for entry in entries:
        for column, value in _columns(entry, view, on_failure).items():
            if isinstance(value, Undefined):
                values[column], undefined[column] = nan, str(value)
                if isinstance(value, _Failed):
                    failed[column] = str(value)
            else:
                values[column] = value
    row = pd.Series(values, dtype="float64")
    row.attrs["undefined"], row.attrs["failed"] = undefined, failed
    row.attrs["engine"] = "structure" if isinstance(view, StructuralView) else "edges"
    return row


def measure_layers(
    graphs: LayerGraphs,
    *,
    metrics: str | Iterable[str] | None = None,
    imdb_rule: str = "mean_degree",
    on_failure: str = "raise",
) -> pd.DataFrame:
    """Topometrics of every layer: one row a layer, indexed by layer name, columns as `measure`.

    ``table.attrs["undefined"]`` maps layer and column, as ``"layer: column"``, to the reason of a NaN.

    Parameters
    ----------
    graphs
        What a layer-wise encoding returns.
    metrics, imdb_rule, on_failure
        As for `measure`.

    Returns
    -------
    DataFrame
        float64; NaN where a metric is undefined.

    Raises
    ------
    InputError
        As `measure`, or when there is no layer.
    """
    if not isinstance(graphs, LayerGraphs):
        raise InputError(
            f"{type(graphs).__name__} is not a collection of layer graphs; "
            "encode with encoding='rolled', 'rolled-channel' or 'unrolled'."
        )
    if not graphs:
        raise InputError("there is no layer to measure.")
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    options: dict[str, Any] = {"imdb_rule": imdb_rule, "on_failure": on_failure}
    rows = {name: measure(graph, metrics=metrics, **options) for name, graph in graphs.items()}
    table = pd.DataFrame({name: row.to_dict() for name, row in rows.items()}).T.rename_axis("layer")
    table.attrs["undefined"] = {
        f"{name}: {column}": reason for name, row in rows.items() for column, reason in row.attrs["undefined"].items()
    }
    table.attrs["failed"] = {
        column: f"in {name!r}: {reason}"
        for name, row in reversed(rows.items())
        for column, reason in row.attrs["failed"].items()
    }
    return table


def column_names(
    metrics: str | Iterable[str] | None = None, *, layers: bool = False, reading_weights: bool = True
) -> list[str]:
    """The columns of `measure`'s row, of a multipartite graph or (`layers`) of a network's layers.

    Parameters
    ----------
    metrics
        Names of metrics, columns or categories; all by default.
    layers
        Whether of layers, whose columns end in the statistic over them (``_mean``, ``_min``, ...).
    reading_weights
        Whether those that read weights are among them.

    Returns
    -------
    list
        Of column names, in the order of the row.

    Raises
    ------
    InputError
        When a name is unknown.
    """
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    return [
        column
        for entry in select(metrics, layers=layers)
        for column in columns_of(entry, layers=layers, reading_weights=reading_weights)
    ]


class _Failed(Undefined):
    """There is no value because the code of a metric failed."""


def _columns(entry: Entry[Metric], view: GraphView, on_failure: str) -> dict[str, float | Undefined]:
    """A metric's columns, raw and normalised; an `Undefined` stands for a value that is not there."""
    names = entry.info["columns"]
    measured: dict[str, float | Undefined]
    try:
        with failures_named(f"metric {entry.name!r}", Undefined, MemoryError):
            measured = _checked(entry, entry.item(view))
    except Undefined as reason:
        measured = dict.fromkeys(names, reason)
    except InputError as error:
        if on_failure == "raise":
            raise
        measured = dict.fromkeys(names, _Failed(str(error).rstrip(".")))
    columns: dict[str, float | Undefined] = {}
    for name, value in measured.items():
        if not isinstance(value, Undefined) and not isfinite(value):
            value = Undefined(f"came out as {value}; the weights may not be finite")
        columns[name] = value
        if entry.info["per"]:
            count = view.n_nodes if entry.info["per"] == "nodes" else view.n_edges
            missing = value if isinstance(value, Undefined) else Undefined("the graph has no edge to divide by")
            columns[f"{name}_norm"] = missing if isinstance(value, Undefined) or not count else value / count
    return columns


def _checked(entry: Entry[Metric], measured: Any) -> dict[str, float | Undefined]:
    """What a metric returned, by column, in the order that it declares; `InputError` when it is not numbers."""
    names = entry.info["columns"]
    several = isinstance(measured, Mapping)
    if several and set(measured) != set(names):
        raise InputError(
            f"metric {entry.name!r} returned values for {', '.join(map(repr, measured)) or 'no column'}, but declares "
            f"{', '.join(map(repr, names))}; declare what it returns: metric(..., columns=(...))."
        )
    if not several and names != (entry.name,):
        raise InputError(
            f"metric {entry.name!r} returned {_described(measured)}; it declares the columns "
            f"{', '.join(map(repr, names))}, so it must return a dict with these keys."
        )
    values = {name: measured[name] for name in names} if several else {entry.name: measured}
    for name, value in values.items():
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Undefined):
            where = f"{_described(value)} for column {name!r}" if several else _described(value)
            raise InputError(
                f"metric {entry.name!r} returned {where}; it must return a number, or raise Undefined with the reason "
                "why there is none."
            )
    return values


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if value is None:
        return "None"
    return f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else "")


def over_layers(table: pd.DataFrame, graphs: LayerGraphs) -> pd.Series:
    """The row that `measure` returns of a network's layers, from what `measure_layers` returned of them.

    Parameters
    ----------
    table
        One row a layer.
    graphs
        The graphs that were measured.

    Returns
    -------
    pandas.Series
        ``<metric>_mean``, ``_min``, ``_max`` and ``_weighted``.
    """
    weights = pd.Series({name: graph.attributes.get("weights_total", graph.n_edges) for name, graph in graphs.items()})
    present = table.notna()
    weight = present.mul(weights, axis=0)
    total = weight.sum()
    by_statistic = {
        "mean": table.mean(),
        "min": table.min(),
        "max": table.max(),
        "weighted": (table.fillna(0.0) * weight).sum() / total.where(total > 0),
    }
    row = pd.Series(
        {f"{column}_{name}": by_statistic[name][column] for column in table.columns for name in STATISTICS},
        dtype="float64",
    )
    reasons, failed = table.attrs["undefined"], table.attrs["failed"]
    row.attrs["undefined"], row.attrs["failed"], row.attrs["engine"] = {}, {}, "edges"
    for column in table.columns:
        for name in STATISTICS:
            if column in failed:  # statistics over the other layers would be those of another network
                row[f"{column}_{name}"] = nan
                row.attrs["undefined"][f"{column}_{name}"] = row.attrs["failed"][f"{column}_{name}"] = failed[column]
                continue
            if pd.isna(row[f"{column}_{name}"]):
                reason = reasons.get(f"{table.index[0]}: {column}")
                row.attrs["undefined"][f"{column}_{name}"] = (
                    f"in no layer; in {table.index[0]!r}: {reason}" if reason else "the layers have no weight"
                )
    row.attrs["left_out"] = {
        column: list(table.index[~present[column]]) for column in table.columns[~present.to_numpy().all(axis=0)]
    }
    return row
