"""Statistics on results tables: tables in, tables out."""

from .collinearity import collinear_groups, determined_columns
from .correlation import correlations_by_family, grouped_correlation, spearman, strongest_metrics
from .partial import partial_correlation
from .permutation import permutation_correlation
from .pooling import pool, pool_correlations
from .pruners import accuracy_summary
from .significance import q_values, significant, with_q_values

__all__ = [
    "accuracy_summary",
    "collinear_groups",
    "correlations_by_family",
    "determined_columns",
    "grouped_correlation",
    "partial_correlation",
    "permutation_correlation",
    "pool",
    "pool_correlations",
    "q_values",
    "significant",
    "spearman",
    "strongest_metrics",
    "with_q_values",
]
