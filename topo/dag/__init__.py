"""Networks as directed acyclic graphs of tensors and functions."""

from __future__ import annotations

from .compaction.compactor import compact
from .costs import cost, cost_table
from .coupled_channels import Units, units
from .dag import Arc, Dag, Node, Output, Step
from .path_counts import PathCounts, heaviest_paths, paths, residual_blocks, trim
from .relations import Relation, relation
from .tracing import trace

__all__ = [
    "Arc",
    "Dag",
    "Node",
    "Output",
    "PathCounts",
    "Relation",
    "Step",
    "Units",
    "compact",
    "cost",
    "cost_table",
    "heaviest_paths",
    "paths",
    "relation",
    "residual_blocks",
    "trace",
    "trim",
    "units",
]
