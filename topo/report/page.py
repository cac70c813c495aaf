"""`write_report`: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from ..arrays import replacing
from ..encode.graph import MultipartiteGraph
from ..errors import InputError
from ..plots import (
    accuracy_grid,
    correlations_for_heatmap,
    draw_graph,
    layer_density_grid,
    scatter_panels,
    spearman_heatmap,
    telling_metrics,
)
from ..stats.tidy import accuracy_summary, metric_columns, metric_label, ordered_metrics
from . import findings
from .figures import FigureHtml, dark_colors, try_figure
from .source import Source, load_source

__all__ = ["write_report"]

ENCODINGS = {"": "whole network", "rolled": "rolled", "rolled_channel": "rolled-channel", "unrolled": "unrolled"}
MOST_CELLS = 100_000
MOST_LAYER_PAIRS = 2


def write_report(
    source: Any,
    path: str | Path | None = None,
    *,
    graph: MultipartiteGraph | None = None,
    graph_title: str = "",
    layers: pd.DataFrame | None = None,
    title: str | None = None,
) -> Path:
    """Write one self-contained HTML report of a study or of a results table.

    Every number and figure is computed from the table during the call. What cannot be shown is replaced by a
    sentence that says why.

    Parameters
    ----------
    source
        A study, its folder, a results table (DataFrame), or the path of one (.parquet, .csv).
    path
        The file to write; by default ``report.html`` in the study's folder, or ``<table>-report.html`` beside a
        table file.
    graph, graph_title
        The graph to draw and what to call it; by default one that the study kept.
    layers
        Density of every layer: columns pruner, sparsity, layer, density; by default from what the study kept.
    title
        Heading; by default the name of the study or file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        The source is unreadable, empty or lacks a needed column, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from topo.stats import example_results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(example_results(sparsities=(0.9,)), f"{folder}/report.html").name
    'report.html'
    """
    loaded = load_source(source)
    if path is None:
        if loaded.folder is not None:
            path = loaded.folder / "report.html"
        elif isinstance(source, str | Path):
            path = Path(source).with_name(f"{Path(source).stem}-report.html")
        else:
            raise InputError("a report of a table in memory needs a path to write to: write_report(table, path).")
    if graph is not None:
        loaded.graph, loaded.graph_title = graph, graph_title
    if layers is not None:
        loaded.layers = layers
    if title is not None:
        loaded.name = title
    page = render(loaded)
    with replacing(path) as name:
        Path(name).write_text(page, encoding="utf-8")
    return Path(path)


def render(source: Source) -> str:
    """The report as one string of HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(**_content(source))


def _content(source: Source) -> dict[str, Any]:
    table = source.table
    metrics = metric_columns(table)
    whole = ordered_metrics(c for c in metrics if "__" not in c)
    trained = table[(table["pruner"] != "dense") & table["accuracy"].notna()]
    pairs = [
        (d, m) for d, m in trained[["dataset", "model"]].drop_duplicates().sort_values(["dataset", "model"]).values
    ]
    correlations = _correlations(trained, pairs, whole)
    summary = accuracy_summary(table)
    content = {
        "title": source.name,
        "settings": source.settings,
        "notes": source.notes,
        "grid": _grid(table),
        "run_sentence": findings.run_sentence(table),
        "failures": findings.failures(table).to_dict("records"),
        "findings": [
            *findings.accuracy_findings(summary)[:6],
            *findings.correlation_findings(correlations),
            *filter(None, [findings.size_finding(table)]),
        ],
        "accuracy": [try_figure("accuracy", lambda: accuracy_grid(table), describe="Accuracy against sparsity.")],
        "one_seed": bool(len(summary)) and int(summary["n"].max()) == 1,
        "no_dense": not (table["pruner"] == "dense").any(),
        "heatmaps": _heatmaps(correlations, pairs),
        "encodings": _encoding_heatmaps(trained, pairs, metrics),
        "scatter": _scatter(trained, pairs),
        "layers": _layers(source),
        "drawing": _drawing(source),
        "collinear": [
            (metric_label(a), metric_label(b)) for a, b in findings.collinear_pairs(trained, _varying(trained, whole))
        ],
        "undefined": findings.undefined_values(trained, metrics, source.undefined).to_dict("records"),
        "undefined_correlations": findings.undefined_correlations(correlations).to_dict("records"),
        "accuracy_rows": _accuracy_rows(summary),
        **_table(table, metrics),
        "csv_name": (re.sub(r"[^\w.-]+", "-", source.name).strip("-.") or "results") + ".csv",
        "style": _asset("report.css"),
        "dark_colors": dark_colors(),
        "script": _asset("report.js"),
    }
    return content


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _varying(table: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    return [m for m in metrics if len(table[m].dropna().unique()) > 1]


def _correlations(trained: pd.DataFrame, pairs: list, metrics: Sequence[str]) -> pd.DataFrame:
    """`correlations_for_heatmap` of every dataset and model, none where there is nothing to correlate."""
    columns = ["dataset", "model", "family", "sparsity", "metric", "n", "rho", "low", "high", "reason"]
    if not metrics:
        return pd.DataFrame(columns=columns)
    found = [
        correlations_for_heatmap(_of(trained, pair), metrics).assign(dataset=pair[0], model=pair[1]) for pair in pairs
    ]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _of(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table["dataset"] == pair[0]) & (table["model"] == pair[1])]


def _each(pairs: list, name: str, draw: Callable[[tuple[str, str]], Any], describe: str) -> list[FigureHtml]:
    return [
        try_figure(f"{name}{i}", partial(draw, pair), describe=f"{describe} {' · '.join(pair)}.")
        for i, pair in enumerate(pairs)
    ]


def _heatmap(correlations: pd.DataFrame, title: str) -> Any:
    if correlations["rho"].isna().all():
        reasons = findings.join(sorted(set(correlations["reason"])))
        raise InputError(f"no correlation is defined on {title}, because {reasons}.")
    return spearman_heatmap(correlations, correlations=correlations, title=title)


def _heatmaps(correlations: pd.DataFrame, pairs: list) -> list[FigureHtml]:
    if not pairs:
        return [
            FigureHtml("heatmap", missing="No sparse network has an accuracy, so nothing can be correlated with it.")
        ]
    if correlations.empty:
        return [FigureHtml("heatmap", missing="The table has no metric columns, so there is nothing to correlate.")]

    def draw(pair: tuple[str, str]) -> Any:
        return _heatmap(_of(correlations, pair), " · ".join(pair))

    return _each(pairs, "heatmap", draw, "Spearman correlation of metrics with accuracy on")


def _encoding_heatmaps(trained: pd.DataFrame, pairs: list, metrics: Sequence[str]) -> dict[str, list[FigureHtml]]:
    """Heat maps of the layer-wise metrics, averaged over layers, for each bipartite encoding in the table."""
    figures: dict[str, list[FigureHtml]] = {}
    for prefix in dict.fromkeys(c.rpartition("__")[0] for c in metrics if "__" in c):
        mine = ordered_metrics(c for c in metrics if c.startswith(f"{prefix}__") and c.endswith("_mean"))
        mine = [c for c in mine if trained[c].notna().any()]
        name = ENCODINGS.get(prefix, prefix.replace("_", " "))
        if not mine:
            continue
        if len(pairs) > MOST_LAYER_PAIRS:
            figures[name] = [
                FigureHtml(
                    prefix,
                    missing=f"Left out: {len(pairs)} pairs of dataset and model would each need one; "
                    "draw them with topo.plots.spearman_heatmap(table, metrics=[...]).",
                )
            ]
            continue

        def draw(pair: tuple[str, str], mine: list[str] = mine) -> Any:
            correlations = correlations_for_heatmap(_of(trained, pair), mine)
            defined = correlations.groupby("metric")["rho"].transform("count") > 0
            return _heatmap(correlations[defined] if defined.any() else correlations, " · ".join(pair))

        figures[name] = _each(pairs, prefix.replace("_", "-"), draw, f"Layer-wise metrics, {name}, on")
    return figures


def _scatter(trained: pd.DataFrame, pairs: list) -> list[FigureHtml]:
    if not pairs:
        return [FigureHtml("scatter", missing="No sparse network has an accuracy, so there is nothing to draw.")]

    def draw(pair: tuple[str, str]) -> Any:
        here = _of(trained, pair)
        chosen = telling_metrics(here)
        if not chosen:
            raise InputError(f"no metric of {' · '.join(pair)} varies over enough networks to be worth a panel.")
        return scatter_panels(here, chosen, title=" · ".join(pair))

    return _each(pairs, "scatter", draw, "Accuracy against selected metrics on")


def _layers(source: Source) -> list[FigureHtml]:
    layers = source.layers
    if layers is None:
        return [FigureHtml("layers", missing="The source keeps no masks, so layer densities are not known.")]
    if not {"dataset", "model"} <= set(layers.columns):
        return [try_figure("layers", lambda: layer_density_grid(layers), describe="Density of every layer.")]
    return [
        try_figure(
            f"layers{i}",
            partial(layer_density_grid, group),
            caption=f"{dataset} · {model}",
            describe=f"Density of every layer, {dataset} · {model}.",
        )
        for i, ((dataset, model), group) in enumerate(layers.groupby(["dataset", "model"], sort=True))
    ]


def _drawing(source: Source) -> FigureHtml:
    if source.graph is None:
        return FigureHtml("graph", missing=source.no_graph)
    describe = f"Drawing of {source.graph_title or 'a multipartite graph'}."
    return try_figure("graph", lambda: draw_graph(source.graph, title=source.graph_title), describe=describe)


def _grid(table: pd.DataFrame) -> list[tuple[str, str]]:
    sparse = table[table["pruner"] != "dense"]
    rows = [
        ("Datasets", sorted(set(table["dataset"]))),
        ("Models", sorted(set(table["model"]))),
        ("Pruners", sorted(set(sparse["pruner"]))),
        ("Sparsities", [findings.percent(s) for s in sorted(set(sparse["sparsity"].dropna()))]),
        ("Seeds", [str(s) for s in sorted(set(table["seed"]))]),
    ]
    return [(name, ", ".join(map(str, values)) or "none") for name, values in rows]


def _accuracy_rows(summary: pd.DataFrame) -> dict[str, Any]:
    """Mean accuracy (percent) by dataset, model and pruner, a column per sparsity."""
    if summary.empty:
        return {"sparsities": [], "rows": []}
    unit = 100 if summary["high"].max() <= 1.5 else 1
    sparsities = sorted(summary.loc[summary["pruner"] != "dense", "sparsity"].unique())
    rows = []
    for (dataset, model, pruner), group in summary.groupby(["dataset", "model", "pruner"], sort=True):
        by = group.set_index("sparsity")
        cells = []
        for sparsity in [0.0] if pruner == "dense" else sparsities:
            if sparsity not in by.index:
                cells.append("–")
                continue
            half = (by.loc[sparsity, "high"] - by.loc[sparsity, "low"]) / 2 * unit
            mean = by.loc[sparsity, "mean"] * unit
            cells.append(f"{mean:.1f} ± {half:.1f}" if by.loc[sparsity, "n"] > 1 else f"{mean:.1f}")
        rows.append({"head": [dataset, model, pruner], "cells": cells, "dense": pruner == "dense"})
    return {"sparsities": [findings.percent(s) for s in sparsities], "rows": rows}


IDENTITY = ("dataset", "model", "pruner", "family", "sparsity", "seed", "status", "accuracy", "dense_accuracy",
            "accuracy_drop", "loss", "reached_sparsity", "reason")  # fmt: skip


def _table(table: pd.DataFrame, metrics: Sequence[str]) -> dict[str, Any]:
    """The full table: columns in groups that can be switched on and off, rows of formatted cells, and the CSV."""
    first = [c for c in IDENTITY if c in table.columns and not (c == "reason" and (table[c] == "").all())]
    other = [c for c in table.columns if c not in first and c not in metrics]
    whole = ordered_metrics([c for c in metrics if "__" not in c], published=False)
    groups = {"results": first, "whole network": whole}
    for prefix in dict.fromkeys(c.rpartition("__")[0] for c in metrics if "__" in c):
        groups[ENCODINGS.get(prefix, prefix)] = [c for c in metrics if c.rpartition("__")[0] == prefix]
    if other:
        groups["run"] = other
    groups = {name: columns for name, columns in groups.items() if columns}
    everything = table[[c for columns in groups.values() for c in columns]]
    left_out = 0
    if everything.size > MOST_CELLS:
        kept = {name: c for name, c in groups.items() if name in ("results", "whole network")}
        left_out = sum(len(c) for name, c in groups.items() if name not in kept)
        groups = kept
    columns = [
        {"name": c, "group": i, "number": pd.api.types.is_numeric_dtype(table[c])}
        for i, names in enumerate(groups.values())
        for c in names
    ]
    shown = table[[c["name"] for c in columns]]
    texts = [[_cell(v) for v in shown[name]] for name in shown.columns]
    return {
        "groups": [
            {"name": name, "columns": len(c), "shown": name in ("results", "whole network")}
            for name, c in groups.items()
        ],
        "columns": columns,
        "rows": list(zip(*texts, strict=True)),
        "left_out": left_out,
        "csv": base64.b64encode(everything.to_csv(index=False).encode()).decode(),
    }


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{value:.0f}" if abs(value) < 1e15 and value == round(value) else f"{value:.5g}"
    return str(value)
