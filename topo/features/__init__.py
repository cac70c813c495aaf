"""Topometrics: numbers that describe a graph, by category; `measure` returns one tidy row.

A metric is one function of a `GraphView`, declared with `topo.features.registry.metric` in the file of its
category; see `topo.features.registry.METRICS` for all of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import (  # noqa: F401  (register)
    channel_graph,
    connectivity,
    degree_shape,
    effective_units,
    expansion,
    general,
    local,
    matching,
    neighbourhood,
    path_kernel,
    path_metrics,
    persistence,
    ramanujan,
    sparsity,
    strength,
)
from .graph_view import GraphView
from .path_metrics import count_paths
from .registry import CATEGORIES, METRICS, Undefined, category, metric

if TYPE_CHECKING:
    from .controls import z_scores
    from .mask_files import measure_mask_files
    from .measurement import column_names, measure, measure_layers, over_layers
    from .profiling import profile, profile_mask_files
    from .transformer import Topometrics

# Loaded when first used: torch, pandas and scikit-learn take longer than all that a list of metrics needs.
_HOMES = {
    "Topometrics": "transformer",
    "column_names": "measurement",
    "measure": "measurement",
    "measure_layers": "measurement",
    "measure_mask_files": "mask_files",
    "over_layers": "measurement",
    "profile": "profiling",
    "profile_mask_files": "profiling",
    "z_scores": "controls",
}

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
    "profile",
    "profile_mask_files",
    "z_scores",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'topo.features' has no attribute {name!r}")
