"""Networks as directed acyclic graphs of tensors and functions."""

from __future__ import annotations

from .compact import compact
from .cost import cost, cost_table
from .dag import Arc, Dag, Node, Output, Step
from .groups import Units, units
from .lifting import Lifting, lift
from .paths import PathCounts, heaviest_paths, paths, residual_blocks, trim
from .relations import Relation, relation
from .trace import trace

__all__ = [
    "Arc",
    "Dag",
    "Lifting",
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
    "lift",
    "paths",
    "relation",
    "residual_blocks",
    "trace",
    "trim",
    "units",
]
