"""Networks as directed acyclic graphs of tensors and functions."""

from __future__ import annotations

from .dag import Arc, Dag, Node, Output, Step
from .relations import Relation, relation
from .trace import trace

__all__ = ["Arc", "Dag", "Node", "Output", "Relation", "Step", "relation", "trace"]
