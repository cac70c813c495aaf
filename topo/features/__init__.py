"""Topometrics: numbers that describe a graph, by category; `measure` returns one tidy row.

A metric is one function of a `GraphView`, declared with `topo.features.registry.metric` in the file of its
category; see `topo.features.registry.METRICS` for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .controls import z_scores
from .graph_view import GraphView
from .mask_files import measure_mask_files
from .measurement import column_names, measure, measure_layers, over_layers
from .path_metrics import count_paths
from .registry import CATEGORIES, METRICS, Undefined, category, metric

if TYPE_CHECKING:
    from .transformer import Topometrics

__all__ = [
    "CATEGORIES",
    "METRICS",
    "GraphView",
    "Topometrics",
    "Undefined",
    "category",
    "column_names",
    "count_paths",
    "measure",
    "measure_layers",
    "measure_mask_files",
    "metric",
    "over_layers",
    "z_scores",
]


def __getattr__(name: str) -> Any:
    """`Topometrics` is loaded when it is first asked for: it takes scikit-learn along, as slow to load as torch."""
    if name == "Topometrics":
        from .transformer import Topometrics

        return Topometrics
    raise AttributeError(f"module 'topo.features' has no attribute {name!r}")
