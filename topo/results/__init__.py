"""Results tables: one schema for the rows of studies and of published files, and the ways to read them."""

from .collapsed import collapsed_networks, unknown_chance
from .controls import control_columns
from .dictionary import describe_columns
from .example import digits_study, example_results
from .layers import layer_table
from .published import load_published
from .schema import category_of, metric_columns, metric_label, ordered_metrics, tidy_results
from .selection import draws_as_algorithms

__all__ = [
    "category_of",
    "collapsed_networks",
    "control_columns",
    "describe_columns",
    "digits_study",
    "draws_as_algorithms",
    "example_results",
    "layer_table",
    "load_published",
    "metric_columns",
    "metric_label",
    "ordered_metrics",
    "tidy_results",
    "unknown_chance",
]
