"""Statistics on results tables: tables in, tables out."""

from .collinearity import collinear_groups, determined_columns
from .correlation import grouped_correlation, grouped_spearman, spearman
from .discovery import q_values
from .example import example_results
from .partial import partial_correlation
from .pooling import pool, pool_correlations
from .published import load_published
from .tidy import accuracy_summary, category_of, metric_columns, metric_label, ordered_metrics, tidy_results

__all__ = [
    "accuracy_summary",
    "category_of",
    "collinear_groups",
    "determined_columns",
    "example_results",
    "grouped_correlation",
    "grouped_spearman",
    "load_published",
    "metric_columns",
    "metric_label",
    "ordered_metrics",
    "partial_correlation",
    "pool",
    "pool_correlations",
    "q_values",
    "spearman",
    "tidy_results",
]
