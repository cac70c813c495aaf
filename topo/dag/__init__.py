"""Networks as directed acyclic graphs of tensors and functions."""

from __future__ import annotations

from .blocks import residual_blocks
from .channel_coupling import CoupledChannels, coupled_channels
from .coarsening import coarsen
from .compaction.compactor import compact
from .costs import cost, cost_table
from .dag import Arc, Dag, Node, Output, Step
from .interpreter import Interpreter
from .path_counts import PathCounts, count_paths, heaviest_paths, paths, trim
from .relations import Relation, relation
from .structure import is_connected
from .tracing import trace
from .weight_table import weights

__all__ = [
    "Arc",
    "CoupledChannels",
    "Dag",
    "Interpreter",
    "Node",
    "Output",
    "PathCounts",
    "Relation",
    "Step",
    "coarsen",
    "compact",
    "cost",
    "cost_table",
    "count_paths",
    "coupled_channels",
    "heaviest_paths",
    "is_connected",
    "paths",
    "relation",
    "residual_blocks",
    "trace",
    "trim",
    "weights",
]
