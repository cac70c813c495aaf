"""Figures: one function each, from a table or a graph to Axes (or to a Figure where it is a grid)."""

from .accuracy import accuracy_against_sparsity, accuracy_grid
from .allocation import layer_allocation
from .distributions import degree_distribution, metric_distribution
from .gate_rows import gate_course
from .graph import draw_graph, draw_graphs
from .heatmap import correlation_heatmap, spearman_heatmap
from .interactive import InteractiveDrawing, draw_interactively
from .layers import layer_density, layer_density_grid
from .level_factors import draw_lifting
from .overview import accuracy_overview
from .profiles import layer_profiles
from .removals import removal_course
from .scatter import accuracy_against_metric, scatter_panels
from .theme import pruner_color, style
from .training_course import metric_course
from .variational_run import pruning_course

__all__ = [
    "InteractiveDrawing",
    "accuracy_against_metric",
    "accuracy_against_sparsity",
    "accuracy_grid",
    "accuracy_overview",
    "correlation_heatmap",
    "degree_distribution",
    "draw_graph",
    "draw_graphs",
    "draw_interactively",
    "draw_lifting",
    "gate_course",
    "layer_allocation",
    "layer_density",
    "layer_density_grid",
    "layer_profiles",
    "metric_course",
    "metric_distribution",
    "pruner_color",
    "pruning_course",
    "removal_course",
    "scatter_panels",
    "spearman_heatmap",
    "style",
]
