"""Statistics on results tables: tables in, tables out."""

from .accuracies import accuracy_error
from .collinearity import collinear_groups, determined_columns, repeated_metrics
from .correlation import grouped_correlation, spearman
from .family_correlations import correlations_by_family, strongest_metrics
from .permutation import permutation_correlation
from .power import detectable_correlation
from .pruners import accuracy_summary
from .rank_score import predicted_ranks
from .ranking import rank_agreement, ranking_table
from .significance import q_values, significant, with_q_values

__all__ = [
    "accuracy_error",
    "accuracy_summary",
    "collinear_groups",
    "correlations_by_family",
    "detectable_correlation",
    "determined_columns",
    "grouped_correlation",
    "permutation_correlation",
    "predicted_ranks",
    "q_values",
    "rank_agreement",
    "ranking_table",
    "repeated_metrics",
    "significant",
    "spearman",
    "strongest_metrics",
    "with_q_values",
]
