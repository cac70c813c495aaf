"""The measured part of the report: accuracy, heat maps, scatter plots, layers and a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..plots import (
    accuracy_grid,
    correlation_heatmap,
    draw_graph,
    layer_density_grid,
    scatter_panels,
)
from ..results.evidence import Evidence
from ..results.labels import listed, percent
from ..results.schema import PAIR, encoding_label, metric_columns, metric_label, ordered_metrics
from ..stats.correlation import CORRELATION_COLUMNS, correlations_by_family, strongest_metrics
from ..stats.pruners import accuracy_summary
from . import findings
from .figures import LARGEST_SVG, FigureHtml, try_figure
from .networks import Drawn

__all__ = ["measured"]

MOST_LAYER_PAIRS = 2
FEW_PAIRS = 4
Draw = Callable[..., FigureHtml]


def measured(
    evidence: Evidence, drawn: Drawn, layers: pd.DataFrame | None, folder: Path | None = None
) -> dict[str, Any]:
    """Content of the measured part of the page; figures are also written to `folder`, if given.

    Parameters
    ----------
    evidence
        The networks.
    drawn
        The graph to draw.
    layers
        Density of every layer, where it is known.
    folder
        Where the figures are also written; nowhere when left out.

    Returns
    -------
    dict
        By the names that the page's template uses.
    """
    table = evidence.networks.drop(columns="study", errors="ignore")
    metrics = metric_columns(table)
    network_metrics = ordered_metrics(c for c in metrics if "__" not in c)
    trained = table[(table["pruner"] != "dense") & table["accuracy"].notna()]
    pairs = [(d, m) for d, m in trained[[*PAIR]].drop_duplicates().sort_values([*PAIR]).values]
    correlations = (
        correlations_by_family(trained, network_metrics)
        if network_metrics
        else pd.DataFrame(columns=CORRELATION_COLUMNS)
    )
    summary = accuracy_summary(table)
    # Many pairs bring many figures each; as pictures they keep the page light.
    draw = partial(try_figure, folder=folder, largest=LARGEST_SVG if len(pairs) <= FEW_PAIRS else LARGEST_SVG // 5)
    return {
        "grid": _grid(table),
        "run_sentence": findings.run_sentence(table),
        "lost_sentence": findings.lost_sentence(table),
        "failures": findings.failures(table).to_dict("records"),
        "accuracy_findings": (best := findings.accuracy_findings(summary)[:6]),
        "findings": [
            *best,
            *findings.correlation_findings(correlations),
            *filter(None, [findings.size_finding(table)]),
        ],
        "accuracy": [draw("accuracy", lambda: accuracy_grid(table), describe="Accuracy against sparsity.")],
        "one_seed": bool(len(summary)) and int(summary["n"].max()) == 1,
        "no_dense": not (table["pruner"] == "dense").any(),
        "heatmaps": _heatmaps(draw, correlations, pairs),
        "encodings": _encoding_heatmaps(draw, trained, pairs, metrics),
        "scatter": _scatter(draw, trained, pairs),
        "layers": _layers(draw, layers),
        "drawing": _drawing(draw, drawn),
        "collinear": [
            (metric_label(a), metric_label(b))
            for a, b in findings.collinear_pairs(trained, _varying(trained, network_metrics))
        ],
        "undefined": findings.undefined_values(trained, metrics, evidence.undefined).to_dict("records"),
        "undefined_correlations": findings.undefined_correlations(correlations).to_dict("records"),
        "accuracy_rows": _accuracy_rows(summary),
    }


def _varying(table: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    return [m for m in metrics if len(table[m].dropna().unique()) > 1]


def _of(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table["dataset"] == pair[0]) & (table["model"] == pair[1])]


def _each(
    write: Draw, pairs: list, name: str, draw: Callable[[tuple[str, str]], Any], describe: str
) -> list[FigureHtml]:
    return [
        write(f"{name}{i}", partial(draw, pair), describe=f"{describe} {' · '.join(pair)}.")
        for i, pair in enumerate(pairs)
    ]


def _heatmap(correlations: pd.DataFrame, title: str) -> Any:
    if correlations["r"].isna().all():
        reasons = listed(sorted(set(correlations["reason"])))
        raise InputError(f"no correlation is defined on {title}, because {reasons}.")
    return correlation_heatmap(correlations, title=title)


def _heatmaps(write: Draw, correlations: pd.DataFrame, pairs: list) -> list[FigureHtml]:
    if not pairs:
        return [
            FigureHtml("heatmap", missing="No sparse network has an accuracy, so nothing can be correlated with it.")
        ]
    if correlations.empty:
        return [FigureHtml("heatmap", missing="The table has no metric columns, so there is nothing to correlate.")]

    def draw(pair: tuple[str, str]) -> Any:
        return _heatmap(_of(correlations, pair), " · ".join(pair))

    return _each(write, pairs, "heatmap", draw, "Spearman correlation of metrics with accuracy on")


def _encoding_heatmaps(
    write: Draw, trained: pd.DataFrame, pairs: list, metrics: Sequence[str]
) -> dict[str, list[FigureHtml]]:
    """Heat maps of the layer-wise metrics, averaged over layers, for each bipartite encoding in the table."""
    figures: dict[str, list[FigureHtml]] = {}
    for prefix in dict.fromkeys(c.rpartition("__")[0] for c in metrics if "__" in c):
        layer_metrics = ordered_metrics(c for c in metrics if c.startswith(f"{prefix}__") and c.endswith("_mean"))
        layer_metrics = [c for c in layer_metrics if trained[c].notna().any()]
        name = encoding_label(prefix)
        if not layer_metrics:
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

        def draw(pair: tuple[str, str], layer_metrics: list[str] = layer_metrics) -> Any:
            correlations = correlations_by_family(_of(trained, pair), layer_metrics)
            defined = correlations.groupby("metric")["r"].transform("count") > 0
            return _heatmap(correlations[defined] if defined.any() else correlations, " · ".join(pair))

        figures[name] = _each(write, pairs, prefix.replace("_", "-"), draw, f"Layer-wise metrics, {name}, on")
    return figures


def _scatter(write: Draw, trained: pd.DataFrame, pairs: list) -> list[FigureHtml]:
    if not pairs:
        return [FigureHtml("scatter", missing="No sparse network has an accuracy, so there is nothing to draw.")]

    def draw(pair: tuple[str, str]) -> Any:
        networks = _of(trained, pair)
        chosen = strongest_metrics(networks)
        if not chosen:
            raise InputError(f"no metric of {' · '.join(pair)} varies over enough networks to be worth a panel.")
        return scatter_panels(networks, chosen, title=" · ".join(pair))

    return _each(write, pairs, "scatter", draw, "Accuracy against selected metrics on")


def _layers(write: Draw, layers: pd.DataFrame | None) -> list[FigureHtml]:
    if layers is None:
        return [FigureHtml("layers", missing="The source keeps no masks, so layer densities are not known.")]
    if not set(PAIR) <= set(layers.columns):
        return [write("layers", lambda: layer_density_grid(layers), describe="Density of every layer.")]
    return [
        write(
            f"layers{i}",
            partial(layer_density_grid, group),
            caption=f"{dataset} · {model}",
            describe=f"Density of every layer, {dataset} · {model}.",
        )
        for i, ((dataset, model), group) in enumerate(layers.groupby(list(PAIR), sort=True))
    ]


def _drawing(write: Draw, drawn: Drawn) -> FigureHtml:
    if drawn.graph is None:
        return FigureHtml("graph", missing=drawn.reason)
    describe = f"Drawing of {drawn.title or 'a multipartite graph'}."
    return write("graph", lambda: draw_graph(drawn.graph, title=drawn.title), describe=describe)


def _grid(table: pd.DataFrame) -> list[tuple[str, str]]:
    sparse = table[table["pruner"] != "dense"]
    rows = [
        ("Datasets", sorted(set(table["dataset"]))),
        ("Models", sorted(set(table["model"]))),
        ("Pruners", sorted(set(sparse["pruner"]))),
        ("Sparsities", [percent(s) for s in sorted(set(sparse["sparsity"].dropna()))]),
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
    for (dataset, model, pruner), group in summary.groupby([*PAIR, "pruner"], sort=True):
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
    return {"sparsities": [percent(s) for s in sparsities], "rows": rows}
