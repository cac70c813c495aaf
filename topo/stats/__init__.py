"""Statistics on results tables: tables in, tables out."""

from .correlation import grouped_spearman, spearman
from .example import example_results
from .tidy import accuracy_summary, category_of, metric_columns, metric_label, ordered_metrics, tidy_results

__all__ = [
    "accuracy_summary",
    "category_of",
    "example_results",
    "grouped_spearman",
    "metric_columns",
    "metric_label",
    "ordered_metrics",
    "spearman",
    "tidy_results",
]
