"""Statistics on results tables: tables in, tables out."""

from .collinearity import collinear_groups, determined_columns
from .correlation import grouped_correlation, grouped_spearman, spearman
from .discovery import q_values
from .partial import partial_correlation
from .pooling import pool, pool_correlations

__all__ = [
    "collinear_groups",
    "determined_columns",
    "grouped_correlation",
    "grouped_spearman",
    "partial_correlation",
    "pool",
    "pool_correlations",
    "q_values",
    "spearman",
]
