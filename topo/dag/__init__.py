"""Networks as directed acyclic graphs of tensors and functions."""

from __future__ import annotations

from .compact import compact
from .cost import cost, cost_table
from .dag import Arc, Dag, Node, Output, Step
from .groups import Units, units
from .relations import Relation, relation
from .trace import trace

__all__ = [
    "Arc",
    "Dag",
    "Node",
    "Output",
    "Relation",
    "Step",
    "Units",
    "compact",
    "cost",
    "cost_table",
    "relation",
    "trace",
    "units",
]
