"""Topometrics: numbers that describe a graph, by category; `measure` returns one tidy row.

A metric is one function of a `GraphView`, declared with `topo.features.metric.metric` in the file of its
category; see `topo.features.metric.METRICS` for all of them.
"""

from .measure import column_names, measure, measure_layers
from .metric import CATEGORIES, METRICS, Undefined, metric
from .paths import count_paths
from .transformer import Topometrics
from .view import GraphView

__all__ = [
    "CATEGORIES",
    "METRICS",
    "GraphView",
    "Topometrics",
    "Undefined",
    "column_names",
    "count_paths",
    "measure",
    "measure_layers",
    "metric",
]
